"""A result as a picture: the cumulative difference of each goal metric with its always-valid interval, as SVG.

Written by hand, since it is a few lines, bands and numbers: no library, no fonts, nothing that is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Final

from fanion.results.report import DayResult, MetricResult, Result

WIDTH: Final = 760
HEIGHT: Final = 230
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 34, 30
COLOURS: Final = ("#2563eb", "#d97706", "#059669", "#db2777", "#7c3aed")
"""Of variants, again from the first where there are more."""
STYLE: Final = (
    "text{font:12px sans-serif;fill:#444}.t{font-weight:600;fill:#111}"
    ".g{stroke:#ddd}.z{stroke:#888;stroke-dasharray:4 3}"
)


def svg(results: Sequence[Result]) -> str:
    """A panel for each goal metric of each result that has days."""
    panels = [
        _panel(result, metric, days)
        for result in results
        for metric in result.metrics
        if metric.role == "goal" and (days := [day for day in result.days if day.metric == metric.metric])
    ]
    height = HEIGHT * max(len(panels), 1)
    body = "".join(
        f'<g transform="translate(0,{HEIGHT * number})">{panel}</g>' for number, panel in enumerate(panels)
    )
    if not panels:
        body = f'<text x="{LEFT}" y="{TOP}">nothing to compare yet</text>'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}"><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>{body}</svg>\n'
    )


class _Scale:
    """From days and differences to places."""

    def __init__(self, days: Sequence[DayResult]) -> None:
        self.names = sorted({day.day for day in days})
        # An interval of the first days is so wide that nothing would be seen of the others.
        ends = sorted(abs(end) for day in days for end in (day.lower, day.upper) if math.isfinite(end))
        widest = ends[int(len(ends) * 0.9)] if len(ends) > 20 else ends[-1]
        self.reach = max(widest, *(abs(day.difference) for day in days)) * 1.05 or 1.0

    def x(self, name: str) -> float:
        steps = max(len(self.names) - 1, 1)
        return LEFT + (WIDTH - LEFT - RIGHT) * self.names.index(name) / steps

    def y(self, value: float) -> float:
        inside = min(max(value, -self.reach), self.reach)
        return TOP + (HEIGHT - TOP - BOTTOM) * (self.reach - inside) / (2 * self.reach)


def _panel(result: Result, metric: MetricResult, days: Sequence[DayResult]) -> str:
    scale = _Scale(days)
    points = metric.type == "conversion"
    parts = [f'<text class="t" x="{LEFT}" y="18">{escape(f"{result.experiment}: {metric.metric}")}</text>']
    unit = "points" if points else "difference"
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="18" text-anchor="end">{unit}, cumulative, always valid</text>'
    )
    for step in (-1.0, -0.5, 0.0, 0.5, 1.0):
        value = scale.reach * step
        shown = f"{value * 100:+.1f}" if points else f"{value:+.3g}"
        y = scale.y(value)
        name = "z" if step == 0 else "g"
        parts.append(f'<line class="{name}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{shown if step else "0"}</text>'
        )
    for name in dict.fromkeys((scale.names[0], scale.names[len(scale.names) // 2], scale.names[-1])):
        anchor = {scale.names[0]: "start", scale.names[-1]: "end"}.get(name, "middle")
        parts.append(
            f'<text x="{scale.x(name):.1f}" y="{HEIGHT - 10}" text-anchor="{anchor}">{escape(name)}</text>'
        )
    variants = list(dict.fromkeys(day.variant for day in days))
    for number, variant in enumerate(variants):
        colour = COLOURS[number % len(COLOURS)]
        own = [day for day in days if day.variant == variant]
        upper = [f"{scale.x(day.day):.1f},{scale.y(day.upper):.1f}" for day in own]
        lower = [f"{scale.x(day.day):.1f},{scale.y(day.lower):.1f}" for day in reversed(own)]
        line = [f"{scale.x(day.day):.1f},{scale.y(day.difference):.1f}" for day in own]
        parts.append(f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" fill-opacity=".15"/>')
        parts.append(f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = LEFT + 8 + 150 * (number % 4)
        parts.append(f'<text x="{x}" y="{TOP + 14}" style="fill:{colour}">{escape(variant)}</text>')
    return "".join(parts)
