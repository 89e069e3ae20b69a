"""What the rows say of experiments, as moments: the SQL (docs/results.md: What counts).

All experiments of an environment are asked together: one pass over the exposures, one over the metrics' events
of units that were exposed, one that counts events, and then joins of tables of numbers alone: a unit and an event
are their keys of 64 bits (docs/rows.md), by which two of ten million are the same in one of 300,000 cases. The
texts that keys are of, most of the bytes of a row, are not read.

A moment of exposure and the variant's place are one number, `moment`: microseconds * 1024 + place. So the least of
them is the first exposure, and of two variants in the same microsecond the one that stands first in the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from fanion.model.experiment import Plan
from fanion.results.numbers import (
    CONTRARY,
    CORRECTED,
    FAR_US,
    NAME,
    NO,
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

KINDS: Final = {
    "served": ("served",),
    "sent": ("exposure", "evaluation"),
    "assigned": ("assigned",),
    "decided": ("decision",),
}
"""The rows that are exposures. A `decision` is none of an experiment: it says what a unit would get."""
PLACES: Final = 1024
IN_PLAN: Final = "xor(id, hash(plan))"
SORTED_MAX: Final = 8 << 20
"""Numbers that are sorted at once, 8 bytes each."""


def pointer(member: str) -> str:
    """A member of an object as a JSON pointer between SQL's quotes. No path: DuckDB reads `$."a\\"` as no end, and
    takes no empty name."""
    return "/" + member.replace("~", "~0").replace("/", "~1").replace("'", "''")


class Cell(NamedTuple):
    """What moments are of."""

    segment: str | None
    variant: str
    run: str


class Trust(NamedTuple):
    """Counts beside the numbers, over all segments."""

    several: int
    """Units that met two variants or more."""
    corrected: int
    """Rows, exposures and events, whose time was not believed."""
    contrary: int
    repeats: int
    bare: int
    """Events without an id."""
    not_numbers: int
    traced: int
    verified: int
    outside: int
    """Events of its metrics in its time whose unit was never exposed."""


class Counts(NamedTuple):
    """Units of a cell in whose time a run of the plan was. `open`: of each metric, those whose window isn't over;
    `corrected`: exposures of theirs whose time was not believed."""

    cell: Cell
    period: int
    units: int
    first_us: int
    several: int
    corrected: int
    open: tuple[int, ...]


class Known(NamedTuple):
    """Events of a plan that are alike. `within`: in the time in which they may count; `inside`: in that of the
    experiment."""

    plan: int
    what: int
    inside: bool
    within: bool
    again: bool
    bare: bool
    numberless: bool
    events: int


class Rows:
    """Experiments of one environment over a connection with the view `rows`. `lead_us`: how long before its
    exposure a unit's events count from. `attribute`: what the units are divided by; several: by
    their texts joined by `_`, and by nothing where one is missing."""

    def __init__(
        self,
        connection: Any,
        environment: str,
        plans: Sequence[Plan],
        lead_us: int,
        attribute: str | tuple[str, ...] | None = None,
    ) -> None:
        self._connection = connection
        self._environment = environment
        self._plans = list(plans)
        self._lead_us = lead_us
        self._attribute = attribute
        names = {name for plan in plans for name in _names(plan)}
        self._names = sorted(names) or [""]  # which no event has
        newest = self._one(
            "SELECT epoch_us(max(received_at)) FROM rows WHERE environment = $1", [environment]
        )
        self.as_of_us: int | None = newest[0]
        self._exposed()
        self._met()
        self._happened()
        self._repeated()
        self._known()
        self._counted()
        self._moments: dict[tuple[Form, bool, int | None], dict[int, list[dict[Cell, Moments]]]] = {}

    def _one(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(statement, list(values)).fetchone()
        return row

    def _all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(statement, list(values)).fetchall()
        return rows

    def _table(self, name: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")
        if rows:
            marks = ", ".join("?" for _ in rows[0])
            self._connection.executemany(f"INSERT INTO {name} VALUES ({marks})", rows)

    # -- tables of all experiments

    def _exposed(self) -> None:
        """exposed: a row for each experiment and unit: when it was exposed first, the place of its variant, the
        plan's run of that time (`period`), and the run's name: the split's own, else that one's."""
        wanted = [
            (number, plan.flag, kind, variant, place, period, *times, list(plan.units) or None)
            for number, plan in enumerate(self._plans)
            for kind in KINDS[plan.exposure]
            for place, variant in enumerate(plan.variants)
            for period, times in enumerate(_periods(plan))
        ]
        self._table(
            "wanted",
            "plan INTEGER, flag VARCHAR, kind VARCHAR, variant VARCHAR, place INTEGER, period INTEGER, "
            "from_us BIGINT, until_us BIGINT, units VARCHAR[]",
            wanted,
        )
        flags, kinds = _listed(one[1] for one in wanted), _listed(one[2] for one in wanted)
        attributes = "NULL" if self._attribute is None else "arg_min(attributes, moment)"
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE exposed AS
            SELECT plan, u, moment // {PLACES} AS t0, (moment % {PLACES})::INTEGER AS place, period,
                coalesce(run, 'period ' || (1 + period)) AS label, attributes, several, corrected
            FROM (
                SELECT plan, u, min(moment) AS moment, arg_min(run, moment) AS run, {attributes} AS attributes,
                    min(period) AS period, min(place) <> max(place) AS several,
                    count(*) FILTER (time_from = 'implausible') AS corrected
                FROM (
                    SELECT plan, unit_key AS u, epoch_us(event_at) * {PLACES} + place AS moment, place, period,
                        run, attributes, time_from
                    FROM rows JOIN wanted USING (flag, kind, variant)
                    WHERE environment = $1 AND flag IN ({flags}) AND kind IN ({kinds}) AND counts
                        AND unit_key IS NOT NULL AND epoch_us(event_at) BETWEEN from_us AND until_us
                        AND (units IS NULL OR unit_kind IS NULL OR list_contains(units, unit_kind))
                ) GROUP BY plan, u
            )
            """,
            [self._environment],
        )

    def _met(self) -> None:
        """met: for each experiment the events of its metrics and units, and how long after the exposure they were.
        `what` has the name's number and the bits above: each column more is a tenth of the time."""
        asked = [
            (number, name, plan.flag, list(plan.variants), self._low(plan), list(plan.units) or None)
            for number, plan in enumerate(self._plans)
            for name in sorted(_names(plan))
        ]
        self._table(
            "asked",
            "plan INTEGER, metric VARCHAR, tried VARCHAR, variants VARCHAR[], low_us BIGINT, units VARCHAR[]",
            asked,
        )
        low = min(self._low(plan) for plan in self._plans)
        # As it is written: the small tables are kept and the events pass by; by its estimates it would keep those.
        self._connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        names = " ".join(
            f"WHEN {_quoted(name)} THEN {number << NAME}" for number, name in enumerate(self._names)
        )
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE met AS
            SELECT plan, u, t, t - t0 AS after, number, id,
                what + CASE WHEN flag = tried AND variant <> variants[1 + place] THEN {CONTRARY} ELSE 0 END AS what
            FROM (
                SELECT unit_key AS u, metric, epoch_us(event_at) AS t, event_key AS id,
                    CASE WHEN isfinite(value) THEN value END AS number,
                    CASE metric {names} END
                        + CASE WHEN value = 0 AND value_text = 'false' THEN {NO} ELSE 0 END
                        + CASE WHEN verified THEN {TRACED + VERIFIED} WHEN verified IS NULL THEN 0 ELSE {TRACED} END
                        + CASE WHEN time_from = 'implausible' THEN {CORRECTED} ELSE 0 END AS what,
                    flag, variant, unit_kind
                FROM rows WHERE environment = $1 AND kind = 'metric' AND counts AND unit_key IS NOT NULL
                    AND metric IN ({_listed(self._names)}) AND event_at >= make_timestamptz({low})
            ) AS events JOIN asked USING (metric) JOIN exposed USING (plan, u)
            WHERE t >= low_us AND (units IS NULL OR unit_kind IS NULL OR list_contains(units, unit_kind))
            """,
            [self._environment],
        )
        self._connection.execute("RESET disabled_optimizers")

    def _happened(self) -> None:
        """How many events of each name there were between the starts and ends of all plans."""
        self._bounds = sorted({time for plan in self._plans for time in (plan.start_us, _end(plan) + 1)})
        part = " + ".join(f"(t >= {bound})::INTEGER" for bound in self._bounds)
        found = self._all(
            f"""
            SELECT metric, {part} AS part, count(*)
            FROM (
                SELECT metric, epoch_us(event_at) AS t FROM rows
                WHERE environment = $1 AND kind = 'metric' AND counts AND metric IN ({_listed(self._names)})
            ) GROUP BY ALL
            """,
            [self._environment],
        )
        self._happened_in = {(name, part): count for name, part, count in found}

    def _repeated(self) -> None:
        """own: `met` with `again`: the event had an id that was there before, in its experiment.

        Nearly all ids are there once, and sorted numbers say so in a tenth of the time of a table by id.
        """
        (rows,) = self._one("SELECT count(id) FROM met")
        parts = 1 + rows // SORTED_MAX
        suspects: list[int] = []
        for part in range(parts):
            keys = self._connection.execute(
                f"SELECT {IN_PLAN} AS key FROM met WHERE id IS NOT NULL AND id % {parts} = {part}"
            ).fetchnumpy()["key"]
            keys.sort()
            suspects += keys[1:][keys[1:] == keys[:-1]].tolist()
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE repeats AS
            SELECT place FROM (
                SELECT rowid AS place,
                    row_number() OVER (PARTITION BY plan, id ORDER BY t, what >> {NAME}, u, number) AS nth
                FROM met WHERE id IS NOT NULL AND {IN_PLAN} IN (SELECT unnest($1::UBIGINT[]))
            ) WHERE nth > 1
            """,
            [suspects],
        )
        again = "rowid IN (SELECT place FROM repeats)" if suspects else "FALSE"
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW own AS SELECT *, {again} AS again FROM met")

    def _known(self) -> None:
        """What is known of the events, by everything that it is counted by."""
        spans = []
        for number, plan in enumerate(self._plans):
            windows = [metric.window_us for metric in plan.metrics]
            far = max((FAR_US if window is None else window for window in windows), default=0)
            last = _end(plan) if None in windows else FAR_US
            spans.append((number, plan.start_us, _end(plan), far, last))
        self._table("spans", "plan INTEGER, start_us BIGINT, end_us BIGINT, far BIGINT, last BIGINT", spans)
        self._events = [
            Known(*row)
            for row in self._all(
                f"""
                SELECT plan, what, t BETWEEN start_us AND end_us AS inside,
                    after BETWEEN {-self._lead_us} AND far AND t <= last AS within,
                    again, id IS NULL AS bare, number IS NULL AS numberless, count(*)
                FROM own JOIN spans USING (plan) GROUP BY ALL
                """
            )
        ]

    def _counted(self) -> None:
        """The units, by everything that they are counted by."""
        widest = max(len(plan.metrics) for plan in self._plans)
        ends = []
        for number, plan in enumerate(self._plans):
            windows = [metric.window_us for metric in plan.metrics]
            windows += [None] * (widest - len(windows))
            pairs = [(_end(plan), None) if window is None else (None, window) for window in windows]
            ends.append((number, *(one for pair in pairs for one in pair)))
        columns = [f"at{n} BIGINT, window{n} BIGINT" for n in range(widest)]
        self._table("ends", ", ".join(["plan INTEGER", *columns]), ends)
        opened = [
            f"count(*) FILTER (coalesce(at{n}, t0 + window{n}) > {self.as_of_us or 0})" for n in range(widest)
        ]
        self._units: dict[int, list[Counts]] = {}
        for row in self._all(
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

    def _low(self, plan: Plan) -> int:
        """When the first event that counts can have happened."""
        return plan.start_us - plan.pre_period_us - self._lead_us

    def _segment(self) -> str:
        if self._attribute is None:
            return "NULL::VARCHAR"
        if isinstance(self._attribute, tuple):
            return " || '_' || ".join(map(_attribute, self._attribute))
        return f"coalesce({_attribute(self._attribute)}, '')"

    def _cell(self, plan: Plan, segment: str | None, place: int, run: str) -> Cell:
        return Cell(segment, plan.variants[place], run)

    # -- of one experiment

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
        columns, rows = limits(form, plans, self._names)
        self._table("limits", columns, rows)
        cut = FAR_US if until_us is None else until_us
        closed_by = min(self.as_of_us or 0, cut) if complete else None
        made: dict[int, list[dict[Cell, Moments]]] = {}
        for plan, segment, place, label, *values in self._all(
            moments_query(form, self._lead_us, cut, closed_by, self._segment())
        ):
            by_metric = made.setdefault(plan, [{} for _ in form.metrics])
            cell = self._cell(self._plans[plan], segment, place, label)
            for cells, moments in zip(by_metric, moments_of(values), strict=True):
                cells[cell] = moments
        return made

    def trust(self, plan: Plan) -> Trust:
        number, names = self._plans.index(plan), _names(plan)
        summed = {
            self._names.index(name) for metric in plan.metrics for name, kind in read(metric) if kind == "sum"
        }
        units = self.counts(plan)
        known = [one for one in self._events if one.plan == number]
        within = [one for one in known if one.within]
        first = [one for one in within if not one.again]

        def having(bit: int) -> int:
            return sum(one.events for one in first if one.what & bit)

        parts = range(self._bounds.index(plan.start_us) + 1, self._bounds.index(_end(plan) + 1) + 1)
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
        return self._all(
            f"""
            SELECT variant, metric, count(DISTINCT event_id) + count(*) FILTER (event_id IS NULL),
                count(DISTINCT unit_key)
            FROM rows WHERE environment = $1 AND kind = 'metric' AND counts AND flag = $2 AND variant IS NOT NULL
                AND metric IN ({_listed(_names(plan))}) AND epoch_us(event_at) BETWEEN $3 AND $4
            GROUP BY ALL ORDER BY ALL
            """,
            [self._environment, plan.flag, plan.start_us, _end(plan)],
        )


def _attribute(name: str) -> str:
    return f"json_extract_string(attributes, '{pointer(name)}')"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _listed(texts: Iterable[str]) -> str:
    """For `IN (...)`: written out, so that files whose dictionaries have none of them are passed over."""
    return ", ".join(map(_quoted, sorted(set(texts))))


def _names(plan: Plan) -> set[str]:
    """Of the events that its metrics read."""
    return {name for metric in plan.metrics for name, _ in read(metric)}


def _periods(plan: Plan) -> list[tuple[int, int]]:
    """When each of its runs begins and ends, both included."""
    starts = [run.start_us for run in plan.runs]
    return list(zip(starts, [*(min(start - 1, _end(plan)) for start in starts[1:]), _end(plan)], strict=True))


def _end(plan: Plan) -> int:
    return FAR_US if plan.end_us is None else plan.end_us
