"""The command `mien`: reads options and a configuration, builds the objects, runs them."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .bundle import DEFAULT_MODEL, Bundle, bundled_models, find_bundle
from .cli import make_app
from .config import Config
from .errors import ConfigError, SinkError
from .files import write_text
from .opencv import require_opencv
from .results import add_commands

# OpenCV, NumPy's users and the runtime are imported by the commands that need them: `mien --help` is quick.
if TYPE_CHECKING:
    from .pipeline import Stats
    from .sinks import Sink

app = make_app("Reads facial emotion from a camera, a video or pictures.")

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="MODEL",
        help="One of `mien models`, or a folder with model.tflite and card.json.",
        show_default=DEFAULT_MODEL,
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Threads that the classifier uses.", show_default="1")
]


@app.command()
def run(
    source: Annotated[
        str | None,
        typer.Argument(
            metavar="SOURCE",
            help="A video, a picture, a folder of pictures, v4l2:///dev/video0, or an rtsp or http address.",
        ),
    ] = None,
    model: ModelOption = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file; options override it.")] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            "--sink",
            metavar="URI",
            help="jsonl:PATH (- is standard output), video:PATH, image:PATH, window:, history:, clips:FOLDER, "
            "http://127.0.0.1:8080, mqtt://HOST, metrics: (several are allowed).",
            show_default="jsonl:-; on a terminal one line of what goes on",
        ),
    ] = None,
    max_frames: Annotated[int | None, typer.Option("--max-frames", min=1, help="Stop after so many frames.")] = None,
    loop: Annotated[bool | None, typer.Option("--loop", help="Play files for ever.")] = None,
    stats: Annotated[
        Path | None, typer.Option("--stats", help="Write frame rate and stage timings to this JSON file.")
    ] = None,
    threads: ThreadsOption = None,
    no_picture: Annotated[
        bool, typer.Option("--no-picture", help="The live page has no picture, only what was read in it.")
    ] = False,
) -> None:
    """Find the faces of a SOURCE, read their emotions, log or show them.

    A terminal shows one line that says what goes on; --sink jsonl:- prints the log there instead.
    Ctrl-C and SIGTERM end the run cleanly: outputs are whole, the exit code is 0.
    """
    settings = Config.read(config) if config else Config()
    settings = settings.override(
        source=source, model=model, sinks=tuple(sink) if sink else None, loop=loop, threads=threads
    )
    if no_picture:
        settings = settings.override(privacy=replace(settings.privacy, picture=False))
    if not sink and settings.sinks == Config().sinks and sys.stdout.isatty() and sys.stderr.isatty():
        settings = settings.override(sinks=())  # people get one line, not a flood of them
    if not settings.source:
        raise ConfigError("no source: give a video, picture, folder or camera, such as mien run v4l2:///dev/video0")
    if doubled := [uri for uri in settings.sinks if settings.sinks.count(uri) > 1]:
        raise ConfigError(f"sink {doubled[0]} is given twice")
    if stats and (not stats.absolute().parent.is_dir() or stats.is_dir()):
        raise SinkError(f"can't write {stats}: it must be a file in a folder that exists")
    result = _run(settings, max_frames)
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
    stats = _run(settings, max_frames, summary)
    typer.echo(f"\n{summary.table(stats)}\n\n{film}, {picture}, {log}")


def _run(settings: Config, max_frames: int | None, *more_sinks: Sink) -> Stats:
    require_opencv()
    from .classifier import Classifier
    from .finder import make_finder
    from .pipeline import Pipeline
    from .sinks import open_sink
    from .sinks.background import detached
    from .smoother import Smoother
    from .sources import open_source, without_password

    classifier = Classifier(Bundle.load(find_bundle(settings.model)), settings.threads)
    source = open_source(settings.source, settings.loop)
    every_frame = settings.detector.every_frame or not source.related
    finder = make_finder(settings.detector, settings.tracker, every_frame)
    smoother = Smoother(classifier.labels, classifier.uncertain_below, **vars(settings.smoothing))
    with _signals(source.stop), source, contextlib.ExitStack() as stack:
        sinks = [open_sink(uri, source.frame_rate, settings) for uri in settings.sinks]
        if source.live:
            sinks = [detached(sink) for sink in sinks]
        sinks += more_sinks
        if sys.stderr.isatty() and "jsonl:-" not in settings.sinks:
            from .sinks.terminal import TerminalSink

            known = [count for count in (source.length, max_frames) if count is not None]
            sinks.append(TerminalSink(min(known, default=None)))
        for sink in sinks:
            stack.enter_context(sink)
        pipeline = Pipeline(
            source,
            finder,
            classifier,
            smoother,
            sinks,
            settings.overlay,
            without_password(settings.source),
            f"{classifier.card.name} {classifier.card.version}",
            notice=settings.privacy.notice,
            blur=settings.privacy.blur,
        )
        return pipeline.run(max_frames)


@contextlib.contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Calls `stop` at SIGINT and SIGTERM instead of what they do otherwise."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: stop()) for number in numbers}
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, before[number])


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SinkError(f"can't write {path}: {error.strerror}") from error


@app.command()
def evaluate(
    data: Annotated[
        Path, typer.Option("--data", help="Labelled faces: a CSV, a folder split/class/image, .zip or .tar.gz.")
    ],
    model: ModelOption = None,
    classes: Annotated[
        str | None,
        typer.Option("--classes", help="five, seven, all or a list with commas.", show_default="the model's labels"),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="train, validation or test.")] = "validation",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave bad rows and files out.")] = False,
    corruptions: Annotated[
        bool, typer.Option("--corrupt", help="Also on faces moved, turned, dark, blurred, noisy, hidden, far away.")
    ] = False,
    threads: ThreadsOption = None,
) -> None:
    """Measure a model on labelled faces: accuracy, calibration, speed, robustness."""
    require_opencv()
    from .classifier import Classifier
    from .evaluate import evaluate as measure_bundle
    from .runtime import runtime_name

    settings = Config().override(model=model, threads=threads)
    bundle = Bundle.load(find_bundle(settings.model))
    classifier = Classifier(bundle, settings.threads)
    with _progress() as progress:
        result = measure_bundle(classifier, data, classes, split, skip_bad, progress, corruptions)
    about = {
        "model": bundle.card.name,
        "version": bundle.card.version,
        "quantization": bundle.card.quantization,
        "runtime": runtime_name(),
        "threads": settings.threads,
        "data": str(data),
    }
    if as_json:
        typer.echo(json.dumps({**about, **result.to_json()}, indent=2))
        return
    for notice in result.notices:
        typer.echo(f"mien: {notice}", err=True)
    typer.echo(f"{bundle.card.name} {bundle.card.version} ({bundle.card.quantization}) on {about['runtime']}")
    typer.echo(result.to_text())


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A function that shows progress on one line of standard error, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    try:
        yield lambda what, done, total: typer.echo(
            f"\r{what} {done:,}{f' of {total:,}' if total else ''} faces\x1b[K", err=True, nl=False
        )
    finally:
        typer.echo("\r\x1b[K", err=True, nl=False)


@app.command()
def bench(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="As for `mien run`.", show_default="the demo's moving picture"),
    ] = None,
    model: ModelOption = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file; options override it.")] = None,
    frames: Annotated[int, typer.Option("--frames", min=10, help="Of the source, held in memory.")] = 150,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Of the whole measurement.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast this machine reads faces, and say what frame rate to expect."""
    require_opencv()
    import tempfile

    from .bench import bench as measure
    from .demo import write_moving_picture
    from .sources import open_source

    settings = (Config.read(config) if config else Config()).override(source=source, model=model)
    bundle = Bundle.load(find_bundle(settings.model))
    with tempfile.TemporaryDirectory() as folder:
        if not settings.source:
            settings = settings.override(source=str(Path(folder) / "demo.avi"))
            write_moving_picture(Path(settings.source))
        film = open_source(settings.source)
        result = measure(film, settings, bundle, frames, repeats, lambda what: typer.echo(f"mien: {what}", err=True))
    typer.echo(json.dumps(result.to_json(), indent=2) if as_json else result.to_text())


@app.command()
def info(
    model: ModelOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole card as JSON.")] = False,
) -> None:
    """Show what a model is: labels, figures, where it came from, what it is not for."""
    bundle = Bundle.load(find_bundle(model or DEFAULT_MODEL))
    card = bundle.card
    if as_json:
        typer.echo(json.dumps(card.to_json(), indent=2, ensure_ascii=False))
        return
    spec = card.input
    rows = {
        "name": f"{card.name} {card.version}",
        "labels": ", ".join(card.labels),
        "input": f"{spec.height}×{spec.width} gray, pixel × {spec.scale:.6g} + {spec.offset:g}",
        "crop": f"{card.crop.scale:g} × the face's box, moved by {card.crop.dx:g} to the right, {card.crop.dy:g} down",
        "certainty": f"temperature {card.temperature:.4g}, uncertain below {card.uncertain_below:.0%}",
        "quantization": card.quantization,
        "size": f"{len(bundle.model) / 1000:,.0f} kB",
        "sha256": card.sha256,
        "operators": ", ".join(f"{name} {version}" for name, version in card.operators.items()),
        "figures": json.dumps(card.metrics, ensure_ascii=False) if card.metrics else "",
        "training": json.dumps(card.training, ensure_ascii=False) if card.training else "",
        "intended use": card.intended_use,
        "limits": card.limits,
    }
    for name, value in rows.items():
        if value:
            typer.echo(f"{name:14}{value}")


@app.command()
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


@app.command()
def models(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the models that ship with Mien, with the figures on their cards."""
    rows = []
    for name in bundled_models():
        bundle = Bundle.load(find_bundle(name))
        card = bundle.card
        figures = card.metrics.get("quantized", {})
        rows.append(
            {
                "name": name,
                "default": name == DEFAULT_MODEL,
                "labels": list(card.labels),
                "quantization": card.quantization,
                "bytes": len(bundle.model),
                "multiply_accumulates": card.training.get("multiply_accumulates"),
                "accuracy": figures.get("accuracy"),
                "macro_f1": figures.get("macro_f1"),
                "worst_recall": min(figures["recall"].values()) if figures.get("recall") else None,
            }
        )
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    typer.echo(f"{'model':14}{'accuracy':>9}{'macro-F1':>10}{'worst class':>13}{'MACs':>9}{'size':>9}  labels")
    for row in rows:
        macs = row["multiply_accumulates"]
        typer.echo(
            f"{row['name']:14}{_figure(row['accuracy']):>9}{_figure(row['macro_f1']):>10}"
            f"{_figure(row['worst_recall']):>13}{f'{macs / 1e6:.1f} M' if macs else '–':>9}"
            f"{row['bytes'] / 1000:>6,.0f} kB  {', '.join(row['labels'])}"
        )
    typer.echo(f"{DEFAULT_MODEL} is used without --model; figures of FER2013's public test, by the cards")


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


add_commands(app)
