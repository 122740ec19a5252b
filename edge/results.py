"""The commands about where results go: events, report, the live page's token, what an MQTT broker keeps."""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from .config import Config
from .errors import ConfigError, RuntimeMissing, SinkError

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_FIELDS = ("id", "time", "event", "face", "emotion", "duration_s")
_PAUSE = 0.5
"""Seconds between two looks at a history that is followed."""

HistoryOption = Annotated[
    Path | None,
    typer.Option("--history", metavar="PATH", help="The database.", show_default="the configuration's, or the usual"),
]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="TOML file with the sink history:.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="As 90s, 15m, 6h, 7d, 2w, or a date and time such as 2026-01-31T08:00.")
]
UntilOption = Annotated[str | None, typer.Option("--until", help="The same.", show_default="now")]


def add_commands(app: typer.Typer) -> None:
    """Adds them to the application."""
    app.command()(events)
    app.command()(report)
    app.command()(token)
    broker = typer.Typer(help="Look after what an MQTT broker keeps.", no_args_is_help=True)
    broker.command()(forget)
    # With one command alone Typer would leave its name out.
    broker.callback()(lambda: None)
    app.add_typer(broker, name="mqtt")


def events(
    history: HistoryOption = None,
    config: ConfigOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="The last so many.")] = None,
    form: Annotated[str, typer.Option("--format", help="text, jsonl or csv.")] = "text",
    follow: Annotated[bool, typer.Option("--follow", help="Go on with those that come, until Ctrl-C.")] = False,
) -> None:
    """Print what began and ended: faces that came and went, emotions and how long they lasted."""
    from .history import History

    if form not in ("text", "jsonl", "csv"):
        raise ConfigError(f"--format is text, jsonl or csv, not {form}")
    show = _writer(form, sys.stdout)
    with History(_path(history, config), read_only=True) as opened:
        begin, end = _time(since), _time(until)
        if follow and begin is None and limit is None:
            limit = 10  # as `tail` does
        try:
            last = show(opened.events(begin, end, limit))
            while follow:
                sys.stdout.flush()
                time.sleep(_PAUSE)
                if last == 0:  # none yet that the options ask for
                    last = show(opened.events(begin, end))
                last = max(last, show(opened.events(begin, end, after_id=last)) if last else 0)
            sys.stdout.flush()
        except KeyboardInterrupt:
            pass
        except BrokenPipeError:  # the reader, such as `head`, has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _writer(form: str, out: TextIO) -> Callable[[Iterable[tuple[int, Any]]], int]:
    """A function that prints (id, event) pairs and gives the last id, or 0."""
    table = csv.DictWriter(out, _FIELDS, lineterminator="\n")
    if form == "csv":
        table.writeheader()

    def show(rows: Iterable[tuple[int, Any]]) -> int:
        number = 0
        for number, event in rows:
            values = {"id": number, **event.to_json()}
            if form == "csv":
                table.writerow(values)
            elif form == "jsonl":
                out.write(json.dumps(values, ensure_ascii=False) + "\n")
            else:
                when = datetime.fromtimestamp(event.time).strftime("%Y-%m-%d %H:%M:%S")
                words = {"emotion_began": "looks", "emotion_ended": "looked"}.get(event.kind, event.kind[5:])
                more = f" {event.emotion}" if event.emotion else ""
                lasted = f" for {event.duration:.1f} s" if event.kind == "emotion_ended" else ""
                stayed = f" after {event.duration:.1f} s" if event.kind == "face_left" else ""
                out.write(f"{when}  face {event.face} {words}{more}{lasted}{stayed}\n")
        return number

    return show


def report(
    history: HistoryOption = None,
    config: ConfigOption = None,
    since: SinceOption = "1d",
    until: UntilOption = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The page.")] = Path("report.html"),
) -> None:
    """Write a page about what was seen: a timeline, shares and durations of emotions, faces, frame rate, gaps."""
    from .files import write_text
    from .history import History
    from .opencv import require_opencv

    require_opencv()  # which has the emotions' colours
    from .report import write_report

    settings = Config.read(config) if config else Config()
    with History(_path(history, config), read_only=True) as opened:
        now = time.time()
        begin, end = _time(since), _time(until)
        page = write_report(
            opened, now - 86_400 if begin is None else begin, now if end is None else end, settings.name
        )
    try:
        write_text(out, page)
    except OSError as error:
        raise SinkError(f"can't write {out}: {error.strerror}") from error
    typer.echo(out)


def forget(
    address: Annotated[
        str | None,
        typer.Argument(metavar="ADDRESS", help="mqtt://HOST, as of the sink.", show_default="the configuration's"),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="The Mien to forget.", show_default="the configuration's")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file with a sink mqtt:// and a name.")] = None,
) -> None:
    """Remove all that a broker keeps of a Mien: Home Assistant then forgets the device."""
    from .broker import forget as forget_at
    from .broker import without_secret

    settings = (Config.read(config) if config else Config()).override(name=name)
    addresses = [address] if address else [uri for uri in settings.sinks if uri.startswith(("mqtt:", "mqtts:"))]
    if not addresses:
        raise ConfigError("which broker? Give mqtt://HOST, or --config with such a sink")
    for each in addresses:
        try:
            topics = forget_at(each, settings.name)
        except ModuleNotFoundError as error:
            raise RuntimeMissing(f"needs {error.name}: pip install 'mien[mqtt]'") from error
        typer.echo(f"{settings.name} is forgotten at {without_secret(each)}: {len(topics)} topics are empty")


def _path(history: Path | None, config: Path | None) -> Path:
    """Where the history is: as it was said, as the configuration's sink says, or where it is by default."""
    from .history import default_path

    if history is not None:
        return history
    if config is not None:
        for uri in Config.read(config).sinks:
            if uri.startswith("history:") and uri != "history:":
                return Path(uri.removeprefix("history:")).expanduser()
    return default_path()


def _time(text: str | None, now: float | None = None) -> float | None:
    """Seconds since the epoch of a date and time (local unless it says), or of so long ago. Raises ConfigError."""
    if text is None:
        return None
    if ago := re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text):
        return (time.time() if now is None else now) - float(ago[1]) * _UNITS[ago[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise ConfigError(f"{text} is no time: write such as 15m, 6h, 7d, or 2026-01-31T08:00") from None


def token(
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Where its hash goes.", show_default="the state directory, where the page looks"),
    ] = None,
) -> None:
    """Make the token that the live page asks for beyond this machine, and show it this once.

    The one before stops counting at once, and every browser must log in again.
    """
    from .sinks.webpage.access import make_token, token_path

    path = file or token_path()
    typer.echo(make_token(path))
    typer.echo(f"mien: this is shown once; its hash is in {path}", err=True)
