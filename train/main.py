"""The command mien-train: look at a data set, fetch FER2013, train, measure training speed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.edge.cli import make_app
from mien.edge.quiet import quiet

from . import data_commands
from .data_commands import ClassesOption, DataOption, SkipBadOption, print_notices, reading

if TYPE_CHECKING:
    from .engine import Engine
    from .recipe import Recipe

app = make_app("Trains Mien's network on a workstation.")
data_commands.add_commands(app)

# TensorFlow's native chatter; its failures are exceptions.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ENGINES = ("tensorflow", "torch")
"""Libraries that train; which it is must be known before Keras is imported."""

ArchOption = Annotated[
    str | None, typer.Option(help="Network, such as compact, small or reference.", show_default="the recipe's")
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        help="How to train: base, small, deep, deep_small, wide, broad, compact, reference, short, or a TOML file.",
        show_default="the network's own, or base",
    ),
]


@app.command()
def fit(
    data: DataOption,
    out: Annotated[Path, typer.Option(help="Folder for the run; made if missing.", show_default=False)],
    arch: ArchOption = None,
    recipe: RecipeOption = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="At most; the recipe's by default.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="In place of the recipe's, as augmentation.erase=0; may be repeated."
        ),
    ] = None,
    classes: ClassesOption = "five",
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same machine: same run.")] = 0,
    set_aside: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            help="Judge by this share of the training faces, to choose between recipes.",
            show_default="0",
        ),
    ] = 0.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    strategy: Annotated[
        str, typer.Option(help="auto, single, mirrored (all GPUs of this machine), or multiworker (see TF_CONFIG).")
    ] = "auto",
    library: Annotated[
        str, typer.Option("--engine", help="tensorflow, or torch, which must be installed: faster on processors.")
    ] = "tensorflow",
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A finished run, a bundle or one of `mien models`, in place of the recipe's teachers; may be repeated."
        ),
    ] = None,
    skip_bad: SkipBadOption = False,
) -> None:
    """Train a network and keep everything about the run in a folder."""
    engine = _engine(library, strategy)
    from mien.edge.bundle import InputSpec
    from mien.edge.errors import ConfigError

    from .data import read_for_training
    from .fit import fit as train

    chosen = _recipe(recipe, arch, epochs, settings or ())
    if teacher and not chosen.distillation.teachers:
        raise ConfigError("--teacher is for a recipe with [distillation]: this one learns from labels alone")
    spec = InputSpec()
    with reading(data) as progress:
        dataset, wide = (
            read_for_training(data, names, spec, seed=seed, set_aside=set_aside, skip_bad=skip_bad, progress=progress)
            if names
            else None
            for names in (classes, chosen.distillation.classes)
        )
    assert dataset is not None
    print_notices(dataset)
    try:
        metrics = train(
            dataset,
            chosen,
            out,
            spec=spec,
            engine=engine,
            seed=seed,
            resume=resume,
            verbose=1 if sys.stdout.isatty() else 2,
            wide=wide,
            teachers=teacher or (),
        )
    except KeyboardInterrupt:
        typer.echo(f"mien-train: stopped; finished epochs are kept in {out}: go on with --resume", err=True)
        raise typer.Exit(130) from None
    except OSError as error:
        raise ConfigError(f"can't write {error.filename or out}: {error.strerror}") from error
    if metrics:
        recall = ", ".join(f"{label} {value:.3f}" for label, value in metrics.recall.items())
        print(f"validation accuracy {metrics.accuracy:.4f}, macro-F1 {metrics.macro_f1:.4f}, loss {metrics.loss:.4f}")
        print(f"recall: {recall}")
        print(f"the run is in {out}: model.keras, metrics.json, curves.png, confusion.png, samples.png")


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN…", help="Folders that fit wrote.", show_default=False)],
    picture: Annotated[Path, typer.Option(help="Where to write the picture.")] = Path("out/compare.png"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare training runs: curves, confusion, and the speed of those with a converted model in RUN/bundle."""
    import json

    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    from mien.edge.errors import ConfigError

    from .compare import draw, latencies, read_run

    found = [read_run(run) for run in runs]
    with Console(stderr=True).status("measuring the converted models …"):
        milliseconds = latencies(found)
    try:
        picture.parent.mkdir(parents=True, exist_ok=True)
        draw(picture, found, milliseconds)
    except OSError as error:
        raise ConfigError(f"can't write {picture}: {error.strerror}; choose another --picture") from error
    rows = [run.row(ms) for run, ms in zip(found, milliseconds, strict=True)]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    table = Table("run", box=SIMPLE, collapse_padding=True)
    for heading in ("MACs", "accuracy", "F1", "worst", "converted", "kB", "ms", "× first"):
        table.add_column(heading, justify="right", no_wrap=True)
    first = rows[0]["ms_per_face"]
    for row in rows:
        ms = row["ms_per_face"]
        table.add_row(
            row["run"],
            f"{row['multiply_accumulates'] / 1e6:.1f} M" if row["multiply_accumulates"] else "–",
            *(f"{row[key]:.3f}" if row[key] else "–" for key in ("accuracy", "macro_f1", "worst_recall")),
            f"{row['quantized_accuracy']:.3f} {row['quantization']}" if row["quantized_accuracy"] else "–",
            f"{row['bytes'] / 1000:,.0f}" if row["bytes"] else "–",
            f"{ms:.3f}" if ms else "–",
            f"{ms / first:.2f}" if ms and first else "–",
        )
    Console().print(table)
    print(f"F1: macro-F1; worst: recall of the worst class; ms: a face, one thread. Picture: {picture}")


@app.command()
def bench(
    data: DataOption,
    arch: Annotated[str | None, typer.Option(help="Network; the recipe's by default.")] = None,
    recipe: RecipeOption = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps a repeat.")] = 25,
    repeats: Annotated[int, typer.Option(min=1, help="Repeats with real and constant data in turn.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure training steps a second with real and with constant data, side by side."""
    _load_tensorflow()
    import json

    from rich.console import Console
    from rich.table import Table

    from mien.edge.bundle import InputSpec

    from .bench import bench as measure
    from .data import read_for_training

    chosen, spec = _recipe(recipe, arch), InputSpec()
    with reading(data) as progress:
        dataset = read_for_training(data, "five", spec, progress=progress)
    with Console(stderr=True).status("training …"):
        result = measure(dataset, chosen, spec, steps, repeats)
    if as_json:
        print(json.dumps(result, indent=1))
        return
    table = Table("precision", "real, steps/s", "constant, steps/s", "real ÷ constant", "images/s")
    for precision, row in result["precisions"].items():
        table.add_row(
            precision,
            f"{row['real_steps_per_second']:.1f}",
            f"{row['constant_steps_per_second']:.1f}",
            f"{row['real_to_constant']:.3f}",
            f"{row['images_per_second']:.0f}",
        )
    table.title = f"{result['arch']}, batches of {result['batch_size']}, medians of {repeats} × {steps} steps"
    Console().print(table)
    print(f"precision auto is {result['auto_precision']} here: {result['auto_to_float32']:.2f} × float32")


def _engine(name: str, strategy: str) -> Engine:
    """What trains. Raises ConfigError, RuntimeMissing."""
    from mien.edge.errors import ConfigError, RuntimeMissing

    if name not in ENGINES:
        raise ConfigError(f"unknown engine {name!r}: choose {' or '.join(ENGINES)}")
    if name == "tensorflow":
        _load_tensorflow()
        from .distribute import choose_workers
        from .tensorflow_engine import TensorflowEngine

        return TensorflowEngine(choose_workers(strategy))
    if strategy not in ("auto", "single"):
        raise ConfigError(f"the engine torch trains in one process: --strategy {strategy} is for tensorflow")
    os.environ["KERAS_BACKEND"] = "torch"
    try:
        with quiet():
            from .torch_engine import TorchEngine
    except ImportError as error:
        raise RuntimeMissing(
            f"the engine torch needs PyTorch ({error}): install it as https://pytorch.org/get-started says"
        ) from error
    return TorchEngine()


def _load_tensorflow() -> None:
    """Imports TensorFlow without its start-up chatter, which no setting of its own turns off."""
    from mien.edge.errors import RuntimeMissing

    try:
        with quiet():
            import tensorflow  # noqa: F401
    except ImportError as error:
        raise RuntimeMissing(f"training needs TensorFlow ({error}): pip install 'mien[train]'") from error


def _recipe(name: str | None, arch: str | None, epochs: int | None = None, settings: Sequence[str] = ()) -> Recipe:
    """The recipe of that name or file, by default the network's own, with what the command line overrides."""
    from mien.edge.errors import ConfigError

    from .model import ARCHITECTURES
    from .recipe import DEFAULT_RECIPE, check_recipe, find_recipe, load_recipe

    if arch is not None and arch not in ARCHITECTURES:
        raise ConfigError(f"unknown architecture {arch!r}: choose one of {', '.join(ARCHITECTURES)}")
    own = arch is not None and find_recipe(arch).is_file()
    name = name or (arch if own else None) or DEFAULT_RECIPE
    recipe = load_recipe(find_recipe(name), settings)
    if recipe.arch not in ARCHITECTURES:
        raise ConfigError(f"{name}: unknown architecture {recipe.arch!r}: choose one of {', '.join(ARCHITECTURES)}")
    recipe = replace(recipe, arch=arch or recipe.arch, epochs=epochs or recipe.epochs)
    check_recipe(recipe, name)
    return recipe
