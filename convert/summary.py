"""What ``mien-convert`` prints when it is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from .check import Verdict
from .folder import REPORT_FILE
from .profile import Cost
from .variant import Variant
from .workflow import Outcome


def show(outcome: Outcome, out: Path) -> None:
    """Prints a table of the conversions, the notices and where the bundle is."""
    console = Console(highlight=False, markup=False)
    first = outcome.variants[0].comparison.network
    # Short headings: the table must fit into 80 columns.
    table = Table(title=f"{first.faces:,} validation faces", title_justify="left", box=SIMPLE, collapse_padding=True)
    for heading in ("", "KiB", "accuracy", "F1", "agreement", "drop", "ms/face", "gate", "2.14"):
        table.add_column(heading, justify="left" if heading in ("", "gate", "2.14") else "right", no_wrap=True)
    table.add_row("Keras", "", f"{first.accuracy:.2%}", f"{first.macro_f1:.3f}")
    for variant in outcome.variants:
        table.add_row(*_row(variant), style="bold" if variant is outcome.variants[0] else None)
    console.print(table)
    console.print("F1: macro-F1. drop: points of accuracy. 2.14: whether tflite-runtime 2.14 takes it.", soft_wrap=True)
    for notice in outcome.notices:
        console.print(f"Note: {notice}.", soft_wrap=True)
    for shortfall in outcome.variants[0].failed:
        console.print(f"Written by force, although {shortfall}.", style="bold red", soft_wrap=True)
    console.print(f"Bundle {outcome.card.name} in {out}; the report is {out / REPORT_FILE}", soft_wrap=True)


def show_check(verdict: Verdict) -> None:
    """Prints a bundle's operators beside those that tflite-runtime 2.14 knows."""
    console = Console(highlight=False, markup=False)
    table = Table(
        "operator",
        "version",
        "2.14 knows up to",
        title=verdict.name,
        title_justify="left",
        box=SIMPLE,
        collapse_padding=True,
    )
    for name, used in verdict.operators.items():
        table.add_row(name, str(used), str(verdict.known[name] or "-"))
    console.print(table)
    console.print(f"Loads in {verdict.runtime}.")
    console.print(f"Runs in tflite-runtime 2.14: {verdict.old_runtime}.", soft_wrap=True)


def show_profile(whole: Cost, parts: list[Cost]) -> None:
    """Prints what each operator costs, and what each kind of operator does."""
    console = Console(highlight=False, markup=False)
    table = Table(box=SIMPLE, collapse_padding=True)
    for heading in ("operator", "result", "MACs", "kB", "µs", "share", "MACs/ns"):
        table.add_column(heading, justify="left" if heading in ("operator", "result") else "right", no_wrap=True)
    total = sum(part.microseconds for part in parts)
    for part in (*parts, whole):
        table.add_row(
            part.operator,
            "×".join(str(side) for side in part.output[1:]),
            f"{part.multiply_accumulates / 1e6:.2f} M" if part.multiply_accumulates else "",
            f"{part.bytes / 1000:.1f}",
            f"{part.microseconds:.1f}",
            f"{part.microseconds / total:.0%}",
            f"{part.multiply_accumulates / part.microseconds / 1000:.1f}" if part.multiply_accumulates else "",
            style="bold" if part is whole else None,
        )
    console.print(table)


def as_json(outcome: Outcome, out: Path) -> dict[str, Any]:
    """The outcome for machines."""
    return {
        "bundle": str(out),
        "report": str(out / REPORT_FILE),
        "card": outcome.card.to_json(),
        "notices": outcome.notices,
        "variants": [
            {
                "quantization": variant.card.quantization,
                "bytes": len(variant.model),
                "accuracy": round(variant.comparison.model.accuracy, 5),
                "macro_f1": round(variant.comparison.model.macro_f1, 5),
                "agreement": round(variant.comparison.agreement, 5),
                "accuracy_drop": round(variant.comparison.accuracy_drop, 5),
                "latency_ms": round(variant.comparison.latency_ms, 3),
                "operators": variant.card.operators,
                "old_runtime": variant.old_runtime,
                "shortfalls": variant.failed,
            }
            for variant in outcome.variants
        ],
    }


def _row(variant: Variant) -> list[str]:
    figures = variant.comparison
    return [
        variant.card.quantization,
        f"{len(variant.model) / 1024:,.0f}",
        f"{figures.model.accuracy:.2%}",
        f"{figures.model.macro_f1:.3f}",
        f"{figures.agreement:.2%}",
        f"{100 * figures.accuracy_drop:+.2f}",
        f"{figures.latency_ms:.2f}",
        "fails" if variant.failed else "passes",
        variant.old_runtime.partition(":")[0].partition(" by")[0],
    ]
