"""What the rows say of experiments, as moments and counts: asked of `tables` (docs/results.md: What counts)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fanion.model.experiment import Plan
from fanion.results.cells import Cell, Counts, Known, Trust
from fanion.results.numbers import (
    CONTRARY,
    CORRECTED,
    FAR_US,
    NAME,
    TRACED,
    VERIFIED,
    Form,
    form_of,
    limits,
    moments_of,
    moments_query,
    read,
)
from fanion.results.statistics import Moments
from fanion.results.tables import Tables, end_of, listed, names_of


def pointer(member: str) -> str:
    """A member of an object as a JSON pointer between SQL's quotes. No path: DuckDB reads `$."a\\"` as no end, and
    takes no empty name."""
    return "/" + member.replace("~", "~0").replace("/", "~1").replace("'", "''")


class Rows:
    """Experiments of one environment over a connection with the view `rows` of its rows and no others. `lead_us`:
    how long before its exposure a unit's events count from. `attribute`: what the units are divided by; several: by
    their texts joined by `_`, and by nothing where one is missing. `newest_us`: the newest row was received then or
    later."""

    def __init__(
        self,
        connection: Any,
        plans: Sequence[Plan],
        lead_us: int,
        attribute: str | tuple[str, ...] | None = None,
        *,
        newest_us: int = 0,
    ) -> None:
        self._lead_us = lead_us
        self._attribute = attribute
        self._tables = Tables(connection, plans, lead_us, attributed=attribute is not None)
        self._plans = self._tables.plans
        newest = self._tables.one(
            f"SELECT epoch_us(max(received_at)) FROM rows WHERE received_at >= make_timestamptz({newest_us})"
        )
        self.as_of_us: int | None = newest[0]
        self._happened()
        self._known()
        self._counted()
        self._moments: dict[tuple[Form, bool, int | None], dict[int, list[dict[Cell, Moments]]]] = {}

    def _happened(self) -> None:
        """How many events of each name there were between the starts and ends of all plans."""
        self._bounds = sorted({time for plan in self._plans for time in (plan.start_us, end_of(plan) + 1)})
        part = " + ".join(f"(t >= {bound})::INTEGER" for bound in self._bounds)
        found = self._tables.all(
            f"""
            SELECT metric, {part} AS part, count(*)
            FROM (
                SELECT metric, epoch_us(event_at) AS t FROM rows
                WHERE kind = 'metric' AND counts AND metric IN ({listed(self._tables.names)})
            ) GROUP BY ALL
            """
        )
        self._happened_in = {(name, part): count for name, part, count in found}

    def _known(self) -> None:
        """What is known of the events, by everything that it is counted by."""
        spans = []
        for number, plan in enumerate(self._plans):
            windows = [metric.window_us for metric in plan.metrics]
            far = max((FAR_US if window is None else window for window in windows), default=0)
            last = end_of(plan) if None in windows else FAR_US
            spans.append((number, plan.start_us, end_of(plan), far, last))
        self._tables.table(
            "spans", "plan INTEGER, start_us BIGINT, end_us BIGINT, far BIGINT, last BIGINT", spans
        )
        self._events: dict[int, list[Known]] = {}
        for row in self._tables.all(
            f"""
            SELECT plan, what, t BETWEEN start_us AND end_us AS inside,
                after BETWEEN {-self._lead_us} AND far AND t <= last AS within,
                again, id IS NULL AS bare, number IS NULL AS numberless, count(*)
            FROM own JOIN spans USING (plan) GROUP BY ALL
            """
        ):
            self._events.setdefault(row[0], []).append(Known(*row))

    def _counted(self) -> None:
        """The units, by everything that they are counted by."""
        widest = max(len(plan.metrics) for plan in self._plans)
        ends = []
        for number, plan in enumerate(self._plans):
            windows = [metric.window_us for metric in plan.metrics]
            windows += [None] * (widest - len(windows))
            pairs = [(end_of(plan), None) if window is None else (None, window) for window in windows]
            ends.append((number, *(one for pair in pairs for one in pair)))
        columns = [f"at{n} BIGINT, window{n} BIGINT" for n in range(widest)]
        self._tables.table("ends", ", ".join(["plan INTEGER", *columns]), ends)
        opened = [
            f"count(*) FILTER (coalesce(at{n}, t0 + window{n}) > {self.as_of_us or 0})" for n in range(widest)
        ]
        self._units: dict[int, list[Counts]] = {}
        for row in self._tables.all(
            f"""
            SELECT plan, {self._segment()}, place, label, period, count(*), min(t0), count(*) FILTER (several),
                {", ".join(["sum(corrected)::BIGINT", *opened])}
            FROM exposed JOIN ends USING (plan) GROUP BY 1, 2, 3, 4, 5
            """
        ):
            number, segment, place, label, period, units, first_us, several, corrected, *opens = row
            cell = self._cell(self._plans[number], segment, place, label)
            counts = Counts(cell, period, units, first_us, several, corrected, tuple(opens))
            self._units.setdefault(number, []).append(counts)

    def _segment(self) -> str:
        if self._attribute is None:
            return "NULL::VARCHAR"
        if isinstance(self._attribute, tuple):
            return " || '_' || ".join(map(_attribute, self._attribute))
        return f"coalesce({_attribute(self._attribute)}, '')"

    def _cell(self, plan: Plan, segment: str | None, place: int, label: int) -> Cell:
        run = self._tables.runs[label] if label > 0 else f"period {-label}"
        return Cell(segment, plan.variants[place], run)

    def counts(self, plan: Plan) -> list[Counts]:
        return self._units.get(self._plans.index(plan), [])

    def moments(
        self, plan: Plan, *, complete: bool = False, until_us: int | None = None
    ) -> list[dict[Cell, Moments]]:
        """Of each metric. `complete`: without the units whose window is open. `until_us`: as it was then."""
        if not plan.metrics:
            return []
        asked = (form_of(plan), complete, until_us)
        if asked not in self._moments:
            self._moments[asked] = self._moments_of(*asked)
        none: list[dict[Cell, Moments]] = [{} for _ in plan.metrics]
        return self._moments[asked].get(self._plans.index(plan), none)

    def _moments_of(
        self, form: Form, complete: bool, until_us: int | None
    ) -> dict[int, list[dict[Cell, Moments]]]:
        """Of all plans of this form at once: their events lie among each other."""
        plans = {number: plan for number, plan in enumerate(self._plans) if form_of(plan) == form}
        columns, rows = limits(form, plans, self._tables.names)
        self._tables.table("limits", columns, rows)
        cut = FAR_US if until_us is None else until_us
        closed_by = min(self.as_of_us or 0, cut) if complete else None
        made: dict[int, list[dict[Cell, Moments]]] = {}
        for plan, segment, place, label, *values in self._tables.all(
            moments_query(form, self._lead_us, cut, closed_by, self._segment())
        ):
            by_metric = made.setdefault(plan, [{} for _ in form.metrics])
            cell = self._cell(self._plans[plan], segment, place, label)
            for cells, moments in zip(by_metric, moments_of(values), strict=True):
                cells[cell] = moments
        return made

    def trust(self, plan: Plan) -> Trust:
        number, names = self._plans.index(plan), names_of(plan)
        summed = {
            self._tables.names.index(name)
            for metric in plan.metrics
            for name, kind in read(metric)
            if kind == "sum"
        }
        units = self.counts(plan)
        known = self._events.get(number, [])
        within = [one for one in known if one.within]
        first = [one for one in within if not one.again]

        def having(bit: int) -> int:
            return sum(one.events for one in first if one.what & bit)

        parts = range(self._bounds.index(plan.start_us) + 1, self._bounds.index(end_of(plan) + 1) + 1)
        total = sum(self._happened_in.get((name, part), 0) for name in names for part in parts)
        return Trust(
            several=sum(one.several for one in units),
            corrected=sum(one.corrected for one in units) + having(CORRECTED),
            contrary=having(CONTRARY),
            repeats=sum(one.events for one in within if one.again),
            bare=sum(one.events for one in within if one.bare),
            not_numbers=sum(one.events for one in first if one.numberless and one.what >> NAME in summed),
            traced=having(TRACED),
            verified=having(VERIFIED),
            outside=total - sum(one.events for one in known if one.inside),
        )

    def unexposed(self, plan: Plan) -> list[tuple[str, str, int, int]]:
        """(variant, metric, events, units) as the events themselves say: where there are no exposures."""
        return self._tables.all(
            f"""
            SELECT variant, metric, count(DISTINCT event_id) + count(*) FILTER (event_id IS NULL),
                count(DISTINCT unit_key)
            FROM rows WHERE kind = 'metric' AND counts AND flag = $1 AND variant IS NOT NULL
                AND metric IN ({listed(names_of(plan))}) AND epoch_us(event_at) BETWEEN $2 AND $3
            GROUP BY ALL ORDER BY ALL
            """,
            [plan.flag, plan.start_us, end_of(plan)],
        )


def _attribute(name: str) -> str:
    return f"json_extract_string(attributes, '{pointer(name)}')"
