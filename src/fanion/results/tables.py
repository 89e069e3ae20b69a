"""The tables that results are asked of: the SQL from rows to who was exposed and what they did.

docs/results.md (What counts) has the rules.

All experiments of an environment are asked together: one pass over the exposures, one over the metrics' events
of units that were exposed, one that counts events, and then joins of tables of numbers alone: a unit and an event
are their keys of 64 bits (docs/rows.md), by which two of ten million are the same in one of 300,000 cases. The
texts that keys are of, most of the bytes of a row, are not read.

A moment of exposure, the variant's place and the split's run are one number, `moment`: the run in its lowest bits,
the place above them. So the least of them is the first exposure, of two variants in the same microsecond the one
that stands first in the plan, and of two runs the one whose name comes first; and nobody looks back at the texts
of a unit's first row.

Plans that ask for the same events ask together: their units' keys are bent by one number (`bent`), and the events'
by the same. So events find their exposures by one key of 64 bits, which is as seldom that of two as a unit's is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

from fanion.model.experiment import Plan
from fanion.results.numbers import CONTRARY, CORRECTED, FAR_US, NAME, NO, TRACED, VERIFIED, read

KINDS: Final = {
    "served": ("served",),
    "sent": ("exposure", "evaluation"),
    "assigned": ("assigned",),
    "decided": ("decision",),
}
"""The rows that are exposures. A `decision` is none of an experiment: it says what a unit would get."""
MOMENT_BITS_MAX: Final = 10
"""Of place and run, so that a moment is a BIGINT until the year 2255; with more it has 128 bits."""
VARIANT_BITS: Final = 32
IN_PLAN: Final = "xor(id, hash(met.plan))"
BENT_BY: Final = 0x9E3779B97F4A7C15
"""Odd: its multiples are others for each number below 2^64."""
SORTED_MAX: Final = 4 << 20
"""Numbers that are sorted at once, 8 bytes each; two such parts are held."""


class Tables:
    """`exposed`, `met` and `own` of experiments of one environment, over a connection with the view `rows` of its
    rows and no others. `lead_us`: how long before its exposure a unit's events count from. `attributed`: `exposed`
    keeps the attributes of a unit's first exposure."""

    def __init__(self, connection: Any, plans: Sequence[Plan], lead_us: int, *, attributed: bool) -> None:
        self._connection = connection
        self.plans = list(plans)
        self._lead_us = lead_us
        self._attributed = attributed
        names = {name for plan in plans for name in names_of(plan)}
        self.names = sorted(names) or [""]  # which no event has
        """Of the events that metrics read, by number."""
        self.runs = [""]
        """Of splits; the first is none."""
        self._exposed()
        self._met()
        self._repeated()

    def one(self, statement: str, values: Sequence[Any] = ()) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connection.execute(statement, list(values)).fetchone()
        return row

    def all(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._connection.execute(statement, list(values)).fetchall()
        return rows

    def table(self, name: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
        """Anew; a row for each."""
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")
        if rows:
            types = [column.rpartition(" ")[2] for column in columns.split(", ")]
            lists = ", ".join(f"unnest(${n}::{type}[])" for n, type in enumerate(types, 1))
            given = [list(column) for column in zip(*rows, strict=True)]
            self._connection.execute(f"INSERT INTO {name} SELECT {lists}", given)

    def _exposed(self) -> None:
        """exposed: a row for each experiment and unit: when it was exposed first, the place of its variant, the
        plan's run of that time (`period`), and its own: the number of the split's, or -1 - period where it has none
        (`label`)."""
        wanted = [
            (number, plan.flag, kind, variant, place, period, *times, list(plan.units) or None)
            for number, plan in enumerate(self.plans)
            for kind in KINDS[plan.exposure]
            for place, variant in enumerate(plan.variants)
            for period, times in enumerate(_periods(plan))
        ]
        self.table(
            "wanted",
            "plan INTEGER, flag VARCHAR, kind VARCHAR, variant VARCHAR, place INTEGER, period INTEGER, "
            "from_us BIGINT, until_us BIGINT, units VARCHAR[]",
            wanted,
        )
        flags, kinds = listed(one[1] for one in wanted), listed(one[2] for one in wanted)
        exposures = f"flag IN ({flags}) AND kind IN ({kinds}) AND counts"
        found = self.all(f"SELECT DISTINCT run FROM rows WHERE {exposures} AND run IS NOT NULL ORDER BY 1")
        self.runs = ["", *(run for (run,) in found)]
        self.table("runs", "run VARCHAR, nth INTEGER", [(run, n) for n, run in enumerate(self.runs) if n])
        runs = (len(self.runs) - 1).bit_length()
        bits = self._place_bits() + runs
        type = "BIGINT" if bits <= MOMENT_BITS_MAX else "HUGEINT"
        attributes = "arg_min(attributes, moment)" if self._attributed else "NULL"
        periods = "min(period)" if any(len(plan.runs) > 1 for plan in self.plans) else "0"
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE exposed AS
            SELECT plan, u, t0, place, period, CASE WHEN run > 0 THEN run ELSE -1 - period END AS label,
                attributes, several, corrected
            FROM (
                SELECT plan, u, (moment >> {bits})::BIGINT AS t0,
                    (moment >> {runs} & {(1 << self._place_bits()) - 1})::INTEGER AS place,
                    (moment & {(1 << runs) - 1})::INTEGER AS run, attributes, period, several, corrected
                FROM (
                    SELECT plan, u, min(moment) AS moment, {attributes} AS attributes, {periods} AS period,
                        min(place) <> max(place) AS several,
                        count(*) FILTER (time_from = 'implausible') AS corrected
                    FROM (
                        SELECT plan, unit_key AS u, place, period, attributes, time_from,
                            epoch_us(event_at)::{type} * {1 << bits} + (place * {1 << runs} + coalesce(nth, 0))
                                AS moment
                        FROM rows JOIN wanted USING (flag, kind, variant) LEFT JOIN runs USING (run)
                        WHERE {exposures} AND unit_key IS NOT NULL
                            AND epoch_us(event_at) BETWEEN from_us AND until_us
                            AND (units IS NULL OR unit_kind IS NULL OR list_contains(units, unit_kind))
                    ) GROUP BY plan, u
                )
            )
            """
        )

    def _place_bits(self) -> int:
        return (max(len(plan.variants) for plan in self.plans) - 1).bit_length()

    def _asked(self) -> list[int]:
        """asked: the names of events that are asked for, with their numbers as `met` has them, and what the keys of
        their units are bent by. Of each plan that: the same for plans that ask for the same names."""
        together: dict[frozenset[str], int] = {}
        bent = [
            BENT_BY * (1 + together.setdefault(frozenset(names_of(plan)), len(together))) % 2**64
            for plan in self.plans
        ]
        asked = {(name, by) for plan, by in zip(self.plans, bent, strict=True) for name in names_of(plan)}
        rows = [(name, self.names.index(name) << NAME, by) for name, by in sorted(asked)]
        self.table("asked", "metric VARCHAR, name INTEGER, bent UBIGINT", rows)
        return bent

    def _flags_and_variants(self) -> tuple[list[str], list[str]]:
        flags = sorted({plan.flag for plan in self.plans})
        return flags, sorted({variant for plan in self.plans for variant in plan.variants})

    def _said(self) -> str:
        """What an event says of a variant, as a number: its flag's in the upper bits, where it is a plan's, and the
        variant's, 0 of one that no plan has. Null where it names none.

        Looked up in lists, and not compared one by one: DuckDB does that once for each text of a dictionary."""
        flag, variant = (
            f"list_position([{', '.join(map(_quoted, texts))}], " for texts in self._flags_and_variants()
        )
        said = f"({flag}flag)::BIGINT << {VARIANT_BITS}) + coalesce({variant}variant), 0)"
        return f"CASE WHEN flag IS NOT NULL AND variant IS NOT NULL THEN {said} END"

    def _own(self) -> list[int]:
        """Of each plan, then of each place, its flag and variant as `_said` has them."""
        flags, variants = self._flags_and_variants()
        own = []
        for plan in self.plans:
            flag = flags.index(plan.flag) + 1 << VARIANT_BITS
            numbers = [flag + variants.index(variant) + 1 for variant in plan.variants]
            own += numbers + [0] * ((1 << self._place_bits()) - len(numbers))
        return own

    def _met(self) -> None:
        """met: for each experiment the events of its metrics and units (`e`: the row of `exposed`), and how long
        after the exposure they were. `what` has the name's number and the bits above: each column more is a tenth
        of the time. For that plan and place pass the join as one number, `cell`, too, which says what they are."""
        lows = [self._low(plan) for plan in self.plans]
        # As it is written: the small tables are kept and the events pass by; by its estimates it would keep those.
        self._connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        further = ""
        if min(lows) < max(lows) or any(plan.units for plan in self.plans):
            units = [list(plan.units) or None for plan in self.plans]
            rows = list(zip(range(len(lows)), lows, units, strict=True))
            self.table("bounds", "asker INTEGER, low_us BIGINT, units VARCHAR[]", rows)
            further = (
                f"JOIN bounds ON asker = cell >> {self._place_bits()} "
                "WHERE t >= low_us AND (units IS NULL OR unit_kind IS NULL OR list_contains(units, unit_kind))"
            )
        bent, own = self._asked(), f"list_extract({self._own()}::BIGINT[], cell + 1)"
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE met AS
            SELECT (cell >> {self._place_bits()})::INTEGER AS plan, e, t, t - t0 AS after, number, id,
                what + CASE WHEN said IS NULL THEN 0 WHEN xor(said, {own}) BETWEEN 1 AND {(1 << VARIANT_BITS) - 1}
                    THEN {CONTRARY} ELSE 0 END AS what
            FROM (
                SELECT xor(unit_key, bent) AS key, epoch_us(event_at) AS t, event_key AS id,
                    CASE WHEN isfinite(value) THEN value END AS number,
                    name + CASE WHEN value = 0 AND value_text = 'false' THEN {NO} ELSE 0 END
                        + CASE WHEN verified THEN {TRACED + VERIFIED} WHEN verified IS NULL THEN 0 ELSE {TRACED}
                            END
                        + CASE WHEN time_from = 'implausible' THEN {CORRECTED} ELSE 0 END AS what,
                    {self._said()} AS said, unit_kind
                FROM rows JOIN asked USING (metric)
                WHERE kind = 'metric' AND counts AND unit_key IS NOT NULL
                    AND metric IN ({listed(self.names)}) AND event_at >= make_timestamptz({min(lows)})
            ) AS events JOIN (
                SELECT xor(u, list_extract({bent}::UBIGINT[], plan + 1)) AS key, t0, rowid::UINTEGER AS e,
                    (plan * {1 << self._place_bits()} + place)::INTEGER AS cell
                FROM exposed
            ) AS exposures USING (key) {further}
            """
        )
        self._connection.execute("RESET disabled_optimizers")

    def _repeated(self) -> None:
        """own: `met` with `again`: the event had an id that was there before, in its experiment.

        Nearly all ids are there once, and sorted numbers say so in a tenth of the time of a table by id.
        """
        (rows,) = self.one("SELECT count(id) FROM met")
        parts = 1 << (1 + rows // SORTED_MAX).bit_length()
        with ThreadPoolExecutor(2) as pool:  # sorting leaves the interpreter alone
            sorting: list[Future[list[int]]] = []
            for part in range(parts):
                keys = self._connection.execute(
                    f"SELECT {IN_PLAN} AS key FROM met WHERE id IS NOT NULL AND id & {parts - 1} = {part}"
                ).fetchnumpy()["key"]
                sorting.append(pool.submit(_repeats, keys))
                if part:
                    sorting[part - 1].result()  # so that two are held, not all
            suspects = [key for part in sorting for key in part.result()]
        self._connection.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE repeats AS
            SELECT place FROM (
                SELECT met.rowid AS place, row_number()
                    OVER (PARTITION BY met.plan, id ORDER BY t, what >> {NAME}, u, number) AS nth
                FROM met JOIN exposed ON exposed.rowid = e
                WHERE id IS NOT NULL AND {IN_PLAN} IN (SELECT unnest($1::UBIGINT[]))
            ) WHERE nth > 1
            """,
            [suspects],
        )
        again = "rowid IN (SELECT place FROM repeats)" if suspects else "FALSE"
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW own AS SELECT *, {again} AS again FROM met")

    def _low(self, plan: Plan) -> int:
        """When the first event that counts can have happened."""
        return plan.start_us - plan.pre_period_us - self._lead_us


def _repeats(keys: Any) -> list[int]:
    """Those that are there more than once; the array is sorted."""
    keys.sort()
    repeated: list[int] = keys[1:][keys[1:] == keys[:-1]].tolist()
    return repeated


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def listed(texts: Iterable[str]) -> str:
    """For `IN (...)`: written out, so that files whose dictionaries have none of them are passed over."""
    return ", ".join(map(_quoted, sorted(set(texts))))


def names_of(plan: Plan) -> set[str]:
    """Of the events that its metrics read."""
    return {name for metric in plan.metrics for name, _ in read(metric)}


def _periods(plan: Plan) -> list[tuple[int, int]]:
    """When each of its runs begins and ends, both included."""
    starts = [run.start_us for run in plan.runs]
    return list(
        zip(starts, [*(min(start - 1, end_of(plan)) for start in starts[1:]), end_of(plan)], strict=True)
    )


def end_of(plan: Plan) -> int:
    return FAR_US if plan.end_us is None else plan.end_us
