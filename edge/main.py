"""The command `mien`: reads options and a configuration, builds the objects, runs them."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from . import device, model_commands, results
from .bundle import Bundle, find_bundle
from .cli import DetectorOption, ModelOption, ThreadsOption, make_app
from .config import Config
from .errors import ConfigError, SinkError
from .files import write_text
from .opencv import require_opencv
from .settings import load_config

# OpenCV, NumPy's users and the runtime are imported by the commands that need them: `mien --help` is quick.
app = make_app("Reads facial emotion from a camera, a video or pictures.")


@app.command()
def run(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A video, a picture, a folder of pictures, auto:// (any camera), picamera2://0, "
            "v4l2:///dev/video0, or an rtsp or http address.",
        ),
    ] = None,
    model: ModelOption = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file; options override it.")] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            "--sink",
            metavar="URI",
            help="jsonl:PATH (- is standard output), video:PATH, image:PATH, window:, screen:, history:, "
            "clips:FOLDER, http://127.0.0.1:8080, mqtt://HOST, metrics: (several are allowed).",
            show_default="jsonl:-; on a terminal one line of what goes on",
        ),
    ] = None,
    max_frames: Annotated[int | None, typer.Option("--max-frames", min=1, help="Stop after so many frames.")] = None,
    loop: Annotated[bool | None, typer.Option("--loop", help="Play files for ever.")] = None,
    stats: Annotated[
        Path | None, typer.Option("--stats", help="Write frame rate and stage timings to this JSON file.")
    ] = None,
    threads: ThreadsOption = None,
    detector: DetectorOption = None,
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="The live page has no picture, only what was read in it.")
    ] = False,
) -> None:
    """Find the faces of a SOURCE, read their emotions, log or show them.

    A terminal shows one line that says what goes on; --sink jsonl:- prints the log there instead.
    Ctrl-C and SIGTERM end the run cleanly: outputs are whole, the exit code is 0.
    """

    def read() -> Config:
        settings = load_config(config).override(
            source=source, model=model, sinks=tuple(sink) if sink else None, loop=loop, threads=threads
        )
        settings = settings.with_detector(detector)
        if no_picture:
            settings = settings.override(privacy=replace(settings.privacy, picture=False))
        return settings

    settings = read()
    if not sink and settings.sinks == Config().sinks and sys.stdout.isatty() and sys.stderr.isatty():
        settings = settings.override(sinks=())  # people get one line, not a flood of them
    if not settings.source:
        raise ConfigError("no source: give a video, picture, folder or camera, such as mien run v4l2:///dev/video0")
    if doubled := [uri for uri in settings.sinks if settings.sinks.count(uri) > 1]:
        raise ConfigError(f"sink {doubled[0]} is given twice")
    if stats and (not stats.absolute().parent.is_dir() or stats.is_dir()):
        raise SinkError(f"can't write {stats}: it must be a file in a folder that exists")
    require_opencv()
    from .runner import run as run_it

    result = run_it(settings, max_frames, reread=read)
    if stats:
        with _writing(stats):
            write_text(stats, json.dumps(result.to_json(), indent=2) + "\n")
    typer.echo(f"mien: {result}", err=True)


@app.command()
def demo(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE", help="As for `mien run`.", show_default="a moving picture made of two photographs"
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the results go.")] = Path("out/demo"),
    model: ModelOption = None,
    max_frames: Annotated[int | None, typer.Option("--max-frames", min=1, help="Stop after so many frames.")] = None,
) -> None:
    """Read faces in a film: leaves a video with the overlay, a picture and a log, and prints a table."""
    require_opencv()
    from .demo import Summary, write_moving_picture
    from .runner import run as run_it

    film, picture, log = (out / name for name in ("demo.mp4", "demo.jpg", "demo.jsonl"))
    settings = Config().override(source=source, model=model, sinks=(f"video:{film}", f"jsonl:{log}"))
    Bundle.load(find_bundle(settings.model))  # before any work is done in vain
    with _writing(out):
        out.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)  # a log is appended to
    if not source:
        settings = settings.override(source=str(out / "input.avi"))
        typer.echo(f"makes {settings.source} of two photographs", err=True)
        write_moving_picture(Path(settings.source))
    summary = Summary(picture)
    typer.echo(f"reads {settings.source}", err=True)
    stats = run_it(settings, max_frames, summary)
    typer.echo(f"\n{summary.table(stats)}\n\n{film}, {picture}, {log}")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"can't write {path}: {error.strerror}") from error


for commands in (model_commands, results, device):
    commands.add_commands(app)
