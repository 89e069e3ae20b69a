"""Results of experiments of a data directory: which there are, and what the rows say of them.

Raises RowsError where rows or the extra are missing, StoreError where definitions can't be read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Thread
from typing import Final, NamedTuple

from fanion.bundle.reader import BundleReader
from fanion.errors import RowsError
from fanion.journal.storage import Storage
from fanion.model.experiment import Plan, plans_of
from fanion.pipeline.manifest import File, load_manifest
from fanion.pipeline.pipeline import DIRECTORY
from fanion.pipeline.query import open_rows
from fanion.results import derived, statistics
from fanion.results.cells import Cell, Counts, Trust
from fanion.results.comparing import by_variant, differing, findings, metric_results
from fanion.results.queries import Rows
from fanion.results.report import Counted, DayResult, Result, RunResult, Told, written
from fanion.results.statistics import SHARES_P_MIN, Moments
from fanion.store.store import Store

DAY_US: Final = 86_400_000_000
LATE_US: Final = 7 * DAY_US
"""An event is received at most so long after it happened, if its time is believed (docs/rows.md: Event time)."""
SEVERAL_SHARE_MAX: Final = 0.01
"""Units that met several variants, above which a result isn't to be trusted."""
SEGMENTS_MAX: Final = 50
"""Values of an attribute that units are divided by: the most frequent ones."""
DAYS_MAX: Final = 400


class Asked(NamedTuple):
    """How results are wanted. `complete`: without units whose window is open. `attribute`: divided by it. `daily`:
    also as they were at the end of each day. `lead_us`: how long before its exposure a unit's events count from."""

    lead_us: int = 5_000_000
    complete: bool = False
    attribute: str | None = None
    daily: bool = False


def read_plans(directory: Path, map_bytes: int) -> dict[str, dict[str, Plan]]:
    """Of each environment that has some, by their keys."""
    with Store.open(directory, write=False, map_bytes=map_bytes) as store, store.pin() as pinned:
        found = {}
        for environment in pinned.environments():
            bundle = pinned.bundle(environment)
            documents = {} if bundle is None else dict(BundleReader(bytes(bundle)).documents())
            plans = plans_of(documents)
            if plans:
                found[environment] = plans
        return found


def compute(
    directory: Path, environment: str, plans: Sequence[Plan], asked: Asked, *, met_only: bool = False
) -> list[Result]:
    """In the order of the plans; several of one where units are divided. `met_only`: without the derived ones of
    which there is no row."""
    if not plans:
        return []
    first = min(plan.start_us - plan.pre_period_us for plan in plans) - asked.lead_us - DAY_US
    last = max(_last_us(plan) for plan in plans) + LATE_US

    def chosen(file: File) -> bool:
        return file.environment == environment and first // DAY_US <= file.day <= last // DAY_US

    manifest = load_manifest(Storage(), directory / DIRECTORY)
    fresh_us = manifest.fresh_us
    newest_us = max((file.day for file in manifest.files if chosen(file)), default=0) * DAY_US
    with open_rows(directory, chosen) as connection:
        plans = derived.met(connection, environment, plans) if met_only else plans
        if not plans:
            return []
        Thread(
            target=statistics.special, daemon=True
        ).start()  # half a second of imports, beside the first query
        plans = derived.with_metrics(connection, environment, plans)
        rows = Rows(connection, plans, asked.lead_us, asked.attribute, newest_us=newest_us)
        return [
            result
            for plan in plans
            for result in _Experiment(rows, environment, plan, asked, fresh_us).results()
        ]


def _last_us(plan: Plan) -> int:
    """When the last event that counts can have happened."""
    windows = [metric.window_us or 0 for metric in plan.metrics]
    return 1 << 60 if plan.end_us is None else plan.end_us + max(windows, default=0)


class _Experiment:
    """One, with the tables of its rows."""

    def __init__(self, rows: Rows, environment: str, plan: Plan, asked: Asked, fresh_us: int) -> None:
        self.rows = rows
        self.environment = environment
        self.plan = plan
        self.asked = asked
        self.fresh_us = fresh_us

    def results(self) -> list[Result]:
        self.counts = self.rows.counts(self.plan)
        self.units: dict[Cell, int] = {}
        for one in self.counts:
            self.units[one.cell] = self.units.get(one.cell, 0) + one.units
        self.runs = _runs(self.counts)
        metrics = self.rows.moments(self.plan, complete=self.asked.complete)
        trust = self.rows.trust(self.plan)
        told = [Told(*row) for row in self.rows.unexposed(self.plan)] if not self.units else []
        days = self.days() if self.asked.daily else {}
        made = []
        for segment in self.segments():
            made.append(self.result(segment, metrics, trust, told, days.get(segment, [])))
        return made

    def segments(self) -> list[str | None]:
        """The values of the attribute, the most frequent first."""
        if self.asked.attribute is None:
            return [None]
        counts: dict[str | None, int] = {}
        for cell, units in self.units.items():
            counts[cell.segment] = counts.get(cell.segment, 0) + units
        ordered = sorted(counts, key=lambda segment: (-counts[segment], segment or ""))
        return ordered[:SEGMENTS_MAX] or [None]

    def result(
        self,
        segment: str | None,
        metrics: Sequence[Mapping[Cell, Moments]],
        trust: Trust,
        told: list[Told],
        days: list[DayResult],
    ) -> Result:
        plan = self.plan
        cells = {cell: units for cell, units in self.units.items() if cell.segment == segment}
        units = dict.fromkeys(plan.variants, 0)
        for cell, count in cells.items():
            units[cell.variant] += count
        runs = self.run_results(cells)
        compared = metric_results(
            plan,
            [by_variant(one, segment) for one in metrics],
            [self.open_units(segment, number) for number in range(len(plan.metrics))],
        )
        problems = self.problems(self.run_results(self.units), trust)
        return Result(
            experiment=plan.key,
            name=plan.name,
            environment=self.environment,
            flag=plan.flag,
            control=plan.control,
            exposure=plan.exposure,
            start=written(plan.start_us) if plan.start_us else None,
            end=None if plan.end_us is None else written(plan.end_us),
            as_of=None if self.rows.as_of_us is None else written(self.rows.as_of_us),
            fresh=written(self.fresh_us) if self.fresh_us else None,
            complete=self.asked.complete,
            attribute=self.asked.attribute,
            segment=segment,
            units=units,
            trustworthy=not problems,
            problems=problems,
            notes=self.notes(trust),
            summary=self.summary(findings(compared), problems),
            runs=runs,
            metrics=compared,
            counted=_counted(trust),
            unexposed=told,
            days=days,
            derived_from=plan.source or None,
        )

    def open_units(self, segment: str | None, number: int) -> dict[str, int]:
        """By variant, those whose window isn't over, of the metric of this number."""
        made: dict[str, int] = {}
        for one in self.counts:
            if one.cell.segment == segment:
                made[one.cell.variant] = made.get(one.cell.variant, 0) + one.open[number]
        return made

    def summary(self, found: str, problems: list[str]) -> str:
        if not self.units:
            return "no exposures: what events say of variants is counted, and nothing is compared"
        return f"not trustworthy ({found})" if problems else found

    def run_results(self, cells: Mapping[Cell, int]) -> list[RunResult]:
        made = []
        for label, (period, first) in self.runs.items():
            shares = self.plan.runs[period].shares_of(label)
            units = dict.fromkeys(self.plan.variants, 0)
            for cell, count in cells.items():
                if cell.run == label:
                    units[cell.variant] += count
            made.append(
                RunResult(label, written(first), dict(shares), units, statistics.sample_ratio(units, shares))
            )
        return made

    def problems(self, runs: Sequence[RunResult], trust: Trust) -> list[str]:
        """Why it isn't to be trusted."""
        found = [
            f"the sample ratio of run {run.run} is no chance (p = {run.sample_ratio_p:.2g})"
            for run in runs
            if run.sample_ratio_p is not None and run.sample_ratio_p < SHARES_P_MIN
        ]
        total = sum(self.units.values())
        if total and trust.several / total > SEVERAL_SHARE_MAX:
            found.append(f"{trust.several / total:.1%} of the units met several variants (at most 1 %)")
        return found

    def notes(self, trust: Trust) -> list[str]:
        """What is to be known beside it."""
        found = [self.plan.note] if self.plan.note else []
        if trust.bare:
            found.append(
                f"{trust.bare:,} events have no id: what a client sent again after a failure may count twice"
            )
        if len(self.runs) > 1:
            found.append(
                f"means are of all {len(self.runs)} runs together; differences and lifts are those within runs"
            )
        known = [run.shares for run in self.plan.runs]
        known += [self.plan.runs[period].shares_of(label) for label, (period, _) in self.runs.items()]
        if not all(known):
            found.append("no shares are planned, so the sample ratio isn't tested")
        if self.units and not self.plan.metrics:
            found.append("there are no events yet that could be its metrics")
        return found

    # -- by day

    def days(self) -> dict[str | None, list[DayResult]]:
        """Of each segment, at the end of each day that has begun, the last one as it is now."""
        plan, newest = self.plan, self.rows.as_of_us
        if newest is None or not self.runs:
            return {}
        first = min(one.first_us for one in self.counts) // DAY_US
        last = min(newest, _last_us(plan)) // DAY_US
        made: dict[str | None, list[DayResult]] = {}
        for day in range(max(first, last - DAYS_MAX + 1), last + 1):
            until = (day + 1) * DAY_US - 1
            for metric, cells in zip(
                plan.metrics,
                self.rows.moments(plan, complete=self.asked.complete, until_us=until),
                strict=True,
            ):
                for segment in self.segments():
                    sides = by_variant(cells, segment)
                    for variant in plan.variants[1:]:
                        found = differing(sides.get(plan.control, {}), sides.get(variant, {}))
                        if found is None:
                            continue
                        around = statistics.always_valid(found.effect, found.variance, found.units)
                        made.setdefault(segment, []).append(
                            DayResult(
                                written(day * DAY_US)[:10],
                                metric.key,
                                variant,
                                found.units,
                                found.effect,
                                around.lower,
                                around.upper,
                            )
                        )
        return made


def _runs(counts: Iterable[Counts]) -> dict[str, tuple[int, int]]:
    """By the run's name, in the order of their first exposure: the plan's run in whose time most of its units came,
    and that exposure."""
    units: dict[tuple[str, int], int] = {}
    first: dict[str, int] = {}
    for one in counts:
        label = one.cell.run
        units[label, one.period] = units.get((label, one.period), 0) + one.units
        first[label] = min(first.get(label, one.first_us), one.first_us)
    periods: dict[str, int] = {}
    for label, period in sorted(units, key=lambda run: (-units[run], *run)):
        periods.setdefault(label, period)
    return {label: (periods[label], first[label]) for label in sorted(periods, key=lambda run: first[run])}


def _counted(trust: Trust) -> Counted:
    return Counted(
        units_of_several_variants=trust.several,
        events_against_exposure=trust.contrary,
        clocks_corrected=trust.corrected,
        repeats_dropped=trust.repeats,
        events_without_id=trust.bare,
        values_not_numbers=trust.not_numbers,
        events_without_exposure=trust.outside,
        verified_share=trust.verified / trust.traced if trust.traced else None,
    )


def choose(
    plans: Mapping[str, Mapping[str, Plan]], key: str | None, environment: str | None
) -> dict[str, list[Plan]]:
    """Those of a key (None: all) in an environment (None: all), by environment. RowsError where there is none."""
    chosen = {
        name: [plan for plan in known.values() if key is None or plan.key == key]
        for name, known in plans.items()
        if environment is None or name == environment
    }
    chosen = {name: found for name, found in chosen.items() if found}
    if not chosen:
        what = "no experiment" if key is None else f"no experiment {key!r}"
        where = "" if environment is None else f" in {environment}"
        known = sorted({one for found in plans.values() for one in found})
        raise RowsError(
            f"{what}{where}; there are {', '.join(known) if known else 'none in the definitions'}"
        )
    return chosen
