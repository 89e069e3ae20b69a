"""A session's plots, and the page that shows them with its tables. Needs matplotlib and markdown-it-py."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.report.session import Figure

INK, PALE, OURS, LINE = "#1f2933", "#9aa5b1", "#0b6e4f", "#b91c1c"
STYLE: Final = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1f2933}"
    "table{border-collapse:collapse;width:100%;margin:1rem 0}td,th{padding:.25rem .6rem;text-align:left;"
    "border-bottom:1px solid #e4e7eb}img{max-width:100%}code{background:#f5f7fa}"
)
NAMES: Final = {
    "fanion": "Fanion",
    "nothing": "the do-nothing app",
    "fanion asgi": "Fanion, ASGI",
    "fanion rsgi": "Fanion, RSGI",
    "nothing asgi": "the do-nothing app, ASGI",
    "nothing rsgi": "the do-nothing app, RSGI",
    "node": "Node, flagd's evaluator",
    "growthbook": "Node, GrowthBook's SDK",
}
PANELS: Final = (
    (("curves", "*", "*"), "", 2, "a request", "us a request"),
    (("lists", "*", "membership"), "members of a list segment", 1, "a look-up", "us a look-up"),
    (("workers", "*", "*", "cpu"), "workers", 1, "", "us a request, HTTP"),
    (("keys", "*", "made"), "API keys", 1, "made", "ms until durable"),
    (("keys", "*", "revoked"), "API keys", 1, "revoked", "ms until durable"),
)
"""What is plotted against sizes: the figures' names by parts, the panel (else the second part), which part is the
size, the line (else the third part), the unit."""


def write(folder: Path, figures: Mapping[str, Figure], markdown: str) -> list[Path]:
    """The page and its plots in `folder`; what there are no figures for is left out."""
    drawn = [(title, path) for title, path in _plots(folder, figures) if path is not None]
    images = "".join(
        f'<h2>{html.escape(title)}</h2><img src="{path.name}" alt="{html.escape(title)}">'
        for title, path in drawn
    )
    page = folder / "report.html"
    page.write_text(as_page("Fanion, measured", markdown, images))
    return [page, *(path for _, path in drawn)]


def as_page(title: str, markdown: str, images: str = "") -> str:
    """Markdown as a page of its own; `images`, which are HTML, before its first section."""
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    head, mark, rest = body.partition("<h2>")
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{STYLE}</style>{head}{images}{mark}{rest}</html>\n"
    )


def _plots(folder: Path, figures: Mapping[str, Figure]) -> list[tuple[str, Path | None]]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update({"svg.hashsalt": "fanion", "font.size": 9, "axes.spines.top": False,
                         "axes.spines.right": False, "axes.edgecolor": PALE, "text.color": INK})  # fmt: skip
    return [
        ("OFREP on one core: requests a second, processor time a request", _served(folder / "served.svg", figures)),
        ("One flag in process: processor time, by engine", _bars(folder / "engines.svg", _engines(figures), "us")),
        ("Requests a second on one core", _bars(folder / "throughput.svg", _rates(figures, "rate"), "requests/s")),
        ("Processor time a request on one core", _bars(folder / "cpu.svg", _rates(figures, "cpu"), "us")),
        ("From receipt to disk", _tails(folder / "durable.svg", figures, "durable", promise_ms=50)),
        ("Latency at steady rates, both at once", _tails(folder / "steady.svg", figures, "steady")),
        ("Cost against sizes", _curves(folder / "curves.svg", figures)),
    ]  # fmt: skip


def _engines(figures: Mapping[str, Figure]) -> dict[str, Figure]:
    found = {
        name.partition("/")[2]: figure
        for name, figure in figures.items()
        if name.startswith(("engines/", "python/fanion.Evaluator"))
    }
    return dict(sorted(found.items(), key=lambda one: one[1].median))


def _rates(figures: Mapping[str, Figure], last: str) -> dict[str, Figure]:
    begin = "interfaces/pinned/"
    return {
        name.removeprefix(begin).removesuffix(f"/{last}").replace("/", ": "): figure
        for name, figure in figures.items()
        if name.startswith(begin) and name.endswith(f"/{last}")
    }


def _draw(path: Path, height: float, fill: Callable[[Any], None]) -> Path:
    import matplotlib.pyplot as plt

    drawing, axes = plt.subplots(figsize=(8, height), layout="constrained")
    fill(axes)
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)
    return path


def _bars(path: Path, rows: Mapping[str, Figure], unit: str) -> Path | None:
    if not rows:
        return None

    ours = [name.rpartition(": ")[2].startswith("fanion") for name in rows]
    return _draw(path, 0.6 + 0.24 * len(rows), lambda axes: _fill_bars(axes, rows, unit, ours))


def _fill_bars(axes: Any, rows: Mapping[str, Figure], unit: str, ours: Sequence[bool]) -> None:
    """A bar for each, as long as its median, with a line from the least to the most."""
    medians = [figure.median for figure in rows.values()]
    spread = [
        [figure.median - min(figure.values) for figure in rows.values()],
        [max(figure.values) - figure.median for figure in rows.values()],
    ]
    colours = [OURS if one else PALE for one in ours]
    axes.barh(list(rows), medians, color=colours, xerr=spread, ecolor=INK, error_kw={"lw": 0.8})
    if not axes.yaxis_inverted():
        axes.invert_yaxis()
    axes.set_xlabel(unit)
    if max(medians) > 30 * max(min(medians), 1e-9):
        axes.set_xscale("log")
        axes.set_xlim(left=min(medians) / 4)


def _tails(path: Path, figures: Mapping[str, Figure], begin: str, *, promise_ms: float = 0) -> Path | None:
    """Latency against how many of the requests took no longer, a line a case; what is no time is left out."""
    lines: dict[str, dict[str, float]] = {}
    for name, figure in figures.items():
        if name.startswith(f"{begin}/") and figure.unit == "ms":
            case, _, quantile = name.removeprefix(f"{begin}/").rpartition("/")
            lines.setdefault(case, {})[quantile] = figure.median
    if not lines:
        return None

    def fill(axes: Any) -> None:
        for case, found in lines.items():
            label = case.replace("MB a s", "MB/s").replace("/80%", " at 80%").replace("/50%", " at 50%")
            label = f"{label} of the highest rate" if label.endswith("%") else label
            axes.plot(list(found), list(found.values()), marker="o", ms=3, label=label)
        if promise_ms:
            axes.axhline(promise_ms, color=LINE, lw=0.8, ls="--", label=f"the promise: {promise_ms:g} ms")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
        axes.set_ylabel("ms")
        axes.legend(frameon=False)

    return _draw(path, 3.2, fill)


def _served(path: Path, figures: Mapping[str, Figure]) -> Path | None:
    """Two bars beside each other for each server: what it answers a second, and what a request takes of a core."""
    found = {last: _rates(figures, last) for last in ("rate", "cpu")}
    shown = {
        name: f"{case}, {NAMES.get(server, server)}"
        for name in found["rate"]
        for case, _, server in [name.partition(": ")]
        if case in ("one flag", "all of 50")
    }
    if not shown:
        return None
    import matplotlib.pyplot as plt

    drawing, both = plt.subplots(
        1, 2, figsize=(8, 0.7 + 0.22 * len(shown)), layout="constrained", sharey=True
    )
    units = {"rate": "requests a second", "cpu": "us of processor time a request"}
    for axes, (last, unit) in zip(both, units.items(), strict=True):
        rows = {label: found[last][name] for name, label in shown.items()}
        _fill_bars(axes, rows, unit, ["fanion" in name for name in shown])
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)
    return path


def _curves(path: Path, figures: Mapping[str, Figure]) -> Path | None:
    """A panel for each thing that may grow."""
    panels: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for name, figure in figures.items():
        parts = name.split("/")
        for kind, panel, size, what, unit in PANELS:
            if len(parts) == len(kind) and all(
                want in ("*", part) for want, part in zip(kind, parts, strict=True)
            ):
                title = panel or parts[1]
                lines = panels.setdefault((title, unit), {})
                lines.setdefault(what or parts[2], {})[int(parts[size])] = figure.median
    if not panels:
        return None
    import matplotlib.pyplot as plt

    rows = -(-len(panels) // 3)
    drawing, grid = plt.subplots(rows, 3, figsize=(9, 2.1 * rows), layout="constrained", squeeze=False)
    for axes, (title, unit) in zip(grid.flat, panels, strict=False):
        lines = panels[title, unit]
        for label, line in lines.items():
            axes.plot(list(line), list(line.values()), marker="o", ms=3, label=NAMES.get(label, label))
        sizes = sorted({size for line in lines.values() for size in line})
        axes.set_xscale("log")
        axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
        axes.minorticks_off()
        axes.set_ylim(0, 1.2 * max(one for line in lines.values() for one in line.values()))
        axes.set_title(title, fontsize=9)
        axes.set_ylabel(unit)
        if len(lines) > 1:
            axes.legend(frameon=False)
    for axes in list(grid.flat)[len(panels) :]:
        axes.set_visible(False)
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)
    return path
