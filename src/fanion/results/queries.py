"""What the rows say of experiments, as moments: the SQL (docs/results.md: What counts).

All experiments of an environment are asked together: one pass over the exposures, one over the metrics' events
of units that were exposed, and then joins of small tables for each. Those tables hold numbers alone: a unit is the
hash of its digest and an event that of its id, in 64 bits, by which two of ten million are the same in one of
300,000 cases.

A moment of exposure and the variant's place are one number, `moment`: microseconds * 1024 + place. So the least of
them is the first exposure, and of two variants in the same microsecond the one that stands first in the plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from fanion.model.experiment import MetricPlan, Plan
from fanion.results.statistics import Moments

KINDS: Final = {"served": ("served",), "sent": ("exposure", "evaluation"), "assigned": ("assigned",)}
"""The rows that are exposures. A `decision` is none: it says what a unit would get."""
PLACES: Final = 1024
FAR_US: Final = 1 << 60
DIGEST: Final = "CASE WHEN unit_hashed THEN unit ELSE sha256(unit) END"


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


class Rows:
    """Experiments of one environment over a connection with the view `rows`. `lead_us`: how long before its
    exposure a unit's events count from. `attribute`: what the units are divided by."""

    def __init__(
        self,
        connection: Any,
        environment: str,
        plans: Sequence[Plan],
        lead_us: int,
        attribute: str | None = None,
    ) -> None:
        self._connection = connection
        self._environment = environment
        self._plans = list(plans)
        self._lead_us = lead_us
        self._attribute = attribute
        names = {name for plan in plans for metric in plan.metrics for name in events_of(metric)}
        self._names = sorted(names) or [""]  # which no event has
        newest = self._one(
            "SELECT epoch_us(max(received_at)) FROM rows WHERE environment = $1", [environment]
        )
        self.as_of_us: int | None = newest[0]
        self._exposed()
        self._met()

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
        """exposed: a row for each experiment and unit."""
        wanted = [
            (number, plan.flag, kind, variant, place, plan.start_us, _end(plan), list(plan.units) or None)
            for number, plan in enumerate(self._plans)
            for kind in KINDS[plan.exposure]
            for place, variant in enumerate(plan.variants)
        ]
        self._table(
            "wanted",
            "plan INTEGER, flag VARCHAR, kind VARCHAR, variant VARCHAR, place INTEGER, start_us BIGINT, "
            "end_us BIGINT, units VARCHAR[]",
            wanted,
        )
        flags, kinds = _listed(one[1] for one in wanted), _listed(one[2] for one in wanted)
        attributes = "NULL" if self._attribute is None else "arg_min(attributes, moment)"
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE exposed AS
            SELECT plan, u, min(moment) AS moment, arg_min(run, moment) AS run, {attributes} AS attributes,
                min(place) <> max(place) AS several, count(*) FILTER (time_from = 'implausible') AS corrected
            FROM (
                SELECT plan, hash({DIGEST}) AS u, epoch_us(event_at) * {PLACES} + place AS moment, place,
                    run, attributes, time_from
                FROM rows JOIN wanted USING (flag, kind, variant)
                WHERE environment = $1 AND flag IN ({flags}) AND kind IN ({kinds}) AND counts
                    AND unit IS NOT NULL AND epoch_us(event_at) BETWEEN start_us AND end_us
                    AND (units IS NULL OR unit_kind IS NULL OR list_contains(units, unit_kind))
            ) GROUP BY plan, u
            """,
            [self._environment],
        )

    def _met(self) -> None:
        """met: for each experiment the events of its metrics and units, and how long after the exposure they were;
        repeats: which of them had an id that was there before."""
        asked = [
            (number, name, plan.flag, list(plan.variants), self._low(plan), list(plan.units) or None)
            for number, plan in enumerate(self._plans)
            for name in sorted({name for metric in plan.metrics for name in events_of(metric)})
        ]
        self._table(
            "asked",
            "plan INTEGER, metric VARCHAR, tried VARCHAR, variants VARCHAR[], low_us BIGINT, units VARCHAR[]",
            asked,
        )
        low = min(self._low(plan) for plan in self._plans)
        # As it is written: the small tables are kept and the events pass by; by its estimates it would keep those.
        self._connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        names = " ".join(f"WHEN {_quoted(name)} THEN {number}" for number, name in enumerate(self._names))
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE met AS
            SELECT plan, u, CASE metric {names} END AS name, t, t - moment // {PLACES} AS after,
                number, no, id, verified, events.corrected,
                flag = tried AND variant <> variants[1 + moment % {PLACES}] IS TRUE AS contrary
            FROM (
                SELECT hash({DIGEST}) AS u, metric, epoch_us(event_at) AS t,
                    CASE WHEN event_id IS NOT NULL THEN hash(event_id) END AS id,
                    CASE WHEN isfinite(value) THEN value END AS number,
                    value = 0 AND value_text = 'false' IS TRUE AS no,
                    flag, variant, verified, time_from = 'implausible' AS corrected, unit_kind
                FROM rows WHERE environment = $1 AND kind = 'metric' AND counts AND unit IS NOT NULL
                    AND metric IN ({_listed(self._names)}) AND event_at >= make_timestamptz({low})
            ) AS events JOIN asked USING (metric) JOIN exposed USING (plan, u)
            WHERE t >= low_us AND (units IS NULL OR unit_kind IS NULL OR list_contains(units, unit_kind))
            """,
            [self._environment],
        )
        self._connection.execute("RESET disabled_optimizers")
        self._connection.execute(
            """
            CREATE OR REPLACE TEMP TABLE repeats AS
            WITH several AS (SELECT plan, id FROM met WHERE id IS NOT NULL GROUP BY ALL HAVING count(*) > 1)
            SELECT place FROM (
                SELECT met.rowid AS place,
                    row_number() OVER (PARTITION BY plan, id ORDER BY t, name, u, number) AS nth
                FROM met JOIN several USING (plan, id)
            ) WHERE nth > 1
            """
        )

    def _low(self, plan: Plan) -> int:
        """When the first event that counts can have happened."""
        return plan.start_us - plan.pre_period_us - self._lead_us

    # -- one experiment

    def enter(self, plan: Plan) -> None:
        """own: its part of `met`."""
        self._plan = plan
        self._number = self._plans.index(plan)
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP VIEW own AS
            SELECT *, id IS NULL AS bare, rowid IN (SELECT place FROM repeats) AS again
            FROM met WHERE plan = {self._number}
            """
        )

    def runs(self) -> list[tuple[str, int, int, int]]:
        """(run, the plan's run in whose time most of its units came, units, first exposure) of each."""
        periods = f"(moment // {PLACES} >= {self._plan.start_us})::INTEGER - 1"
        for run in self._plan.runs[1:]:
            periods += f" + (moment // {PLACES} >= {run.start_us})::INTEGER"
        self._period = periods
        found = self._all(
            f"""
            SELECT {self._run()} AS label, {periods} AS period, count(*), min(moment // {PLACES})
            FROM exposed WHERE plan = $1 GROUP BY ALL ORDER BY 3 DESC, 1, 2
            """,
            [self._number],
        )
        runs: dict[str, list[Any]] = {}
        for label, period, units, first in found:
            known = runs.setdefault(label, [period, 0, first])
            known[1] += units
            known[2] = min(known[2], first)
        ordered = sorted(runs.items(), key=lambda item: item[1][2])
        return [(label, period, units, first) for label, (period, units, first) in ordered]

    def _run(self) -> str:
        """The run's name: the split's own, else the period of the plan, as its number."""
        return f"CASE WHEN run IS NOT NULL THEN run ELSE 'period ' || (1 + {self._period}) END"

    def units(self) -> dict[Cell, int]:
        found = self._all(
            f"""
            SELECT {self._segment()}, 1 + moment % {PLACES}, {self._run()}, count(*)
            FROM exposed WHERE plan = $1 GROUP BY ALL
            """,
            [self._number],
        )
        return {self._cell(*row[:3]): row[3] for row in found}

    def moments(self, *, complete: bool = False, until_us: int | None = None) -> list[dict[Cell, Moments]]:
        """Of each metric. `complete`: without the units whose window is open. `until_us`: as it was then."""
        if not self._plan.metrics:
            return []
        cut = FAR_US if until_us is None else until_us
        own, asked, grouped = [], [], []
        for number, metric in enumerate(self._plan.metrics):
            own += [f"{sql} AS {side}{number}" for side, sql in self._numbers(metric, cut).items()]
            window = metric.window_us
            closed = (
                f"t0 + {window} <= {min(self.as_of_us or 0, cut)}"
                if complete and window is not None
                else "TRUE"
            )
            grouped += _aggregates(number, metric, self._plan.pre_period_us > 0, closed)
        for column in own:
            value, _, name = column.rpartition(" AS ")
            asked.append(f"coalesce({name}, 0) AS {name}" if value else name)
        found = self._all(
            f"""
            WITH numbers AS (SELECT u, {", ".join(own)} FROM own WHERE NOT again AND t <= {cut} GROUP BY u),
            everyone AS (
                SELECT {self._segment()} AS segment, 1 + moment % {PLACES} AS place, {self._run()} AS label,
                    moment // {PLACES} AS t0, {", ".join(asked)}
                FROM exposed LEFT JOIN numbers USING (u) WHERE plan = $1 AND moment // {PLACES} <= {cut}
            )
            SELECT segment, place, label, {", ".join(grouped)} FROM everyone GROUP BY ALL
            """,
            [self._number],
        )
        width = len(Moments.__struct_fields__)
        return [
            {self._cell(*row[:3]): _moments(row[3 + width * n : 3 + width * (n + 1)]) for row in found}
            for n in range(len(self._plan.metrics))
        ]

    def open_units(self) -> list[dict[Cell, int]]:
        """Of each metric, the units whose window isn't over, all runs together."""
        made = []
        for metric in self._plan.metrics:
            window = metric.window_us
            ends = _end(self._plan) if window is None else f"moment // {PLACES} + {window}"
            found = self._all(
                f"""
                SELECT {self._segment()}, 1 + moment % {PLACES}, count(*) FROM exposed
                WHERE plan = $1 AND {ends} > {self.as_of_us or 0} GROUP BY ALL
                """,
                [self._number],
            )
            made.append({self._cell(segment, place, ""): units for segment, place, units in found})
        return made

    def _numbers(self, metric: MetricPlan, cut: int) -> dict[str, str]:
        """A unit's numbers as SQL over its events: y, d (what a ratio is to), x (y before the exposure)."""
        lead = self._lead_us
        last = f"t <= {_end(self._plan)}" if metric.window_us is None else f"after <= {metric.window_us}"
        within = f"after >= {-lead} AND {last}"
        name = self._names.index(metric.event)
        if metric.type == "mean":
            return {"y": _sum("sum", name, within, None), "d": _sum("number", name, within, None)}
        if metric.type == "ratio":
            other = self._names.index(str(metric.denominator_event))
            return {
                "y": _sum(metric.numerator, name, within, None),
                "d": _sum(metric.denominator, other, within, None),
            }
        made = {"y": _sum(metric.type, name, within, metric.cap)}
        if self._plan.pre_period_us:
            before = f"after >= {-lead - self._plan.pre_period_us} AND after < {-lead}"
            made["x"] = _sum(metric.type, name, before, metric.cap)
        return made

    def _segment(self) -> str:
        if self._attribute is None:
            return "NULL::VARCHAR"
        return f"coalesce(json_extract_string(attributes, '{pointer(self._attribute)}'), '')"

    def _cell(self, segment: str | None, place: int, run: str) -> Cell:
        return Cell(segment, self._plan.variants[place - 1], run)

    # -- how far it can be trusted

    def trust(self) -> Trust:
        plan = self._plan
        several, corrected = self._one(
            "SELECT count(*) FILTER (several), coalesce(sum(corrected), 0) FROM exposed WHERE plan = $1",
            [self._number],
        )
        summed = [
            self._names.index(name)
            for metric in plan.metrics
            for name, kind in _read(metric)
            if kind == "sum"
        ]
        windows = [metric.window_us for metric in plan.metrics]
        far = FAR_US if None in windows else max((one for one in windows if one is not None), default=0)
        last = _end(plan) if None in windows else FAR_US
        contrary, repeats, bare, not_numbers, traced, verified, late = self._one(
            f"""
            SELECT count(*) FILTER (contrary AND NOT again), count(*) FILTER (again),
                count(*) FILTER (bare), count(*) FILTER (number IS NULL AND NOT again AND
                    name IN (SELECT unnest($1::INTEGER[]))),
                count(verified) FILTER (NOT again), count(*) FILTER (verified AND NOT again),
                count(*) FILTER (corrected AND NOT again)
            FROM own WHERE after BETWEEN {-self._lead_us} AND {far} AND (t <= {last} OR {far} < {FAR_US})
            """,
            [summed],
        )
        names = sorted({name for metric in plan.metrics for name in events_of(metric)})
        (total,) = self._one(
            """
            SELECT count(*) FROM rows WHERE environment = $1 AND kind = 'metric' AND counts
                AND metric IN (SELECT unnest($2::VARCHAR[])) AND epoch_us(event_at) BETWEEN $3 AND $4
            """,
            [self._environment, names, plan.start_us, _end(plan)],
        )
        (inside,) = self._one(f"SELECT count(*) FROM own WHERE t BETWEEN {plan.start_us} AND {_end(plan)}")
        return Trust(
            several, corrected + late, contrary, repeats, bare, not_numbers, traced, verified, total - inside
        )

    def unexposed(self) -> list[tuple[str, str, int, int]]:
        """(variant, metric, events, units) as the events themselves say: where there are no exposures."""
        plan = self._plan
        names = sorted({name for metric in plan.metrics for name in events_of(metric)})
        return self._all(
            f"""
            SELECT variant, metric, count(DISTINCT event_id) + count(*) FILTER (event_id IS NULL),
                count(DISTINCT {DIGEST})
            FROM rows WHERE environment = $1 AND kind = 'metric' AND counts AND flag = $2 AND variant IS NOT NULL
                AND metric IN (SELECT unnest($3::VARCHAR[])) AND epoch_us(event_at) BETWEEN $4 AND $5
            GROUP BY ALL ORDER BY ALL
            """,
            [self._environment, plan.flag, names, plan.start_us, _end(plan)],
        )


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _listed(texts: Iterable[str]) -> str:
    """For `IN (...)`: written out, so that files whose dictionaries have none of them are passed over."""
    return ", ".join(map(_quoted, sorted(set(texts))))


def events_of(metric: MetricPlan) -> list[str]:
    """The names of the events that it reads."""
    return [name for name, _ in _read(metric)]


def _read(metric: MetricPlan) -> list[tuple[str, str]]:
    """(event, what of it)."""
    if metric.type == "ratio":
        return [(metric.event, metric.numerator), (str(metric.denominator_event), metric.denominator)]
    return [(metric.event, "sum" if metric.type in ("sum", "mean") else "count")]


def _end(plan: Plan) -> int:
    return FAR_US if plan.end_us is None else plan.end_us


def _sum(kind: str, name: int, within: str, cap: float | None) -> str:
    """A unit's number: `conversion`, `count`, `sum`, or how many of its events have a `number`."""
    where = f"FILTER (name = {name} AND {within}"
    if kind == "sum":
        made = f"sum(number) {where})"
    elif kind == "number":
        made = f"count(number) {where})::DOUBLE"
    elif kind == "conversion":
        made = f"(count(*) {where} AND NOT no) > 0)::INTEGER::DOUBLE"
    else:
        made = f"count(*) {where} AND NOT no)::DOUBLE"
    return made if cap is None else f"least(coalesce({made}, 0), {cap!r})"  # `least` passes over null


def _aggregates(number: int, metric: MetricPlan, before: bool, closed: str) -> list[str]:
    """In the order of the fields of `Moments`."""
    y, d, x = f"y{number}", f"d{number}", f"x{number}"
    where = f"FILTER ({closed})"
    made = [
        f"count(*) {where}",
        f"avg({y}) {where}",
        f"var_samp({y}) {where}",
        f"count(*) FILTER ({closed} AND {y} <> 0)",
    ]
    if metric.type in ("mean", "ratio"):
        made += [f"avg({d}) {where}", f"var_samp({d}) {where}", f"covar_samp({y}, {d}) {where}"]
    else:
        made += ["1.0", "0.0", "0.0"]
    if before and metric.type in ("conversion", "count", "sum"):
        made += [f"avg({x}) {where}", f"var_samp({x}) {where}", f"covar_samp({y}, {x}) {where}"]
    else:
        made += ["0.0", "0.0", "0.0"]
    return made


def _moments(values: Sequence[Any]) -> Moments:
    units, mean, variance, active, *others = values
    return Moments(
        int(units), float(mean or 0), float(variance or 0), int(active), *(float(one or 0) for one in others)
    )
