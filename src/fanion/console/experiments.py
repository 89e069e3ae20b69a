"""The pages of experiments: the list, and a result, computed in a process of its own and kept for a moment."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

import msgspec

from fanion.console.exchange import Asked, RefusedError, number, text
from fanion.console.pages import NAME_CHARS_MAX, asked_of
from fanion.console.plots import days_plot, intervals_plot, usage_plot
from fanion.console.questions import ExperimentRow, Experiments
from fanion.console.reader import Reader
from fanion.console.site import Page
from fanion.errors import RowsError
from fanion.results.report import MetricResult, Result
from fanion.results.usage import Count

SEGMENTS_MAX: Final = 20
PLOTS_MAX: Final = 8
DAYS: Final = 30
SUSPICIOUS: Final = 0.001
"""Below such a p the shares of units are no chance."""


LACKING: Final = {
    "lower": -math.inf,
    "upper": math.inf,
    **dict.fromkeys(
        ("control_mean", "variant_mean", "difference", "p", "p_corrected", "fixed_p", "detectable"), math.nan
    ),
}
"""Members that are numbers, and what null stands for."""


class Questions(Protocol):
    """What answers them (`fanion.process.results.Results`). Raises RowsError."""

    @property
    def ask(self) -> Callable[..., Awaitable[bytes | None]]: ...
    @property
    def usage(self) -> Callable[..., Awaitable[bytes]]: ...


class _Results(msgspec.Struct):
    results: list[Result]


class _Usage(msgspec.Struct):
    usage: list[Count]


class ExperimentPages:
    """`missing`: why there are no results at all; "" where there may be."""

    def __init__(self, reader: Reader, results: Questions, missing: str) -> None:
        self._reader = reader
        self._results = results
        self._missing = missing

    async def experiments(self, asked: Asked, rest: str) -> Page:
        """The list, or one."""
        if rest == "one":
            return await self._one(asked)
        if rest == "result":
            return await self._result(asked)
        if rest:
            raise RefusedError(404, "There is no such page.")
        rows = await asked_of(self._reader, Experiments(), list[ExperimentRow])
        return Page("experiments.html", {"title": "Experiments", "rows": rows, "missing": self._missing})

    async def _one(self, asked: Asked) -> Page:
        """The page at once; its result is asked for by it, or by whoever follows its link."""
        environment, key = _named(asked)
        rows = await asked_of(self._reader, Experiments(), list[ExperimentRow])
        row = next((one for one in rows if (one.environment, one.key) == (environment, key)), None)
        if row is None:
            raise RefusedError(404, f"Environment {environment} has no experiment {key}.")
        by = text(asked.query, "by", NAME_CHARS_MAX)
        values = {"title": row.name or row.key, "row": row, "by": by, "missing": self._missing}
        return Page("experiment.html", values)

    async def _result(self, asked: Asked) -> Page:
        environment, key = _named(asked)
        by = text(asked.query, "by", NAME_CHARS_MAX)
        wrong, found = self._missing, b""
        if not wrong:
            try:
                said = await self._results.ask(
                    environment, key, attribute=by or None, complete=False, daily=not by
                )
                if said is None:
                    raise RefusedError(404, f"Environment {environment} has no experiment {key}.")
                found = said
            except RowsError as error:
                wrong = str(error)
        results = results_of(found) if found else []
        shown = [_shown(one) for one in results[:SEGMENTS_MAX]]
        values: dict[str, Any] = {
            "title": key,
            "environment": environment,
            "key": key,
            "by": by,
            "wrong": wrong,
            "results": shown,
            "more": max(0, len(results) - SEGMENTS_MAX),
            "suspicious": SUSPICIOUS,
        }
        return Page("result_part.html" if asked.fragment else "result.html", values)

    async def usage(self, asked: Asked, rest: str) -> Page:
        """How often a flag was asked for, by variant and day."""
        if rest:
            raise RefusedError(404, "There is no such page.")
        environment = text(asked.query, "environment", NAME_CHARS_MAX)
        flag = text(asked.query, "flag", NAME_CHARS_MAX)
        days = number(asked.query, "days", DAYS, 1, 366)
        wrong, counts = self._missing, list[Count]()
        if not wrong:
            try:
                said = await self._results.usage(environment, flag, by="day", days=days)
                counts = msgspec.json.decode(said, type=_Usage).usage
            except RowsError as error:
                wrong = str(error)
        values = {
            "title": flag,
            "environment": environment,
            "flag": flag,
            "wrong": wrong,
            "plot": usage_plot(counts) if counts else "",
            "counts": sorted(counts, key=lambda one: (one.period, -one.events), reverse=False)[-60:],
            "total": len(counts),
        }
        return Page("usage_part.html" if asked.fragment else "usage.html", values)


def results_of(answer: bytes) -> list[Result]:
    """JSON has no infinite numbers: those of an interval without end, and such as there are none of, are null."""
    return msgspec.convert(_numbered(msgspec.json.decode(answer)), type=_Results).results


def _numbered(found: Any) -> Any:
    if isinstance(found, list):
        return [_numbered(one) for one in found]
    if not isinstance(found, dict):
        return found
    return {
        name: LACKING[name] if value is None and name in LACKING else _numbered(value)
        for name, value in found.items()
    }


def _named(asked: Asked) -> tuple[str, str]:
    return text(asked.query, "environment", NAME_CHARS_MAX), text(asked.query, "key", NAME_CHARS_MAX)


def _shown(result: Result) -> dict[str, Any]:
    metrics = [one for one in result.metrics if one.comparisons]
    return {
        "result": result,
        "plots": {one.metric: intervals_plot(one) for one in metrics[:PLOTS_MAX]},
        "days": {
            one.metric: days_plot(result, one)
            for one in metrics[:PLOTS_MAX]
            if any(day.metric == one.metric for day in result.days)
        },
        "rows": [_metric(one) for one in result.metrics],
    }


def _metric(metric: MetricResult) -> dict[str, Any]:
    compared = {one.variant: one for one in metric.comparisons}
    return {"metric": metric, "sides": [(side, compared.get(side.variant)) for side in metric.variants]}
