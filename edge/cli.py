"""What the three commands share: --version, --debug, and errors as one line with their exit code."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .bundle import DEFAULT_MODEL
from .errors import MienError

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
    int | None, typer.Option("--threads", help="Threads that the classifier uses.", show_default="as many as pay")
]
DetectorOption = Annotated[
    str | None,
    typer.Option(
        "--detector",
        metavar="NAME",
        help="haar, alt2 (frontal too), profile (from the side), or yunet:PATH with an ONNX file of yours.",
        show_default="haar",
    ),
]


class _Group(TyperGroup):
    """Prints a MienError as one line instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except MienError as error:
            if ctx.params.get("debug"):
                raise
            typer.echo(f"{ctx.info_name}: error: {error}", err=True)
            raise typer.Exit(error.exit_code) from error


def make_app(help: str) -> typer.Typer:
    """A Typer application with the house's error handling, --version and --debug."""
    app = typer.Typer(cls=_Group, help=help, no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)

    @app.callback()
    def common(
        debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")] = False,
        show_version: Annotated[
            bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
        ] = False,
    ) -> None:
        pass

    common.__doc__ = help
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mien {version('mien')}")
        raise typer.Exit
