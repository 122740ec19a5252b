"""Where observations go: one module per kind, opened by URI."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from ..errors import ConfigError
from .base import Sink

_KINDS = {
    "jsonl": (".jsonl", "JsonlSink"),
    "video": (".video", "VideoSink"),
    "image": (".picture", "PictureSink"),
    "window": (".window", "WindowSink"),
}
"""Kind → module, imported when it is asked for, and its class."""

__all__ = ["Sink", "open_sink"]


def open_sink(uri: str, frame_rate: float = 25.0) -> Sink:
    """The sink at a URI such as ``jsonl:log.jsonl``, to be entered with ``with``; `frame_rate` is the source's.

    Raises ConfigError.
    """
    kind, colon, target = uri.partition(":")
    if not colon or kind not in _KINDS:
        raise ConfigError(f"unknown sink {uri}: write one of {', '.join(f'{name}:…' for name in _KINDS)}")
    if not target and kind != "window":
        raise ConfigError(f"sink {uri} names no file: write {kind}:PATH")
    module, name = _KINDS[kind]
    factory: Callable[[str, float], Sink] = getattr(importlib.import_module(module, __name__), name)
    return factory(target, frame_rate)
