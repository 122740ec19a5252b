"""What a run is made of, read from a TOML file; every key is checked.

    source = "v4l2:///dev/video0"           # what `mien run` reads if it is given no SOURCE
    model = "mien-base"                     # one of `mien models`, or a folder with model.tflite and card.json
    sinks = ["jsonl:/var/log/mien.jsonl"]   # and history:, mqtt://HOST, metrics: and others: see README.md
    threads = 1                             # that the classifier uses
    overlay = true                          # draw boxes and labels on pictures
    loop = false                            # play files for ever
    name = "kitchen"                        # what this Mien is called where several report; by default after the host

    [detector]
    scale_factor = 1.1                      # step between the sizes of faces searched: nearer 1 finds more, slower
    min_neighbors = 5                       # hits that make a face: more means fewer false faces
    min_face = 0.08                         # least height of a face: share of the picture's, or pixels from 1 on

    every_frame = false                     # search every frame whole: many times slower, finds little more

    [tracker]
    min_overlap = 0.3                       # of two boxes (intersection over union) that are one face
    forget_after = 1.0                      # seconds without the face after which it gets a new number
    hold = 0.25                             # seconds without the face for which it is still shown

    [smoothing]
    time_constant = 0.5                     # seconds over which readings are averaged; 0: each frame for itself
    margin = 0.1                            # by which another label must be likelier to take over

    [events]                                # what the sink history: keeps
    keep_days = 90
    keep_mb = 100                           # the oldest goes first

    [privacy]
    notice = "Emotions are being read"      # shown wherever a picture is
    blur = false                            # make faces unrecognizable in every picture that leaves the pipeline
    picture = true                          # false: the live page has no picture, only what was read in it

Paths are relative to the folder that `mien` is run in.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .bundle import DEFAULT_MODEL
from .errors import ConfigError


def _default_name() -> str:
    host = re.sub(r"[^A-Za-z0-9_-]+", "-", socket.gethostname().partition(".")[0]).strip("-")
    return f"mien-{host}"[:64] if host else "mien"


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class DetectorConfig:
    """How faces are detected."""

    scale_factor: float = _number(1.1, 1.01, 2.0)
    min_neighbors: int = _number(5, 0, 100)
    min_face: float = _number(0.08, 0.0, 10_000.0)
    every_frame: bool = False


@dataclass(frozen=True)
class TrackerConfig:
    """How faces are followed."""

    min_overlap: float = _number(0.3, 0.01, 1.0)
    forget_after: float = _number(1.0, 0.0, 3600.0)
    hold: float = _number(0.25, 0.0, 60.0)


@dataclass(frozen=True)
class SmoothingConfig:
    """What Smoother is made with."""

    time_constant: float = _number(0.5, 0.0, 60.0)
    margin: float = _number(0.1, 0.0, 1.0)


@dataclass(frozen=True)
class EventsConfig:
    """How much of the history is kept."""

    keep_days: float = _number(90.0, 0.01, 36_500.0)
    keep_mb: float = _number(100.0, 1.0, 1e6)


@dataclass(frozen=True)
class PrivacyConfig:
    """What people in the picture are told, and how much of them is shown."""

    notice: str = "Emotions are being read"
    blur: bool = False
    picture: bool = True


@dataclass(frozen=True)
class Config:
    """What a run is made of."""

    source: str = ""
    model: str = DEFAULT_MODEL
    sinks: tuple[str, ...] = ("jsonl:-",)
    threads: int = _number(1, 1, 64)
    overlay: bool = True
    loop: bool = False
    name: str = field(default_factory=_default_name, metadata={"pattern": r"[A-Za-z0-9_-]{1,64}"})
    detector: DetectorConfig = DetectorConfig()
    tracker: TrackerConfig = TrackerConfig()
    smoothing: SmoothingConfig = SmoothingConfig()
    events: EventsConfig = EventsConfig()
    privacy: PrivacyConfig = PrivacyConfig()

    @classmethod
    def read(cls, path: Path) -> Config:
        """The configuration in a TOML file. Raises ConfigError, which names the file and the key."""
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"can't read the configuration {path}: {error.strerror}") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path} is not TOML: {error}") from error
        try:
            return cls(**_checked(values, cls(), ""))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    def override(self, **options: Any) -> Config:
        """This configuration with those options that aren't None. Raises ConfigError if one is out of its range."""
        given = {key: value for key, value in options.items() if value is not None}
        for key, value in given.items():
            _check_range(key, value, type(self).__dataclass_fields__[key].metadata)
        return dataclasses.replace(self, **given)


def _checked(values: Mapping[str, Any], defaults: Any, prefix: str) -> dict[str, Any]:
    """The values of one table as the fields of `defaults`, a dataclass instance, take them."""
    fields = {each.name: each for each in dataclasses.fields(defaults)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix + key
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known are {', '.join(prefix + f for f in fields)}"
            raise ConfigError(f"unknown key {name}: {hint}")
        checked[key] = _converted(name, value, getattr(defaults, key))
        _check_range(name, checked[key], fields[key].metadata)
    return checked


def _converted(name: str, value: Any, default: Any) -> Any:
    """A TOML value as the type of the field's default."""
    if dataclasses.is_dataclass(default) and not isinstance(default, type):
        if not isinstance(value, dict):
            raise ConfigError(f"{name} must be a table, [{name}], not {_kind(value)}")
        return type(default)(**_checked(value, default, f"{name}."))
    if isinstance(default, tuple):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError(f'{name} must be a list of strings, such as ["jsonl:-"], not {_kind(value)}')
        return tuple(value)
    if isinstance(default, bool):
        good, wanted = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        good, wanted = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, float):
        good, wanted = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    else:
        good, wanted = isinstance(value, str) and value != "", "a string that isn't empty"
    if not good:
        raise ConfigError(f"{name} must be {wanted}, not {_kind(value)}")
    return type(default)(value)


def _check_range(name: str, value: Any, metadata: Mapping[str, Any]) -> None:
    if "pattern" in metadata and not re.fullmatch(metadata["pattern"], value):
        raise ConfigError(f"{name} must be of letters, digits, _ and -, at most 64 of them, not {value!r}")
    if "range" not in metadata:
        return
    low, high = metadata["range"]
    if not low <= value <= high:  # not-a-number fails too
        raise ConfigError(f"{name} must be between {low:g} and {high:g}, not {value:g}")


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return "a list of something else" if value else "an empty list"
    return repr(value) if isinstance(value, str | int | float) else f"a {type(value).__name__}"
