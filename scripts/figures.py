"""Writes the figures on the bundled models' cards into the pages that publish them; --check only compares.

Between the lines <!-- figures NAME --> and <!-- end --> of a page stands the table NAME of this file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from mien.edge.bundle import Bundle, bundled_models, find_bundle

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/model-card.md", "docs/models.md")
_MARKED = re.compile(r"(<!-- figures (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def rows(*wanted: str) -> str:
    """A Markdown table: a column for each bundled model, a row for each wanted figure."""
    bundles = [Bundle.load(find_bundle(name)) for name in bundled_models()]
    table = [["", *bundled_models(), "command"], ["---"] * (len(bundles) + 2)]
    for name in wanted:
        figure, command = FIGURES[name]
        table.append([name, *map(figure, bundles), command])
    return "".join(f"| {' | '.join(row)} |\n" for row in table)


def quantized(bundle: Bundle) -> dict[str, float]:
    return bundle.card.metrics["quantized"]  # type: ignore[no-any-return]


def worst(bundle: Bundle) -> str:
    recall = bundle.card.metrics["quantized"]["recall"]
    name = min(recall, key=recall.__getitem__)
    return f"{name} {recall[name]:.3f}"


EVALUATE = "`mien evaluate --data FER --model NAME`"
CONVERT = "`mien-convert run …`, on the card"
FIGURES: dict[str, tuple[Callable[[Bundle], str], str]] = {
    "accuracy": (lambda b: f"{quantized(b)['accuracy']:.3f}", EVALUATE),
    "macro-F1": (lambda b: f"{quantized(b)['macro_f1']:.3f}", "the same"),
    "worst class, recall": (worst, "the same"),
    "recall of each class": (
        lambda b: ", ".join(f"{name} {value:.3f}" for name, value in b.card.metrics["quantized"]["recall"].items()),
        "the same",
    ),
    "calibration error, 15 bins": (lambda b: f"{quantized(b)['calibration_error']:.3f}", "the same"),
    "readings that are certain": (lambda b: f"{quantized(b)['coverage']:.1%}", "the same"),
    "of those, right": (lambda b: f"{quantized(b)['certain_accuracy']:.1%}", "the same"),
    "int8 against float: accuracy": (lambda b: f"{-100 * b.card.metrics['accuracy_drop']:+.2f} points", CONVERT),
    "labels that agree": (lambda b: f"{b.card.metrics['agreement']:.2%}", "the same"),
    "multiply-accumulates": (lambda b: f"{b.card.training['multiply_accumulates'] / 1e6:.1f} M", "`mien models`"),
    "model.tflite": (lambda b: f"{len(b.model) / 1000:,.0f} kB", "the same"),
}
TABLES = {
    "card": rows(*FIGURES),
    "short": rows(
        "accuracy",
        "macro-F1",
        "worst class, recall",
        "calibration error, 15 bins",
        "labels that agree",
        "multiply-accumulates",
        "model.tflite",
    ),
}


def filled(text: str) -> str:
    """A page with its tables as they should be."""
    return _MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]}{found[3]}", text)


def main() -> int:
    stale = []
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        if (wanted := filled(text)) != text:
            stale.append(page)
            if "--check" not in sys.argv:
                path.write_text(wanted, encoding="utf-8")
    for page in stale:
        print(f"{page}: {'is stale, run make figures' if '--check' in sys.argv else 'renewed'}")
    return 1 if stale and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
