"""A history → one HTML page that needs nothing else: no script, no picture, no address."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import pairwise
from statistics import mean, median
from typing import Any

from .errors import DataError
from .history import History, Minute
from .overlay import colour_of
from .records import UNCERTAIN

_STEPS = (60, 300, 900, 3600, 3 * 3600, 86_400, 7 * 86_400)
"""Seconds that one column of a chart may stand for."""
_COLUMNS = 300
"""Most columns of a chart."""
_UNNOTICED = 10.0
"""Seconds of a minute without frames that are no gap: a start takes some."""
_WIDTH, _HEIGHT = 900, 160
"""Of a chart, in its own units."""


@dataclass(frozen=True)
class Gap:
    """Minutes in which frames were missing."""

    begin: float
    """Seconds since the epoch."""
    end: float
    missing: float
    """Seconds without frames in them."""


def find_gaps(minutes: Sequence[Minute]) -> list[Gap]:
    """Where nothing was watched between the first minute and the last one, both excluded unless they are alone."""
    gaps: list[Gap] = []
    for before, after in pairwise(minutes):
        absent = after.minute - before.minute - 60
        if absent > 0:
            gaps.append(Gap(before.minute + 60, after.minute, absent))
        missing = 60 - after.watched
        if missing > _UNNOTICED and after is not minutes[-1]:
            gaps.append(Gap(after.minute, after.minute + 60, missing))
    joined: list[Gap] = []
    for gap in gaps:
        if joined and joined[-1].end == gap.begin:
            last = joined.pop()
            gap = Gap(last.begin, gap.end, last.missing + gap.missing)
        joined.append(gap)
    return joined


def write_report(history: History, since: float, until: float, name: str = "Mien") -> str:
    """The page about [since, until), seconds since the epoch. Raises DataError if the history holds nothing of it."""
    minutes = history.minutes(since - since % 60, until)
    if not minutes:
        raise DataError(f"the history holds nothing between {_local(since)} and {_local(until)}: try another --since")
    begin, end = minutes[0].minute, minutes[-1].minute + 60
    step = next((each for each in _STEPS if (end - begin) / each <= _COLUMNS), _STEPS[-1])
    rows = history.timeline(begin, end, step)
    seconds: dict[str, float] = defaultdict(float)
    for minute in minutes:
        for emotion, value in minute.emotions.items():
            seconds[emotion] += value
    labels = sorted(seconds, key=lambda each: (each == UNCERTAIN, -seconds[each]))
    lasted: dict[str, list[float]] = defaultdict(list)
    stays: list[float] = []
    for _, event in history.events(since, until):
        if event.duration is not None and event.kind == "emotion_ended" and event.emotion is not None:
            lasted[event.emotion].append(event.duration)
        elif event.duration is not None and event.kind == "face_left":
            stays.append(event.duration)
    watched, frames = sum(minute.watched for minute in minutes), sum(minute.frames for minute in minutes)
    gaps = find_gaps(minutes)
    figures = {
        "watched": _duration(watched),
        "faces": f"{sum(minute.faces for minute in minutes):,}",
        "time in view": f"{_duration(mean(stays))} on average, {_duration(max(stays))} at most" if stays else "–",
        "frame rate": f"{frames / watched:.1f} a second" if watched else "–",
        "frames": f"{frames:,}",
        "gaps in service": f"{len(gaps)}, {_duration(sum(gap.missing for gap in gaps))} in all" if gaps else "none",
    }
    sections = [
        _section("At a glance", _table([], [[key, value] for key, value in figures.items()])),
        _section(
            "Emotions over time",
            _legend(labels),
            _stacked(rows, step, labels),
            f"<p>Each column is {_span(step)}; its height is the seconds of faces in view.</p>",
        ),
        _section("Share of each emotion", _shares(labels, seconds, lasted)),
        _section(
            "Faces that came, an hour",
            _bars(history.timeline(begin, end, max(3600, step)), max(3600, step), "faces", "faces"),
        ),
        _section("Frames a second", _bars(rows, step, "fps", "frames a second")),
        _section("Gaps in service", _gap_table(gaps)),
    ]
    title = f"{escape(name)}: {_local(begin)} to {_local(end)}"
    note = (
        "<p>An expression is not a feeling, and a reading may be wrong. This page was made of counts alone; "
        "no picture was kept.</p>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{_STYLE}{_palette(labels)}</style></head>\n"
        f"<body><main><h1>{title}</h1>{note}\n{''.join(sections)}</main></body></html>\n"
    )


_STYLE = """
:root{color-scheme:light dark;--line:#ccc;--soft:#666;--bar:#0072b2}
@media(prefers-color-scheme:dark){:root{--line:#444;--soft:#aaa;--bar:#56b4e9}}
body{font:16px/1.5 system-ui,sans-serif;margin:0}main{max-width:60rem;margin:auto;padding:1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{color:var(--soft)}
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem 1.2rem .2rem 0;border-bottom:1px solid var(--line)}
td+td,th+th{font-variant-numeric:tabular-nums}.wide{overflow-x:auto}svg{width:100%;min-width:30rem;height:auto}
svg text{fill:var(--soft);font:12px system-ui,sans-serif}.axis{stroke:var(--line)}.bar{fill:var(--bar)}
.key{display:inline-block;margin-right:1rem}.key svg{width:.9em;min-width:0;vertical-align:-.1em;margin-right:.3em}
"""


def _palette(labels: Sequence[str]) -> str:
    """A class for each label, by its place: labels may hold anything."""
    rules = []
    for place, label in enumerate(labels):
        blue, green, red = colour_of(label, labels)
        # White can't be seen on a light page.
        rules.append(f".e{place}{{fill:{'#7a7a7a' if label == UNCERTAIN else f'#{red:02x}{green:02x}{blue:02x}'}}}")
    return "".join(rules)


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{title}</h2>{''.join(parts)}</section>\n"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = f"<thead><tr>{''.join(f'<th scope=col>{each}</th>' for each in heads)}</tr></thead>" if heads else ""
    body = "".join(
        f"<tr><th scope=row>{escape(first)}</th>{''.join(f'<td>{each}</td>' for each in rest)}</tr>"
        for first, *rest in rows
    )
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def _legend(labels: Sequence[str]) -> str:
    square = '<svg viewBox="0 0 10 10" aria-hidden="true"><rect width="10" height="10" class="e{}"/></svg>'
    return "".join(
        f'<span class="key">{square.format(place)}{escape(label)}</span>' for place, label in enumerate(labels)
    )


def _shares(labels: Sequence[str], seconds: dict[str, float], lasted: dict[str, list[float]]) -> str:
    total = sum(seconds.values()) or 1.0
    rows = []
    for place, label in enumerate(labels):
        share = seconds[label] / total
        bar = (
            f'<svg viewBox="0 0 200 12" style="width:12rem;min-width:0" aria-hidden="true">'
            f'<rect width="{200 * share:.1f}" height="12" class="e{place}"/></svg>'
        )
        times = lasted.get(label, [])
        typical = f"{_duration(median(times))}" if times else "–"
        longest = f"{_duration(max(times))}" if times else "–"
        rows.append([label, f"{share:.1%}", bar, _duration(seconds[label]), f"{len(times):,}", typical, longest])
    return _table(["emotion", "share", "", "time", "times", "median duration", "longest"], rows)


def _gap_table(gaps: Sequence[Gap], most: int = 50) -> str:
    if not gaps:
        return "<p>There were none.</p>"
    longest = sorted(sorted(gaps, key=lambda gap: -gap.missing)[:most], key=lambda gap: gap.begin)
    rows = [[_local(gap.begin), _local(gap.end), _duration(gap.missing)] for gap in longest]
    rest = f"<p>These are the longest of {len(gaps)}.</p>" if len(gaps) > most else ""
    return _table(["from", "to", "without frames"], rows) + rest


def _stacked(rows: Sequence[dict[str, Any]], step: int, labels: Sequence[str]) -> str:
    highest = max((sum(row["emotions"].values()) for row in rows), default=0.0) or 1.0
    width = _WIDTH / len(rows)
    shapes = []
    for place, row in enumerate(rows):
        y = float(_HEIGHT)
        told = ", ".join(f"{label} {_duration(row['emotions'][label])}" for label in labels if label in row["emotions"])
        parts = []
        for index, label in enumerate(labels):
            height = _HEIGHT * row["emotions"].get(label, 0.0) / highest
            if height > 0:
                y -= height
                parts.append(_rectangle(place * width, y, width, height, f"e{index}"))
        if parts:
            shapes.append(f"<g><title>{_local(row['time'])}: {escape(told)}</title>{''.join(parts)}</g>")
    return _chart(shapes, rows, step, f"{_duration(highest)} in {_span(step)}", "Seconds of each emotion over time")


def _bars(rows: Sequence[dict[str, Any]], step: int, key: str, unit: str) -> str:
    highest = max((row[key] or 0.0 for row in rows), default=0.0) or 1.0
    width = _WIDTH / len(rows)
    shapes = []
    for place, row in enumerate(rows):
        if value := row[key]:
            height = _HEIGHT * value / highest
            bar = _rectangle(place * width, _HEIGHT - height, width * 0.92, height, "bar")
            shapes.append(f"<g><title>{_local(row['time'])}: {value:.4g} {unit}</title>{bar}</g>")
    return _chart(shapes, rows, step, f"{highest:.4g} {unit}, in {_span(step)}", f"{unit} over time")


def _rectangle(x: float, y: float, width: float, height: float, look: str) -> str:
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{width:.2f}" height="{height:.2f}" class="{look}"/>'


def _chart(shapes: Sequence[str], rows: Sequence[dict[str, Any]], step: int, top: str, label: str) -> str:
    marks = []
    every = max(1, math.ceil(len(rows) / 6))
    form = "%d %b" if step >= 86_400 else "%H:%M" if rows[-1]["time"] - rows[0]["time"] < 86_400 else "%d %b %H:%M"
    for place in range(0, len(rows), every):
        x = place * _WIDTH / len(rows)
        time = datetime.fromtimestamp(rows[place]["time"]).strftime(form)
        marks.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{_HEIGHT}"/>')
        marks.append(f'<text x="{x + 3:.1f}" y="{_HEIGHT + 14}">{time}</text>')
    return (
        f'<div class="wide"><svg viewBox="0 -16 {_WIDTH} {_HEIGHT + 34}" role="img" aria-label="{label}">'
        f'<text x="3" y="-4">{top}</text>{"".join(marks)}{"".join(shapes)}'
        f'<line class="axis" x1="0" x2="{_WIDTH}" y1="{_HEIGHT}" y2="{_HEIGHT}"/></svg></div>'
    )


def _local(time: float) -> str:
    return datetime.fromtimestamp(time).strftime("%Y-%m-%d %H:%M")


def _duration(seconds: float) -> str:
    """Such as 2.5 s, 3 min 20 s, 5 h 10 min, 2 d 3 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    for size, name, small, other in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            whole, rest = divmod(round(seconds / small) * small, size)
            return f"{whole:.0f} {name} {rest / small:.0f} {other}" if rest else f"{whole:.0f} {name}"
    raise AssertionError


def _span(step: int) -> str:
    return {60: "a minute", 3600: "an hour", 86_400: "a day", 7 * 86_400: "a week"}.get(step, _duration(step))
