"""Checks of what Mien runs on: camera, groups, display, disk, clock, board."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import time
from pathlib import Path

from .config import Config
from .errors import MienError
from .finding import FAIL, OK, WARN, Check
from .status import Board

_LIVE = ("auto", "picamera2", "v4l2")
_FILE_SINKS = ("jsonl", "video", "image", "history", "clips")
_SPACE_WARN, _SPACE_FAIL = 500 << 20, 20 << 20
"""Bytes free where logs go."""
_HOT, _TOO_HOT = 70.0, 80.0
"""Degrees Celsius: a Raspberry Pi slows down from 80 on. Source: its documentation, "Frequency management"."""
_BUILT = 1_767_225_600
"""2026-01-01: a clock before it was never set."""


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


def _existing(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next(folder for folder in (path, *path.parents) if folder.is_dir())
