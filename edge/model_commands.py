"""The commands about models: evaluate, bench, info, models."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from .bundle import DEFAULT_MODEL, Bundle, bundled_models, find_bundle
from .cli import DetectorOption, ModelOption, ThreadsOption
from .config import Config
from .errors import SinkError
from .opencv import require_opencv
from .settings import load_config


def add_commands(app: typer.Typer) -> None:
    """Adds them to the application."""
    for command in (evaluate, bench, info, models):
        app.command()(command)


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
        "threads": classifier.threads,
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


def bench(
    source: Annotated[
        str | None,
        typer.Argument(metavar="SOURCE", help="As for `mien run`.", show_default="the demo's moving picture"),
    ] = None,
    model: ModelOption = None,
    config: Annotated[Path | None, typer.Option("--config", help="TOML file; options override it.")] = None,
    detector: DetectorOption = None,
    frames: Annotated[int, typer.Option("--frames", min=10, help="Of the source, held in memory.")] = 150,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Of the whole measurement.")] = 5,
    threads: Annotated[bool, typer.Option("--threads", help="Measure the classifier's threads only.")] = False,
    picture: Annotated[
        Path | None, typer.Option("--picture", metavar="PATH", help="Draw the stages to this .png or .jpg.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure how fast this machine reads faces, and say what frame rate to expect."""
    require_opencv()
    import tempfile

    from .bench import bench as measure
    from .bench import sweep, threads_line
    from .bench_picture import write_picture
    from .demo import write_moving_picture
    from .sources import open_source
    from .threads import recommend

    if picture and (picture.suffix not in (".png", ".jpg") or not picture.absolute().parent.is_dir()):
        raise SinkError(f"can't write {picture}: it must be a .png or .jpg in a folder that exists")
    settings = load_config(config).override(source=source, model=model).with_detector(detector)
    bundle = Bundle.load(find_bundle(settings.model))
    if threads:
        model_ms = sweep(bundle)
        values = {"model_ms": model_ms, "threads": recommend(model_ms)}
        typer.echo(json.dumps(values, indent=2) if as_json else threads_line(model_ms))
        return
    with tempfile.TemporaryDirectory() as folder:
        if not settings.source:
            settings = settings.override(source=str(Path(folder) / "demo.avi"))
            write_moving_picture(Path(settings.source))
        film = open_source(settings.source)
        result = measure(film, settings, bundle, frames, repeats, lambda what: typer.echo(f"mien: {what}", err=True))
    if picture:
        try:
            write_picture(result, picture)
        except OSError as error:
            raise SinkError(f"can't write {picture}: {error.strerror}") from error
    typer.echo(json.dumps(result.to_json(), indent=2) if as_json else result.to_text())


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
