"""Where observations go: one module per kind, opened by URI."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

from ..config import Config
from ..errors import ConfigError, RuntimeMissing
from .base import Sink


class _Kind(NamedTuple):
    """How the sinks of one kind are made."""

    module: str
    """Imported when it is asked for."""
    factory: str
    """Called with the target, the source's frame rate and `options`."""
    form: str = "PATH"
    """What follows the colon in its URI; in brackets if it may be left out."""
    whole: bool = False
    """Whether the target is the whole URI, which is an address."""
    extra: str = ""
    """The extra of this distribution that has the library which it imports when it is made."""
    options: Callable[[Config], dict[str, Any]] = lambda config: {}
    """What it takes of the configuration."""


def _web(form: str) -> _Kind:
    return _Kind(
        ".web",
        "WebSink",
        form,
        whole=True,
        extra="web",
        options=lambda config: {
            "name": config.name,
            "notice": config.privacy.notice,
            "picture": config.privacy.picture,
        },
    )


_KINDS = {
    "jsonl": _Kind(".jsonl", "JsonlSink"),
    "video": _Kind(".video", "VideoSink"),
    "image": _Kind(".picture", "PictureSink"),
    "window": _Kind(".window", "WindowSink", "[]"),
    "screen": _Kind(".screen", "open_screen", "[DEVICE]"),
    "clips": _Kind(".clips", "ClipsSink", "FOLDER"),
    "history": _Kind(
        ".history",
        "HistorySink",
        "[PATH]",
        options=lambda config: {"keep_days": config.events.keep_days, "keep_mb": config.events.keep_mb},
    ),
    "http": _web("[//HOST:PORT]"),
    "https": _web("//HOST:PORT?cert=FILE&key=FILE"),
    "mqtt": _Kind(".mqtt", "MqttSink", "//HOST", True, "mqtt", lambda config: {"name": config.name}),
    "mqtts": _Kind(".mqtt", "MqttSink", "//HOST", True, "mqtt", lambda config: {"name": config.name}),
    "metrics": _Kind(".metrics", "MetricsSink", "[//HOST:PORT]", True, "metrics", lambda config: {"name": config.name}),
}

__all__ = ["Sink", "open_sink"]


def open_sink(uri: str, frame_rate: float = 25.0, config: Config | None = None) -> Sink:
    """The sink at a URI such as ``jsonl:log.jsonl``, to be entered with ``with``; `frame_rate` is the source's.

    Raises ConfigError, RuntimeMissing.
    """
    name, colon, target = uri.partition(":")
    kind = _KINDS.get(name)
    if not colon or kind is None:
        raise ConfigError(f"unknown sink {uri}: write one of {', '.join(f'{known}:…' for known in _KINDS)}")
    if not target and not kind.form.startswith("["):
        raise ConfigError(f"sink {uri} names no {'host' if kind.whole else 'file'}: write {name}:{kind.form}")
    if kind.whole and target and not target.startswith("//"):
        raise ConfigError(f"sink {uri} is no address: write {name}:{kind.form.strip('[]')}")
    factory: Callable[..., Sink] = getattr(importlib.import_module(kind.module, __name__), kind.factory)
    try:
        sink = factory(uri if kind.whole else target, frame_rate, **kind.options(config or Config()))
    except ModuleNotFoundError as error:
        if not kind.extra:
            raise
        raise RuntimeMissing(f"sink {name}: needs {error.name}: pip install 'mien[{kind.extra}]'") from error
    sink.name = name
    return sink
