"""The command ``mien-convert``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.edge.cli import make_app

from .quantize import IO, MIN_SAMPLES, Quantization

app = make_app("Converts a trained network to a verified TFLite model bundle.")


@app.command()
def run(
    context: typer.Context,
    model: Annotated[Path, typer.Option(help="The network: DIR/model.keras, with config.json beside it.")],
    data: Annotated[Path, typer.Option(help="The data it was trained on: a CSV, a folder, a .zip or a .tar.gz.")],
    out: Annotated[Path, typer.Option(help="The bundle: a folder, which is made or replaced.")],
    quantize: Annotated[Quantization, typer.Option(help="Arithmetic of the model.")] = "int8",
    io: Annotated[IO, typer.Option(help="What an int8 model takes and gives.")] = "int8",
    samples: Annotated[int, typer.Option(min=MIN_SAMPLES, help="Training faces for calibration.")] = MIN_SAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Draws those faces.")] = 0,
    classes: Annotated[
        str | None, typer.Option(help="Labels in the order of the outputs, if config.json has none: a,b,c.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The bundle's name; by default mien-ARCH-QUANTIZATION.")] = None,
    model_version: Annotated[str, typer.Option(help="The bundle's version.")] = "1",
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out rows and files that can't be read.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write a model that fails its gate, and say so in it.")
    ] = False,
    variants: Annotated[
        bool, typer.Option(help="Compare all quantizations and each layer's error in the report.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Convert a network, verify it on the validation split, and write a bundle with a report."""
    from . import summary
    from .steps import Steps
    from .workflow import Request, convert_model

    request = Request(
        model=model,
        data=data,
        out=out,
        quantization=quantize,
        classes=classes,
        samples=samples,
        seed=seed,
        name=name,
        version=model_version,
        io=io,
        force=force,
        skip_bad=skip_bad,
        variants=variants,
    )
    with Steps() as steps:
        outcome = convert_model(request, steps, silent=not _debug(context))
    if as_json:
        typer.echo(json.dumps(summary.as_json(outcome, out), indent=1))
    else:
        summary.show(outcome, out)


@app.command()
def check(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Check that a bundle is whole and that tflite-runtime 2.14 knows its operators."""
    from . import summary
    from .check import check_bundle

    verdict = check_bundle(bundle, silent=not _debug(context))
    if as_json:
        typer.echo(json.dumps(verdict.to_json(), indent=1))
    else:
        summary.show_check(verdict)
    if verdict.problems:
        from mien.edge.errors import GateError

        raise GateError(f"{bundle}: {'; '.join(verdict.problems)}: convert it again")


@app.command()
def profile(
    bundle: Annotated[str, typer.Argument(help="The bundle's folder, or the name of one that Mien ships.")],
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each operator.")] = 200,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Time each operator of a bundle's model on this machine, one thread."""
    from mien.edge.bundle import Bundle, find_bundle

    from . import summary
    from .profile import profile_model
    from .steps import Steps

    model = Bundle.load(find_bundle(bundle)).model
    with Steps() as steps, steps.step("Timing the operators", repeats) as advance:
        whole, parts = profile_model(model, repeats, lambda done: advance(1))
    if as_json:
        typer.echo(json.dumps({"whole": whole.to_json(), "operators": [each.to_json() for each in parts]}, indent=1))
    else:
        summary.show_profile(whole, parts)


def _debug(context: typer.Context) -> bool:
    parent = context.parent
    return bool(parent and parent.params.get("debug"))
