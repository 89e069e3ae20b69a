"""Pictures as SVG, drawn here: shapes with classes, whose colours the style sheet has for light and dark. Whatever
people named is escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Final

from fanion.console.questions import Draw
from fanion.model.printable import printable
from fanion.results.report import MetricResult, Result
from fanion.results.usage import Count

WIDTH: Final = 720
HEIGHT: Final = 200
TOP, BOTTOM, SIDE = 22, 34, 8
ROWS_MAX: Final = 20
COLOURS: Final = 5
"""Of variants; further ones aren't drawn."""


def escape(text: str) -> str:
    return html.escape(printable(text))


def latency_bars(counts: Sequence[int], bounds_us: Sequence[int], promise_us: int) -> str:
    """A bar for each bucket, and a line where the promise is: at the end of the bucket with that bound."""
    total = sum(counts)
    step = (WIDTH - 2 * SIDE) / max(len(counts), 1)
    most = max([*counts, 1])
    floor = HEIGHT - BOTTOM
    parts = []
    for number, count in enumerate(counts):
        beyond = number >= len(bounds_us) or bounds_us[number] > promise_us
        height = (floor - TOP) * count / most
        if count:
            height = max(height, 2.0)  # one of a million is to be seen
        x = SIDE + number * step
        kind = "bar bad" if beyond else "bar"
        label = _bound(bounds_us[number]) if number < len(bounds_us) else "more"
        share = f"{100 * count / total:.2f} %" if total else "0"
        parts.append(
            f'<rect class="{kind}" x="{x + 3:.1f}" y="{floor - height:.1f}" width="{step - 6:.1f}" '
            f'height="{height:.1f}" rx="2"><title>{label}: {count:,} ({share})</title></rect>'
            f'<text class="tick" x="{x + step / 2:.1f}" y="{HEIGHT - 16}">{label}</text>'
        )
        if count:
            parts.append(
                f'<text class="over" x="{x + step / 2:.1f}" y="{floor - height - 5:.1f}">{_short(count)}</text>'
            )
        if number < len(bounds_us) and bounds_us[number] == promise_us:
            line = x + step
            parts.append(
                f'<line class="promise" x1="{line:.1f}" x2="{line:.1f}" y1="{TOP - 14}" y2="{floor}"/>'
                f'<text class="promise" x="{line + 5:.1f}" y="{TOP - 6}">{_bound(promise_us)}: the promise</text>'
            )
    parts.append(f'<line class="axis" x1="{SIDE}" x2="{WIDTH - SIDE}" y1="{floor}" y2="{floor}"/>')
    words = f"{total:,} requests with events, by how long they took to be durable"
    return _svg(WIDTH, HEIGHT, words, "".join(parts))


def _svg(width: int, height: int, words: str, body: str) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(words)}">'
        f"{body}</svg>"
    )


def _bound(microseconds: float) -> str:
    if microseconds >= 1_000_000:
        return f"{microseconds / 1_000_000:g} s"
    return f"{microseconds / 1000:g} ms"


def _short(count: float) -> str:
    if count < 10_000:
        return f"{count:,.0f}"
    return f"{count / 1000:,.0f} k" if count < 1_000_000 else f"{count / 1e6:,.1f} M"


def draw_bar(draw: Draw) -> str:
    """All buckets from the first to the last, in parts, and where the unit fell."""
    width, height = WIDTH, 74
    inner = width - 2 * SIDE
    parts = []
    for number, (low, high, label, hit) in enumerate(draw.parts):
        x, size = SIDE + low * inner, max((high - low) * inner, 0.75)
        parts.append(
            f'<rect class="part p{number % 4}{" hit" if hit else ""}" x="{x:.1f}" y="26" '
            f'width="{size:.1f}" height="20">'
            f"<title>{escape(label)}: {100 * low:.2f} % to {100 * high:.2f} %</title></rect>"
        )
        if size > 40:
            most = max(3, int(size / 7.5))
            shown = label if len(label) <= most else f"{label[: most - 1]}…"
            parts.append(f'<text class="tick" x="{x + size / 2:.1f}" y="62">{escape(shown)}</text>')
    at = SIDE + draw.at * inner
    anchor = "start" if draw.at < 0.1 else "end" if draw.at > 0.9 else "middle"
    parts.append(
        f'<path class="mark" d="M{at:.1f} 48v-26m-4 -5l4 5l4 -5z"/>'
        f'<text class="here" x="{at:.1f}" y="12" text-anchor="{anchor}">{100 * draw.at:.2f} %</text>'
    )
    words = f"bucket {draw.bucket:,} of {draw.buckets:,}, at {100 * draw.at:.2f} per cent"
    return _svg(width, height, words, "".join(parts))


def intervals_plot(metric: MetricResult) -> str:
    """Each variant beside the control: the difference, its interval that is right however often it is looked
    at, and zero."""
    rows = metric.comparisons[:ROWS_MAX]
    ends = [end for one in rows for end in (one.always_valid.lower, one.always_valid.upper, one.difference)]
    reach = max((abs(end) for end in ends if math.isfinite(end)), default=0.0) * 1.1 or 1.0
    left, width = 170, WIDTH
    height = 34 * len(rows) + 40

    def x(value: float) -> float:
        inside = 0.0 if math.isnan(value) else min(max(value, -reach), reach)
        return left + (width - left - 24) * (inside + reach) / (2 * reach)

    parts = [f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="8" y2="{height - 26}"/>']
    for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
        parts.append(
            f'<text class="tick" x="{x(step * reach):.1f}" y="{height - 8}">{amount(metric, step * reach)}</text>'
        )
    for number, one in enumerate(rows):
        y = 24 + 34 * number
        kind = one.finding.replace(" ", "-")
        low, high = x(one.always_valid.lower), x(one.always_valid.upper)
        parts.append(
            f'<text class="name" x="0" y="{y + 4}">{escape(_cut(one.variant, 24))}</text>'
            f'<rect class="interval {kind}" x="{low:.1f}" y="{y - 7}" '
            f'width="{max(high - low, 1):.1f}" height="14" rx="7">'
            f"<title>{escape(one.words)}</title></rect>"
            f'<circle class="point {kind}" cx="{x(one.difference):.1f}" cy="{y}" r="5"/>'
        )
    words = "; ".join(f"{one.variant}: {one.words}" for one in rows)
    return _svg(width, height, f"differences of {metric.metric} to the control: {words}", "".join(parts))


def days_plot(result: Result, metric: MetricResult) -> str:
    """The cumulative difference at the end of each day, with its interval."""
    days = [one for one in result.days if one.metric == metric.metric]
    names = sorted({one.day for one in days})
    ends = sorted(abs(end) for one in days for end in (one.lower, one.upper) if math.isfinite(end))
    widest = ends[int(len(ends) * 0.9)] if len(ends) > 20 else ends[-1] if ends else 0.0
    met = [abs(one.difference) for one in days if math.isfinite(one.difference)]
    reach = max([widest, *met]) * 1.05 or 1.0
    left, height = 64, 190

    def x(day: str) -> float:
        return left + (WIDTH - left - 16) * names.index(day) / max(len(names) - 1, 1)

    def y(value: float) -> float:
        inside = 0.0 if math.isnan(value) else min(max(value, -reach), reach)
        return 14 + (height - 44) * (reach - inside) / (2 * reach)

    parts = []
    for step in (-1.0, 0.0, 1.0):
        at = y(step * reach)
        parts.append(
            f'<line class="{"zero" if not step else "grid"}" '
            f'x1="{left}" x2="{WIDTH - 16}" y1="{at:.1f}" y2="{at:.1f}"/>'
            f'<text class="side" x="{left - 6}" y="{at + 4:.1f}">{amount(metric, step * reach)}</text>'
        )
    for day in dict.fromkeys((names[0], names[len(names) // 2], names[-1])):
        parts.append(_tick(min(max(x(day), left + 30), WIDTH - 46), height - 10, day[:10]))
    variants = list(dict.fromkeys(one.variant for one in days))[:COLOURS]
    for number, variant in enumerate(variants):
        own = [one for one in days if one.variant == variant]
        upper = [f"{x(one.day):.1f},{y(one.upper):.1f}" for one in own]
        lower = [f"{x(one.day):.1f},{y(one.lower):.1f}" for one in reversed(own)]
        line = [f"{x(one.day):.1f},{y(one.difference):.1f}" for one in own]
        parts.append(
            f'<polygon class="band c{number}" points="{" ".join(upper + lower)}"/>'
            f'<polyline class="line c{number}" points="{" ".join(line)}"/>'
            f'<text class="key c{number}" x="{left + 8 + 150 * number}" y="12">{escape(_cut(variant, 20))}</text>'
        )
    words = f"{metric.metric}: the difference to the control at the end of each of {len(names)} days"
    return _svg(WIDTH, height, words, "".join(parts))


def usage_plot(counts: Sequence[Count]) -> str:
    """Bars by period, in parts by variant."""
    periods = sorted({one.period for one in counts})[-60:]
    totals: dict[str, int] = {}
    for one in counts:
        totals[one.variant or "–"] = totals.get(one.variant or "–", 0) + one.events
    variants = sorted(totals, key=lambda name: -totals[name])[:COLOURS]
    by = {period: dict.fromkeys(variants, 0) for period in periods}
    for one in counts:
        if one.period in by and (one.variant or "–") in variants:
            by[one.period][one.variant or "–"] += one.events
    most = max((sum(own.values()) for own in by.values()), default=0) or 1
    floor, step = HEIGHT - BOTTOM, (WIDTH - 2 * SIDE) / max(len(periods), 1)
    wide = min(step, 60.0)
    parts = []
    for number, period in enumerate(periods):
        x, at = SIDE + number * step + (step - wide) / 2, float(floor)
        for place, variant in enumerate(variants):
            height = (floor - TOP) * by[period][variant] / most
            at -= height
            parts.append(
                f'<rect class="use c{place}" x="{x + 1:.1f}" y="{at:.1f}" '
                f'width="{max(wide - 2, 1):.1f}" height="{height:.1f}">'
                f"<title>{escape(period[:10])}, {escape(variant)}: {by[period][variant]:,}</title></rect>"
            )
        if number in (0, len(periods) - 1):
            parts.append(_tick(min(max(x + wide / 2, 36), WIDTH - 36), HEIGHT - 16, period[:10]))
    for place, variant in enumerate(variants):
        parts.append(
            f'<text class="key c{place}" x="{SIDE + 120 * place}" y="12">{escape(_cut(variant, 16))}</text>'
        )
    parts.append(f'<line class="axis" x1="{SIDE}" x2="{WIDTH - SIDE}" y1="{floor}" y2="{floor}"/>')
    return _svg(WIDTH, HEIGHT, f"events by day and variant, {sum(totals.values()):,} in all", "".join(parts))


def _tick(x: float, y: float, label: str) -> str:
    return f'<text class="tick" x="{x:.1f}" y="{y:.1f}">{escape(label)}</text>'


def amount(metric: MetricResult, value: float) -> str:
    """A difference: points of a conversion, else a number."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "–" if math.isnan(value) else f"{'-' if value < 0 else '+'}∞"
    return f"{value * 100:+.2f}" if metric.type == "conversion" else f"{value:+.4g}"


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
