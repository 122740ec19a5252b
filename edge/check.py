"""What is wrong with this machine, before a run finds out: each finding with what mends it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import check_machine, check_software
from .config import Config
from .errors import ConfigError
from .finding import FAIL, OK, WARN, Check

_PASSING = ("camera", "disk", "board")
"""Checks of what may mend itself."""


def run_checks(
    settings: Config, fast: bool = False, root: Path = Path("/"), only: Sequence[str] | None = None
) -> Iterator[Check]:
    """Each finding as it is made; `fast` leaves out what takes seconds or touches the camera.

    `root` is where etc/, sys/, proc/ and dev/ lie; `only` names some of the checks. Raises ConfigError.
    """
    checks: dict[str, Callable[[], Check]] = {
        "system": lambda: check_software.check_system(root),
        "opencv": check_software.check_opencv,
        "runtime": check_software.check_runtime,
        "cascade": check_software.check_cascade,
        "model": lambda: check_software.check_model(settings, trial=not fast),
        "camera": lambda: check_machine.check_camera(settings, root, frames=not fast),
        "groups": check_machine.check_groups,
        "display": lambda: check_machine.check_display(root),
        "disk": lambda: check_machine.check_space(settings),
        "clock": lambda: check_machine.check_clock(root),
        "board": lambda: check_machine.check_board(root),
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


def summary(checks: list[Check]) -> dict[str, Any]:
    """Plain values of all findings, and the worst."""
    worst = max((check.status for check in checks), key=[OK, WARN, FAIL].index, default=OK)
    return {"status": worst, "checks": [check.to_json() for check in checks]}
