"""The commands about the machine that Mien runs on: check, config, support."""

from __future__ import annotations

import dataclasses
import json
import platform
import re
import shutil
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Annotated, Any

import typer

from .config import Config
from .errors import ConfigError, SinkError
from .files import write_text
from .settings import CONFIG, installed_config, to_toml, used_file

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file.", show_default=f"{CONFIG}, if it is there")
]
_LOG_LINES = 300
_SECRET = re.compile(r"(//)[^/@\s\"']+@|((?:token|password|secret)\w*\s*[=:]\s*)\S+", re.IGNORECASE)


def add_commands(app: typer.Typer) -> None:
    """Adds them to the application."""
    app.command()(check)
    app.command()(support)
    config = typer.Typer(help="Check and show the configuration.", no_args_is_help=True)
    config.command("check")(check_config)
    config.command("show")(show_config)
    app.add_typer(config, name="config")


def check(
    config: ConfigOption = None,
    source: Annotated[
        str | None, typer.Option("--source", help="The camera to look at.", show_default="the file's")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="The model to try.", show_default="the file's")] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="One of the checks, by its name; several are allowed.")
    ] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Leave out what takes seconds or touches the camera.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what is wrong on this machine and how to mend it; exit code 1 if something must be mended."""
    from .check import run_checks, summary
    from .finding import FAIL, Check

    findings: list[Check] = []
    try:
        settings = installed_config(config).override(source=source, model=model)
        findings.append(Check("config", "ok", str(used_file(config) or "none: the defaults")))
    except ConfigError as error:
        settings = Config().override(source=source, model=model)
        findings.append(Check("config", FAIL, str(error), "mend that line, then: mien config check"))
    if not as_json:
        typer.echo(findings[0])
    for finding in run_checks(settings, fast, only=only):
        findings.append(finding)
        if not as_json:
            typer.echo(finding)
    if as_json:
        typer.echo(json.dumps(summary(findings), indent=2, ensure_ascii=False))
    if summary(findings)["status"] == FAIL:
        raise typer.Exit(1)


def check_config(config: ConfigOption = None) -> None:
    """Say whether the configuration can be used, and if not, where it is wrong."""
    installed_config(config)
    typer.echo(f"{used_file(config) or 'no configuration file, the defaults'}: good")


def show_config(
    config: ConfigOption = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False
) -> None:
    """Print every setting as a run would use it: the file's, the environment's, and the defaults."""
    settings = installed_config(config)
    typer.echo(json.dumps(dataclasses.asdict(settings), indent=2) if as_json else to_toml(settings), nl=as_json)


def support(
    out: Annotated[Path, typer.Option("--out", help="Where to write it.")] = Path("mien-support.txt"),
    config: ConfigOption = None,
) -> None:
    """Write what a helper would ask for to one text file: checks, configuration, versions, log. No images."""
    from .check import run_checks

    try:
        settings = installed_config(config)
        shown = to_toml(settings)
    except ConfigError as error:
        settings, shown = Config(), f"{error}\n"
    parts = {
        "check": "\n".join(str(finding) for finding in run_checks(settings)),
        "configuration": shown,
        "system": f"{platform.platform()}\nPython {platform.python_version()}\n{_output('uname', '-a')}",
        "packages": "\n".join(sorted({f"{each.name} {each.version}" for each in distributions()}, key=str.lower)),
        "service": _output("systemctl", "status", "--no-pager", "--full", "mien.service"),
        "log": _output("journalctl", "--no-pager", "--unit", "mien.service", "--lines", str(_LOG_LINES)),
        "kernel": _output("sh", "-c", "dmesg | grep -iE 'usb|uvc|voltage|mmc|thermal|oom' | tail -n 60"),
    }
    text = "".join(f"== {title}\n{_without_secrets(body).strip()}\n\n" for title, body in parts.items())
    try:
        write_text(out, text)
    except OSError as error:
        raise SinkError(f"can't write {out}: {error.strerror}; choose another --out") from error
    typer.echo(f"{out}: read it before you pass it on")


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return f"{command[0]} is not there"
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{command[0]}: {error}"
    return done.stdout or done.stderr


def _without_secrets(text: str) -> str:
    def hide(match: re.Match[str]) -> Any:
        return f"{match[1]}…@" if match[1] else f"{match[2]}…"

    return _SECRET.sub(hide, text)
