"""The report that a person reads: one HTML file that needs nothing else, in light and dark."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

from mien.edge.metrics import Metrics

from .variant import Variant

if TYPE_CHECKING:
    from .layers import LayerError
    from .workflow import Outcome

ROUNDING = 12**-0.5
"""Error of mere rounding, in quantization steps."""

_STYLE = """
:root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --ground: #fff; --line: #d8dee6; --fill: #2b7de0;
  --other: #e08a1e; --good: #14743c; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --text: #e6eaf0; --soft: #9aa6b5; --ground: #14181e; --line: #333c48;
  --fill: #4c9bff; --other: #f0a94a; --good: #5fd08e; --bad: #ff8a80; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--text); background: var(--ground); max-width: 68rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
p.soft, td.soft, .soft { color: var(--soft); } .good { color: var(--good); } .bad { color: var(--bad); }
.scroll { overflow-x: auto; } .side { display: flex; flex-wrap: wrap; gap: 2.5rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th, tr.chosen td { font-weight: 600; } td.number, th.number { text-align: right; white-space: nowrap; }
td:first-child { white-space: nowrap; }
table.confusion td { text-align: right; background: color-mix(in srgb, var(--fill) var(--share), var(--ground)); }
.bar { width: 14rem; } .bar i { display: block; height: .6rem; margin: .2rem 0; min-width: 1px; }
.bar i { background: var(--fill); }
.bar i.other, .key i.other { background: var(--other); }
.key i { display: inline-block; width: .8rem; height: .8rem; background: var(--fill); margin-right: .4rem; }
ul { padding-left: 1.2rem; } code { font-size: .9em; overflow-wrap: anywhere; }
"""


def render(outcome: Outcome) -> str:
    """The report as HTML."""
    card, chosen = outcome.card, outcome.variants[0]
    figures = chosen.comparison
    verdict = (
        '<p class="good"><b>It passes its gate.</b></p>'
        if not chosen.failed
        else f'<p class="bad"><b>It fails its gate and was written by force:</b></p>{_list(chosen.failed)}'
    )
    quantized = f"{card.quantization} model"
    parts = [
        f'<h1>{escape(card.name)}</h1><p class="soft">version {escape(card.version)} · {card.quantization} · '
        f"{len(chosen.model) / 1024:,.0f} KiB · {escape(', '.join(card.labels))}</p>",
        f"<p>The Keras network and its conversions read the same {figures.network.faces:,} validation faces, the "
        f"conversions through the classifier that runs on the device. The {quantized} may lose "
        f"{100 * card.metrics['gate']['tolerances']['accuracy_drop']:g} points of accuracy and must give "
        f"{card.metrics['gate']['tolerances']['agreement']:.0%} of the network's labels.</p>",
        verdict,
        _variants(outcome.variants, card.metrics["runtime"]),
        _list(f"{notice[:1].upper()}{notice[1:]}." for notice in outcome.notices),
        "<h2>Recall of each class</h2>",
        _recalls(figures.network, figures.model, quantized),
        "<h2>Confusion</h2><p>Rows: what the label says. Columns: what was read. Shade: share of the row.</p>",
        '<div class="side">',
        _confusion(figures.network, card.labels, "Keras, float32"),
        _confusion(figures.model, card.labels, quantized),
        "</div>",
        _layers(outcome.layers),
        "<h2>Limits</h2>",
        f"<p>{escape(card.intended_use)}</p><p>{escape(card.limits)}</p>",
        f'<p class="soft">sha256 of the model: <code>{card.sha256}</code></p>',
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(card.name)}: conversion report</title>\n<style>{_STYLE}</style>\n"
        + "\n".join(parts)
        + "\n</html>\n"
    )


def _variants(variants: Sequence[Variant], runtime: str) -> str:
    network = variants[0].comparison.network
    head = (
        "model",
        "KiB",
        "accuracy",
        "macro-F1",
        "agreement",
        "drop, points",
        "ms a face",
        "gate",
        "tflite-runtime 2.14",
    )
    numbers = range(1, 7)
    rows = [
        _row(("Keras, float32", "", f"{network.accuracy:.2%}", f"{network.macro_f1:.3f}", "", "", "", "", ""), numbers)
    ]
    for variant in variants:
        figures = variant.comparison
        gate = '<span class="bad">fails</span>' if variant.failed else '<span class="good">passes</span>'
        rows.append(
            _row(
                (
                    variant.card.quantization,
                    f"{len(variant.model) / 1024:,.0f}",
                    f"{figures.model.accuracy:.2%}",
                    f"{figures.model.macro_f1:.3f}",
                    f"{figures.agreement:.2%}",
                    f"{100 * figures.accuracy_drop:+.2f}",
                    f"{figures.latency_ms:.2f}",
                    gate,
                    "yes" if variant.old_runtime.startswith("yes") else '<span class="bad">no</span>',
                ),
                numbers,
                "chosen" if variant is variants[0] else "",
            )
        )
    return (
        f"<h2>All conversions</h2>{_table(head, rows, numbers)}<p class='soft'>ms a face: median over the validation "
        f"faces, one at a time, one thread, {escape(runtime)}, on the machine that converted. A Raspberry Pi is "
        "slower, and the order may differ there.</p>"
        "<h2>Operators and their versions</h2>"
        + _table(("model", "operators", "in tflite-runtime 2.14"), [_row(_operators(v), ()) for v in variants], ())
    )


def _operators(variant: Variant) -> tuple[str, str, str]:
    found = ", ".join(f"{name} v{version}" for name, version in variant.card.operators.items())
    return variant.card.quantization, escape(found), escape(variant.old_runtime)


def _recalls(network: Metrics, model: Metrics, quantized: str) -> str:
    rows = [
        _row(
            (
                escape(label),
                f"{network.recall[label]:.1%}",
                f"{model.recall[label]:.1%}",
                f'<i style="width:{network.recall[label]:.1%}"></i>'
                f'<i class="other" style="width:{model.recall[label]:.1%}"></i>',
            ),
            (1, 2),
        ).replace("<td><i", '<td class="bar"><i')
        for label in network.recall
    ]
    key = f'<p class="key"><i></i>Keras, float32 &emsp; <i class="other"></i>{escape(quantized)}</p>'
    return key + _table(("class", "Keras", escape(quantized), ""), rows, (1, 2))


def _confusion(metrics: Metrics, labels: Sequence[str], title: str) -> str:
    rows = []
    for label, counts in zip(labels, metrics.confusion, strict=True):
        total = max(sum(counts), 1)
        # At most 60 % of the colour, so that the number stays readable.
        cells = "".join(f'<td style="--share:{60 * count / total:.0f}%">{count:,}</td>' for count in counts)
        rows.append(f"<tr><th>{escape(label)}</th>{cells}</tr>")
    head = "".join(f'<th class="number">{escape(label)}</th>' for label in labels)
    return (
        f'<div class="scroll"><p><b>{escape(title)}</b>: accuracy {metrics.accuracy:.2%}, '
        f"macro-F1 {metrics.macro_f1:.3f}</p>"
        f'<table class="confusion"><tr><th></th>{head}</tr>{"".join(rows)}</table></div>'
    )


def _layers(layers: Sequence[LayerError]) -> str:
    if not layers:
        return ""
    worst = max(error.steps for error in layers) or 1
    rows = [
        _row(
            (
                str(error.position),
                escape(error.operator),
                escape(error.layers),
                f"{error.steps:.2f}",
                f"{error.rmse:.3g}",
                f'<i style="width:{error.steps / worst:.1%}"></i>',
            ),
            (0, 3, 4),
        ).replace("<td><i", '<td class="bar"><i')
        for error in layers
    ]
    head = ("#", "operator", "Keras layers", "error, steps", "error", "")
    return (
        "<h2>What each layer loses in int8, worst first</h2><p>Root mean square difference between integer and float "
        "arithmetic on the same inputs, in quantization steps of the layer's output and in its own unit. Rounding "
        f"alone gives {ROUNDING:.2f} steps; a layer far above it is where to look when int8 loses accuracy.</p>"
        + _table(head, rows, (0, 3, 4))
    )


def _table(head: Sequence[str], rows: Iterable[str], numbers: Iterable[int]) -> str:
    wanted = set(numbers)
    cells = "".join(f'<th class="number">{h}</th>' if i in wanted else f"<th>{h}</th>" for i, h in enumerate(head))
    return f'<div class="scroll"><table><tr>{cells}</tr>{"".join(rows)}</table></div>'


def _row(cells: Sequence[str], numbers: Iterable[int], kind: str = "") -> str:
    wanted = set(numbers)
    inner = "".join(f'<td class="number">{c}</td>' if i in wanted else f"<td>{c}</td>" for i, c in enumerate(cells))
    return f'<tr class="{kind}">{inner}</tr>' if kind else f"<tr>{inner}</tr>"


def _list(items: Iterable[str]) -> str:
    inner = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<ul>{inner}</ul>" if inner else ""
