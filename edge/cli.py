"""What the three commands share: --version, --debug, and errors as one line with their exit code."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from .errors import MienError


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
