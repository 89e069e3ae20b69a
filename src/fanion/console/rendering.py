"""Templates and static files. What people named is escaped wherever it stands in a page, and turns nothing around
(`model.printable`); in fields of forms, marked `typed`, it stands as it was typed."""

from __future__ import annotations

import gzip
import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from fanion.console.links import event_query, experiment_query, flag_query, page_query, usage_query
from fanion.console.plots import amount
from fanion.model.printable import printable

HERE: Final = Path(__file__).parent
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
YEARS: Final = (-62_135_596_800, 253_402_300_800)
"""Unix seconds that a calendar has."""


class Static(NamedTuple):
    """`address`: with a digest in it, so that it may be kept for ever."""

    address: str
    type: str
    body: bytes
    packed: bytes


def read_static(prefix: str) -> dict[str, Static]:
    """By their names."""
    found = {}
    for path in sorted((HERE / "static").iterdir()):
        kind = TYPES.get(path.suffix)
        if kind is not None:
            body = path.read_bytes()
            digest = hashlib.sha256(body).hexdigest()[:12]
            address = f"{prefix}/static/{digest}/{path.name}"
            found[path.name] = Static(address, kind, body, gzip.compress(body, 9, mtime=0))
    return found


class Templates:
    """Jinja2, imported here."""

    def __init__(self, prefix: str, static: Mapping[str, Static]) -> None:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=shown,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters.update(
            count=count,
            rate=a_second,
            size=size,
            percent=percent,
            moment=moment,
            ago=ago,
            milli=milli,
            hour=hour,
            typed=typed,
        )
        self._environment.globals.update(
            prefix=prefix,
            flag_query=flag_query,
            usage_query=usage_query,
            experiment_query=experiment_query,
            event_query=event_query,
            page_query=page_query,
            amount=amount,
            static={name: file.address for name, file in static.items()},
        )

    def render(self, name: str, **values: Any) -> str:
        return self._environment.get_template(name).render(**values)


def shown(value: Any) -> Any:
    """What stands in a page of a value; what is markup already stays."""
    return printable(value) if type(value) is str else value


def typed(value: str) -> Any:
    """A text for a field whose form is sent again, to the letter."""
    from markupsafe import escape

    return escape(value)


def count(value: float) -> str:
    return f"{value:,.0f}"


def a_second(value: float) -> str:
    """A rate, with as many digits as say something."""
    if value == 0:
        return "0"
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def size(value: float) -> str:
    """Bytes in the unit that fits."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(value) < 1024:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:,.1f} TiB"


def percent(share: float) -> str:
    """Of a share: two digits behind the point where they say something."""
    shown = f"{100 * share:.2f}".rstrip("0").rstrip(".")
    return f"{shown} %"


def milli(microseconds: float | None) -> str:
    """A latency's bound in milliseconds, as it is known of a bucket."""
    if microseconds is None:
        return "–"
    if math.isinf(microseconds):
        return "> 5 s"
    return f"≤ {microseconds / 1000:g} ms"


def moment(at: float | None) -> str:
    """Unix seconds in UTC, as far as a calendar goes."""
    if at is None or not YEARS[0] <= at < YEARS[1]:
        return "–"
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S")


def hour(at: float) -> str:
    """To the hour."""
    return f"{moment(at)[:13]}h"


def ago(seconds: float) -> str:
    """How long, in words."""
    for unit, length in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}s"
    return f"{max(seconds, 0):.0f} seconds"
