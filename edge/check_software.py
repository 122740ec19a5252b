"""Checks of what is installed: system, OpenCV, runtime, cascade, model."""

from __future__ import annotations

import hashlib
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from .bundle import Bundle, find_bundle
from .config import Config
from .errors import MienError
from .finding import FAIL, OK, WARN, Check

CASCADE_SHA256 = "0f7d4527844eb514d4a4948e822da90fbb16a34a0bbbbc6adc6498747a5aafb0"
"""Of OpenCV's haarcascade_frontalface_default.xml."""


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
