"""Where frames come from: one module per kind, opened by URI."""

from __future__ import annotations

import importlib
import re
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import ConfigError, SourceError
from .base import Source
from .recovery import Patience, Recovering

_SCHEMES = {
    "auto": (".auto", "open_any"),
    "picamera2": (".picamera", "open_camera"),
    "v4l2": (".live", "open_camera"),
    "rtsp": (".live", "open_stream"),
    "http": (".live", "open_stream"),
    "https": (".live", "open_stream"),
}
"""Scheme → module, imported when it is asked for, and its function of (uri, loop)."""

__all__ = ["Patience", "Source", "open_source", "without_password"]


def without_password(uri: str) -> str:
    """A source's URI or path as messages and pages may show it: no user, no password, no query."""
    scheme, is_uri, rest = uri.partition("://")
    if not is_uri:
        return uri
    host, slash, path = re.split(r"[?#]", rest, maxsplit=1)[0].partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def open_source(uri: str, loop: bool = False, patience: Patience | None = None) -> Source:
    """The source at a URI or path, to be entered with ``with``; `loop` plays files for ever.

    A path is a picture, a video, a folder of pictures or a camera's device. With `patience` a live source is opened
    again when it fails. Raises ConfigError, SourceError, RuntimeMissing.
    """
    again = partial(_open, uri, loop)
    try:
        source = again()
    except SourceError:
        # A camera that auto:// doesn't find yet may be waited for; a file that isn't there may not.
        if patience is None or not patience.from_start or uri.partition("://")[0].lower() not in _SCHEMES:
            raise
        return Recovering(again, patience)
    if patience is None or not source.live:
        return source
    return Recovering(again, patience)


def _open(uri: str, loop: bool) -> Source:
    scheme, is_uri, _ = uri.partition("://")
    scheme = scheme.lower()
    if not is_uri:
        return _open_path(Path(uri).expanduser(), loop)
    if scheme == "file":
        return _open_path(Path(unquote(urlsplit(uri).path)), loop)
    if scheme not in _SCHEMES:
        known = ", ".join(f"{name}://" for name in ("file", *_SCHEMES))
        raise ConfigError(f"unknown source {uri}: give a file, a folder, or one of {known}")
    module, function = _SCHEMES[scheme]
    factory: Callable[[str, bool], Source] = getattr(importlib.import_module(module, __name__), function)
    return factory(uri, loop)


def _open_path(path: Path, loop: bool) -> Source:
    import cv2

    from .pictures import Pictures, pictures_in
    from .video import VideoFile

    if path.match("/dev/video*"):
        return _open(f"v4l2://{path}", loop)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError as error:
        hint = f"a camera is v4l2:///dev/video{path}" if str(path).isdecimal() else "check the path"
        raise SourceError(f"no file or folder at {path}: {hint}") from error
    except OSError as error:
        raise SourceError(f"can't open {path}: {error.strerror}") from error
    if stat.S_ISDIR(mode):
        return Pictures(pictures_in(path), loop)
    if not stat.S_ISREG(mode):
        raise SourceError(f"{path} is neither a file nor a folder; a camera is v4l2:///dev/video0")
    try:
        with path.open("rb") as stream:
            empty = not stream.read(1)
    except OSError as error:
        raise SourceError(f"can't read {path}: {error.strerror}") from error
    if empty:
        raise SourceError(f"{path} is empty: there is no picture in it")
    # A GIF is played: OpenCV's picture readers would give its first frame only.
    if path.suffix.lower() != ".gif" and cv2.haveImageReader(str(path)):
        return Pictures([path], loop)
    return VideoFile(path, loop)
