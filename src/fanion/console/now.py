"""The page *Now*: what the server does at this moment, from the memory that its workers count in.

All browsers that look at it are shown one rendering of a moment, so that ten of them cost what one does.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from fanion.config import Config
from fanion.console.exchange import Asked, RefusedError
from fanion.console.history import (
    INTERVAL_S,
    RATE_SAMPLES,
    SAMPLES,
    History,
    Moment,
    quantile,
    rate,
)
from fanion.console.plots import latency_bars
from fanion.console.site import Page
from fanion.telemetry.journal import LATENCY_BOUNDS_US

PROMISE_US: Final = 50_000
LOOK_S: Final = 20.0
"""How often the disk is asked."""
REFUSALS_MAX: Final = 12
LINES_MAX: Final = 6
"""APIs with a line of their own."""
WHY: Final = {
    "400": "not understood",
    "401": "no key, or an unknown one",
    "403": "a key that doesn't open this",
    "404": "an unknown path or flag",
    "405": "another method",
    "406": "another form of answer wanted",
    "408": "the body came too slowly",
    "409": "against what is there",
    "411": "a body without its length",
    "413": "too large",
    "415": "another type of body",
    "422": "rules aren't kept",
    "429": "too many",
    "431": "a head that is too large",
    "499": "the caller left",
    "500": "a fault",
    "502": "no room for events",
    "503": "overloaded, or not ready",
}


class Standing(Protocol):
    """What /readyz has (`fanion.process.operations.Readiness`)."""

    @property
    def ready(self) -> bool: ...
    @property
    def reasons(self) -> Sequence[str]: ...
    @property
    def notes(self) -> Sequence[str]: ...
    @property
    def workers(self) -> Sequence[Any]: ...


class Api(NamedTuple):
    """One line of the table. Rates a second."""

    name: str
    asked: float
    events: float
    refused: float
    total: float


class Refusal(NamedTuple):
    api: str
    endpoint: str
    status: str
    why: str
    lately: float
    total: float


class Disk(NamedTuple):
    """`needed`: below so much free, no events are taken."""

    free: int
    total: int
    journal: int
    needed: int


class Now:
    """`readiness`: of the operations process."""

    def __init__(
        self, history: History, readiness: Callable[[], Standing], directory: Path, config: Config
    ) -> None:
        self._history = history
        self._readiness = readiness
        self._directory = directory
        self._needed = config.journal.reserve_bytes + 2 * config.journal.segment_bytes
        self._ack = config.journal.ack
        self._disk: Disk | None = None
        self._looked_at = -LOOK_S
        self._made: tuple[float, dict[str, Any]] = (0.0, {})

    async def follow(self) -> None:
        """Takes a moment every `INTERVAL_S`, for ever; one that can't be read is left out."""
        while True:
            try:
                self._history.take()
            except (OSError, ValueError):
                self._history.moments.clear()
            if time.monotonic() - self._looked_at >= LOOK_S:
                self._looked_at = time.monotonic()
                self._disk = await asyncio.to_thread(self._look)
            await asyncio.sleep(INTERVAL_S)

    async def page(self, asked: Asked, rest: str) -> Page:
        """All of it, or what changes."""
        if rest not in ("", "live"):
            raise RefusedError(404, "There is no such page.")
        return Page("now_live.html" if rest else "now.html", {"title": "Now", **self._values()})

    def _values(self) -> dict[str, Any]:
        moments = self._history.moments
        at = moments[-1].at if moments else 0.0
        if not moments or self._made[0] != at:
            self._made = at, self._figures()
        standing = self._readiness()
        return {**self._made[1], "standing": standing}

    def _figures(self) -> dict[str, Any]:
        lately = self._history.since(SAMPLES)
        recent = self._history.since(RATE_SAMPLES)
        last = self._history.moments[-1] if self._history.moments else None
        durable = _between(lately, lambda one: one.durable)
        synced = _between(lately, lambda one: one.synced)
        ever = last is not None and not sum(durable) and sum(last.durable) > 0
        if ever and last is not None:
            durable, synced = last.durable, last.synced
        counts = durable or (0,) * (len(LATENCY_BOUNDS_US) + 1)
        return {
            "last": last,
            "minutes": 0 if lately is None else (lately[1].monotonic_s - lately[0].monotonic_s) / 60,
            "ever": ever,
            "apis": [] if last is None else _apis(recent, last),
            "asked": _rate(recent, _asked),
            "events": _rate(recent, _events),
            "records": _rate(recent, lambda one: one.records),
            "bytes": _rate(recent, lambda one: one.bytes),
            "quantiles": [
                (words, *(quantile(found, LATENCY_BOUNDS_US, share) for found in (counts, synced)))
                for words, share in (("half", 0.5), ("99 of 100", 0.99), ("999 of 1,000", 0.999))
            ],
            "within": _within(counts),
            "bars": latency_bars(counts, LATENCY_BOUNDS_US, PROMISE_US),
            "measured": sum(counts),
            "ring": _ring(last),
            "refusals": [] if last is None else _refusals(lately, last),
            "disk": self._disk,
            "lines": json.dumps(_lines(self._history)),
            "ack": self._ack,
        }

    def _look(self) -> Disk | None:
        try:
            found = shutil.disk_usage(self._directory)
            journal = self._directory / "journal"
            taken = sum(path.stat().st_blocks * 512 for path in journal.iterdir()) if journal.is_dir() else 0
        except OSError:  # a segment went meanwhile
            return self._disk
        return Disk(found.free, found.total, taken, self._needed)


def _is_event(endpoint: str) -> bool:
    return "event" in endpoint or "telemetry" in endpoint


def _asked(one: Moment) -> float:
    return sum(count for (_, endpoint, _), count in one.answers.items() if not _is_event(endpoint))


def _events(one: Moment) -> float:
    return sum(count for (_, endpoint, _), count in one.answers.items() if _is_event(endpoint))


def _rate(pair: tuple[Moment, Moment] | None, count: Callable[[Moment], float]) -> float:
    return 0.0 if pair is None else rate(*pair, count)


def _between(
    pair: tuple[Moment, Moment] | None, counts: Callable[[Moment], tuple[int, ...]]
) -> tuple[int, ...]:
    if pair is None:
        return ()
    before, after = counts(pair[0]), counts(pair[1])
    if len(before) != len(after):
        return after
    return tuple(max(0, now - then) for then, now in zip(before, after, strict=True))


def _within(counts: Sequence[int]) -> float | None:
    """The share that kept the promise."""
    total = sum(counts)
    kept = sum(count for count, bound in zip(counts, LATENCY_BOUNDS_US, strict=False) if bound <= PROMISE_US)
    return kept / total if total else None


def _ring(last: Moment | None) -> float:
    return 0.0 if last is None or not last.ring_capacity else last.ring_used / last.ring_capacity


def _apis(pair: tuple[Moment, Moment] | None, last: Moment) -> list[Api]:
    names = sorted({dialect for dialect, _, _ in last.answers})

    def of(name: str, events: bool | None, bad: bool | None) -> Callable[[Moment], float]:
        def counted(one: Moment) -> float:
            return sum(
                count
                for (dialect, endpoint, status), count in one.answers.items()
                if dialect == name
                if events is None or _is_event(endpoint) is events
                if bad is None or (status >= "400") is bad
            )

        return counted

    found = [
        Api(
            name,
            _rate(pair, of(name, False, None)),
            _rate(pair, of(name, True, None)),
            _rate(pair, of(name, None, True)),
            of(name, None, None)(last),
        )
        for name in names
    ]
    return sorted(found, key=lambda api: (-api.asked - api.events, -api.total, api.name))


def _refusals(pair: tuple[Moment, Moment] | None, last: Moment) -> list[Refusal]:
    before = pair[0].answers if pair else {}
    found = [
        Refusal(*name, WHY.get(name[2], ""), count - before.get(name, 0.0), count)
        for name, count in last.answers.items()
        if name[2] >= "400"
    ]
    return sorted(found, key=lambda one: (-one.lately, -one.total, one.api, one.status))[:REFUSALS_MAX]


def _lines(history: History) -> dict[str, Any]:
    """Requests a second of each API over time, for a script to draw."""
    steps = list(history.steps())
    totals: dict[str, float] = {}
    if steps:
        for (dialect, _, _), count in steps[-1][1].answers.items():
            totals[dialect] = totals.get(dialect, 0.0) + count
    names = sorted(totals, key=lambda name: -totals[name])[:LINES_MAX]

    def of(name: str) -> Callable[[Moment], float]:
        return lambda one: sum(count for key, count in one.answers.items() if key[0] == name)

    return {
        "at": [round(after.at, 1) for _, after in steps],
        "series": [
            {"name": name, "values": [round(rate(*pair, of(name)), 2) for pair in steps]}
            for name in sorted(names)
        ],
    }
