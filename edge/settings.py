"""Where settings come from: the file, then the environment, then the command line; the later wins.

A variable is a key in capitals with MIEN_ before it, and two underscores for a table's point: MIEN_SOURCE,
MIEN_DETECTOR__MIN_FACE, MIEN_SINKS. Its value is TOML, or any text where the key is a string; several sinks may also be
given with spaces between. Other variables that begin with MIEN_ mean nothing here.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .config import Config
from .errors import ConfigError

CONFIG = Path("/etc/mien/config.toml")
"""The service's configuration."""
_PREFIX = "MIEN_"


def load_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration in a TOML file, or the defaults, with what the environment overrides. Raises ConfigError."""
    settings = Config.read(path) if path else Config()
    values: dict[str, Any] = {}
    for key, default in _keys(settings).items():
        variable = _PREFIX + key.upper().replace(".", "__")
        if variable in environ:
            table, _, name = key.rpartition(".")
            (values.setdefault(table, {}) if table else values)[name] = _parsed(environ[variable], default)
    try:
        return settings.updated(values)
    except ConfigError as error:
        raise ConfigError(f"the environment ({_PREFIX}…): {error}") from error


def installed_config(path: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """As `load_config`; without a path the service's file, if there is one. Raises ConfigError."""
    return load_config(used_file(path), environ)


def used_file(path: Path | None) -> Path | None:
    """The file that `installed_config` reads; None if there is none."""
    return path or (CONFIG if CONFIG.exists() else None)


def to_toml(settings: Config) -> str:
    """A configuration file with every key."""
    lines: list[str] = []
    tables: list[str] = []
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        if dataclasses.is_dataclass(value):
            rows = [_line(key, inner) for key, inner in vars(value).items()]
            tables += ["", f"[{each.name}]", *rows]
        else:
            lines.append(_line(each.name, value))
    return "\n".join([*lines, *tables]) + "\n"


def _keys(settings: Config) -> dict[str, Any]:
    """Key, with its table's name before a point → value."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(settings):
        value = getattr(settings, each.name)
        if dataclasses.is_dataclass(value):
            found |= {f"{each.name}.{key}": inner for key, inner in vars(value).items()}
        else:
            found[each.name] = value
    return found


def _parsed(text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.split() if isinstance(default, tuple) else text


def _line(key: str, value: Any) -> str:
    # A JSON string, number or list is a TOML one too. What is empty is not set.
    text = json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
    return f"{'# ' if value == '' else ''}{key} = {text}"
