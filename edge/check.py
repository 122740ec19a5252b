"""What is wrong with this machine, before a run finds out: each finding with what mends it."""

from __future__ import annotations

import grp
import hashlib
import os
import platform
import pwd
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .bundle import Bundle, find_bundle
from .config import Config
from .errors import ConfigError, MienError
from .status import Board

OK, WARN, FAIL = "ok", "warn", "fail"
CASCADE_SHA256 = "0f7d4527844eb514d4a4948e822da90fbb16a34a0bbbbc6adc6498747a5aafb0"
"""Of OpenCV's haarcascade_frontalface_default.xml."""
_PASSING = ("camera", "disk", "board")
"""Checks of what may mend itself."""
_LIVE = ("auto", "picamera2", "v4l2")
_SPACE_WARN, _SPACE_FAIL = 500 << 20, 20 << 20
"""Bytes free where logs go."""
_HOT, _TOO_HOT = 70.0, 80.0
"""Degrees Celsius: a Raspberry Pi slows down from 80 on. Source: its documentation, "Frequency management"."""
_BUILT = 1_767_225_600
"""2026-01-01: a clock before it was never set."""


@dataclass(frozen=True)
class Check:
    """One finding."""

    name: str
    status: str
    """OK, WARN or FAIL."""
    text: str
    mend: str = ""
    """What to do; empty if nothing."""

    def __str__(self) -> str:
        return f"{self.status:5}{self.name:13}{self.text}" + (f"\n{'':18}→ {self.mend}" if self.mend else "")

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)


def run_checks(
    settings: Config, fast: bool = False, root: Path = Path("/"), only: Sequence[str] | None = None
) -> Iterator[Check]:
    """Each finding as it is made; `fast` leaves out what takes seconds or touches the camera.

    `root` is where etc/, sys/, proc/ and dev/ lie; `only` names some of the checks. Raises ConfigError.
    """
    checks: dict[str, Callable[[], Check]] = {
        "system": lambda: check_system(root),
        "opencv": check_opencv,
        "runtime": check_runtime,
        "cascade": check_cascade,
        "model": lambda: check_model(settings, trial=not fast),
        "camera": lambda: check_camera(settings, root, frames=not fast),
        "groups": check_groups,
        "display": lambda: check_display(root),
        "disk": lambda: check_space(settings),
        "clock": lambda: check_clock(root),
        "board": lambda: check_board(root),
    }
    if unknown := set(only or ()) - set(checks):
        raise ConfigError(f"no check {sorted(unknown)[0]!r}: they are {', '.join(checks)}")
    for name in only or checks:
        try:
            check = checks[name]()
            # A service waits for its camera, and goes on without a log: neither is a reason not to start it.
            yield replace(check, status=WARN) if fast and check.status == FAIL and name in _PASSING else check
        except Exception as error:  # a check that stumbles is a finding too, and no reason to hide the others
            yield Check(name, WARN, f"could not be checked: {type(error).__name__}: {error}")


def check_system(root: Path) -> Check:
    """Operating system, board and Python."""
    release = _release(root)
    board = root / "proc/device-tree/model"
    name = board.read_text(encoding="utf-8").strip("\0\n") if board.exists() else platform.machine()
    python = platform.python_version()
    text = f"{release.get('PRETTY_NAME', platform.system())} on {name}, Python {python}"
    bits = 64 if sys.maxsize > 2**32 else 32
    if bits == 32:
        return Check("system", WARN, text, "the 64-bit system reads faces several times as fast")
    return Check("system", OK, text)


def check_opencv() -> Check:
    """OpenCV and NumPy, and that they fit each other."""
    installed = [name for name in ("opencv-python", "opencv-python-headless") if _version(name)]
    if len(installed) > 1:
        mend = "pip uninstall -y opencv-python opencv-python-headless, then install one of them"
        return Check("opencv", FAIL, "opencv-python and opencv-python-headless own the same folder", mend)
    try:
        import cv2
        import numpy
    except Exception as error:  # ImportError, or NumPy's own complaint of a module built for another NumPy
        numbers = _version("numpy") or "none"
        mend = (
            "take both from apt (python3-opencv, python3-numpy) or both from pip: a NumPy of pip's over apt's "
            "breaks apt's OpenCV"
        )
        return Check("opencv", FAIL, f"doesn't load with NumPy {numbers}: {' '.join(str(error).split())}", mend)
    text = f"OpenCV {cv2.__version__}, NumPy {numpy.__version__}"
    if not hasattr(cv2, "CascadeClassifier"):
        return Check("opencv", FAIL, f"{text}: it has no CascadeClassifier", "pip install 'opencv-python-headless<5'")
    return Check("opencv", OK, text)


def check_runtime() -> Check:
    """The TFLite runtime."""
    old, numbers = _version("tflite-runtime"), _version("numpy")
    if old and not _version("ai-edge-litert") and numbers and int(numbers.split(".")[0]) >= 2:
        text = f"tflite-runtime {old} with NumPy {numbers}: it was built for NumPy 1 and crashes"
        return Check("runtime", FAIL, text, "pip install 'numpy<2', or ai-edge-litert where it has a wheel")
    from .runtime import runtime_name

    try:
        return Check("runtime", OK, runtime_name())
    except MienError as error:
        return Check("runtime", FAIL, str(error), "pip install ai-edge-litert")


def check_cascade() -> Check:
    """The face cascade's checksum."""
    from .detector import CASCADE

    try:
        good = hashlib.sha256(CASCADE.read_bytes()).hexdigest() == CASCADE_SHA256
    except OSError as error:
        return Check("cascade", FAIL, f"can't read {CASCADE}: {error.strerror}", "install Mien again")
    return Check("cascade", OK, "intact") if good else Check("cascade", FAIL, "damaged", "install Mien again")


def check_model(settings: Config, trial: bool) -> Check:
    """The model's checksum, and that it reads a face."""
    try:
        bundle = Bundle.load(find_bundle(settings.model))
        text = (
            f"{bundle.card.name} {bundle.card.version} ({bundle.card.quantization}), sha256 {bundle.card.sha256[:12]}"
        )
        if trial:
            import numpy as np

            from .classifier import Classifier

            classifier = Classifier(bundle, settings.threads)
            face = np.linspace(0, 255, int(np.prod(classifier.face_size))).astype(np.uint8)
            start = time.perf_counter()
            scores = classifier.scores(face.reshape(1, *classifier.face_size))
            text += f", a trial took {1000 * (time.perf_counter() - start):.1f} ms"
            if not np.isfinite(scores).all() or abs(float(scores.sum()) - 1) > 0.05:
                return Check("model", FAIL, f"{text}: its answer is no set of probabilities", "convert the model again")
    except MienError as error:
        return Check("model", FAIL, str(error), "copy the bundle again, or name another with `model`")
    return Check("model", OK, text)


def check_camera(settings: Config, root: Path, frames: bool) -> Check:
    """Whether the source's camera is there, free, and, unless left out, gives `frames`."""
    scheme = settings.source.partition("://")[0].lower()
    if scheme not in _LIVE:
        what = settings.source or "no source is configured"
        return Check("camera", OK if settings.source else WARN, what, "" if settings.source else "set `source`")
    if scheme == "v4l2":
        from urllib.parse import urlsplit

        from .sources.live import holders

        device = root / urlsplit(settings.source).path.lstrip("/")
        if not device.exists():
            there = ", ".join(sorted(f"/dev/{node.name}" for node in (root / "dev").glob("video*"))) or "none"
            return Check("camera", FAIL, f"no {settings.source}; found: {there}", "plug it in, or name another")
        if not os.access(device, os.R_OK | os.W_OK):
            return Check(
                "camera", FAIL, f"no permission for {device}", "sudo usermod -aG video USER, then log in again"
            )
        if users := holders(device, root / "proc"):
            return Check("camera", FAIL, f"{device} is used by {', '.join(users)}", "end that program")
    if not frames:
        return Check("camera", OK, f"{settings.source}, not opened")
    from .sources import open_source

    try:
        start = time.perf_counter()
        with open_source(settings.source) as source:
            frame = next(iter(source), None)
    except MienError as error:
        return Check("camera", FAIL, str(error), "see the cable, then `mien check` again")
    if frame is None:
        return Check("camera", FAIL, f"{settings.source} gives no frame", "see the cable, then `mien check` again")
    height, width = frame.gray.shape
    text = f"{settings.source}, {width}×{height}, first frame after {time.perf_counter() - start:.1f} s"
    if frame.gray.std() < 2:
        return Check("camera", WARN, f"{text}, of one gray", "is the lens covered, or the room dark?")
    return Check("camera", OK, text)


def check_groups() -> Check:
    """Whether this user may use cameras and displays."""
    me = pwd.getpwuid(os.geteuid()).pw_name
    if os.geteuid() == 0:
        return Check("groups", OK, "root")
    mine = {grp.getgrgid(number).gr_name for number in os.getgroups()}
    wanted = {"video", "render"} & {each.gr_name for each in grp.getgrall()}
    if missing := sorted(wanted - mine):
        mend = f"sudo usermod -aG {','.join(missing)} {me}, then log in again"
        return Check("groups", WARN, f"{me} is not in {', '.join(missing)}", mend)
    return Check("groups", OK, f"{me} is in {', '.join(sorted(wanted)) or 'all that are there'}")


def check_display(root: Path) -> Check:
    """Whether a display is attached."""
    connected = [
        status.parent.name.partition("-")[2]
        for status in sorted(root.glob("sys/class/drm/*/status"))
        if status.read_text(encoding="ascii").strip() == "connected"
    ]
    if os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY"):
        return Check("display", OK, "a desktop session")
    if connected:
        return Check("display", OK, f"attached: {', '.join(connected)}")
    return Check("display", OK, "none attached: headless")


def check_space(settings: Config) -> Check:
    """Free space where logs and videos go."""
    targets = [uri.partition(":")[2] for uri in settings.sinks if uri.partition(":")[0] in _FILE_SINKS]
    paths = [Path(target.partition("?")[0]).expanduser().absolute() for target in targets if target not in ("", "-")]
    least = min((shutil.disk_usage(_existing(path)).free, path) for path in paths or [Path.cwd()])
    text = f"{least[0] / (1 << 20):,.0f} MiB free for {least[1]}"
    for path in paths:
        if path.parent.is_dir() and not os.access(path if path.exists() else path.parent, os.W_OK):
            return Check("disk", FAIL, f"{path} can't be written", "see its owner, and whether its disk is read-only")
    if least[0] < _SPACE_FAIL:
        return Check("disk", FAIL, text, "free some: nothing more can be logged")
    if least[0] < _SPACE_WARN:
        return Check("disk", WARN, text, "free some soon, or keep less")
    return Check("disk", OK, text)


_FILE_SINKS = ("jsonl", "video", "image", "history", "clips")


def check_clock(root: Path) -> Check:
    """Whether the time is known: a Raspberry Pi before the fifth has no clock of its own."""
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    if time.time() < _BUILT:
        return Check("clock", WARN, f"{now} can't be", "connect it to a network once, or sudo date --set …")
    if (root / "run/systemd/timesync").is_dir() and not (root / "run/systemd/timesync/synchronized").exists():
        return Check("clock", WARN, f"{now}, not set by the network yet", "times in the log may jump when it is")
    return Check("clock", OK, now)


def check_board(root: Path) -> Check:
    """Temperature and power."""
    temperature, throttled = Board(root=root).read()
    if temperature is None and throttled is None:
        return Check("board", OK, "tells no temperature")
    text = f"{temperature:.0f} °C" if temperature is not None else "no temperature"
    if throttled is not None:
        text += f", throttled: {throttled}"
        if "under-voltage" in throttled:
            return Check("board", WARN, text, "use the board's own power supply, and a short cable")
    if temperature is not None and temperature >= _HOT:
        return Check("board", FAIL if temperature >= _TOO_HOT else WARN, text, "give it a heat sink or a fan")
    return Check("board", WARN if throttled not in (None, "no") else OK, text)


def _release(root: Path) -> dict[str, str]:
    try:
        lines = (root / "etc/os-release").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _existing(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def summary(checks: list[Check]) -> dict[str, Any]:
    """Plain values of all findings, and the worst."""
    worst = max((check.status for check in checks), key=[OK, WARN, FAIL].index, default=OK)
    return {"status": worst, "checks": [check.to_json() for check in checks]}
