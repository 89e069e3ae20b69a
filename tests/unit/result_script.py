"""The demo experiment's numbers once more, in plain Python, straight from docs/results.md: it shares nothing with
the code under test, and is as slow as it is plain."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from tests.unit.result_rows import Row

S = 1_000_000
HOUR = 3_600 * S
FAR = 1 << 60


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def covariance(one: list[float], other: list[float]) -> float:
    a, b = mean(one), mean(other)
    return math.fsum((x - a) * (y - b) for x, y in zip(one, other, strict=True)) / (len(one) - 1)


def digest(row: Row) -> str:
    return row["unit"] if row.get("unit_hashed") else hashlib.sha256(row["unit"].encode()).hexdigest()


class Script:
    """`experiment`: as its definition says it, with `start_us`, `end_us` and the runs' starts as microseconds."""

    def __init__(
        self,
        rows: Iterable[Row],
        flag: str,
        experiment: dict[str, Any],
        start: int,
        end: int,
        changes: list[int],
    ) -> None:
        self.experiment, self.start, self.end = experiment, start, end
        self.rows = list(rows)
        seen: dict[str, list[tuple[int, str, str]]] = defaultdict(list)
        for row in self.rows:
            if row["kind"] == "served" and row["flag"] == flag and start <= row["event_at"] <= end:
                period = sum(row["event_at"] >= change for change in changes)
                seen[digest(row)].append(
                    (row["event_at"], row["variant"], row.get("run") or f"period {1 + period}")
                )
        self.first = {unit: min(rows) for unit, rows in seen.items()}
        self.several = sum(len({variant for _, variant, _ in rows}) > 1 for rows in seen.values())
        self.events: dict[str, list[Row]] = defaultdict(list)
        self.flag = flag
        self.repeated: list[Row] = []
        self._numbers: dict[str, Any] = {}
        ids: set[str] = set()
        kept = [row for row in self.rows if row["kind"] == "metric" and row.get("counts", True)]
        for row in sorted(kept, key=lambda row: row["event_at"]):
            if row.get("event_id") in ids:
                self.repeated.append(row)
                continue
            if row.get("event_id"):
                ids.add(row["event_id"])
            self.events[digest(row)].append(row)

    def numbers(
        self, name: str, after: int = 5 * S
    ) -> dict[tuple[str, str], list[tuple[float, float, float]]]:
        """(variant, run) -> (y, d, x) of each unit."""
        if name in self._numbers:
            return self._numbers[name]
        metric = self.experiment["metrics"][name]
        kind, cap = metric.get("type", "conversion"), metric.get("cap", math.inf)
        window = metric.get("window_hours")
        before = self.experiment.get("pre_period_hours", 0) * HOUR
        made = defaultdict(list)
        for unit, (at, variant, run) in self.first.items():
            own = self.events.get(unit, [])
            last = self.end if window is None else at + window * HOUR

            def taken(event: str, low: int, high: int, own: list[Row] = own) -> list[Row]:
                return [row for row in own if row["metric"] == event and low <= row["event_at"] <= high]

            inside = taken(metric["event"], at - after, last)
            earlier = taken(metric["event"], at - after - before, at - after - 1) if before else []
            d, x = 1.0, 0.0
            if kind == "conversion":
                y, x = float(bool(inside)), float(bool(earlier))
            elif kind == "count":
                y, x = min(len(inside), cap), min(len(earlier), cap)
            elif kind == "ratio":
                y, d = len(inside), len(taken(metric["denominator_event"], at - after, last))
            else:
                values = [row["value"] for row in inside if row["value"] is not None]
                y = min(math.fsum(values), cap)
                x = min(math.fsum(row["value"] for row in earlier if row["value"] is not None), cap)
                d = len(values) if kind == "mean" else 1.0
                x = 0.0 if kind == "mean" else x
            made[variant, run].append((float(y), float(d), float(x)))
        self._numbers[name] = made
        return made

    def counted(self, after: int = 5 * S) -> dict[str, float | int | None]:
        """Of the metrics of this experiment, which has one without a window: up to its end."""
        metrics = self.experiment["metrics"].values()
        names = {
            name for metric in metrics for name in (metric["event"], metric.get("denominator_event")) if name
        }
        summed = {metric["event"] for metric in metrics if metric.get("type") in ("sum", "mean")}

        def inside(row: Row) -> bool:
            at = self.first.get(digest(row), (FAR,))[0]
            return row["metric"] in names and at - after <= row["event_at"] <= self.end

        kept = [row for own in self.events.values() for row in own if inside(row)]
        repeated = [row for row in self.repeated if inside(row)]
        exposures = [
            row
            for row in self.rows
            if row["kind"] == "served"
            and row["flag"] == self.flag
            and self.start <= row["event_at"] <= self.end
        ]
        every = [row for own in self.events.values() for row in own] + self.repeated
        traced = [row["verified"] for row in kept if row.get("verified") is not None]
        return {
            "units_of_several_variants": self.several,
            "events_against_exposure": sum(
                row.get("flag") == self.flag and row["variant"] != self.first[digest(row)][1] for row in kept
            ),
            "clocks_corrected": sum(row.get("time_from") == "implausible" for row in kept + exposures),
            "repeats_dropped": len(repeated),
            "events_without_id": sum(row.get("event_id") is None for row in kept),
            "values_not_numbers": sum(row["metric"] in summed and row["value"] is None for row in kept),
            "events_without_exposure": sum(
                row["metric"] in names
                and self.start <= row["event_at"] <= self.end
                and digest(row) not in self.first
                for row in every
            ),
            "verified_share": sum(traced) / len(traced) if traced else None,
        }

    def compare(self, name: str, control: str = "control", treatment: str = "treatment") -> dict[str, float]:
        """Difference, always-valid interval and p, lift, the fixed interval's standard error and degrees."""
        numbers = self.numbers(name)
        runs = sorted({run for _, run in numbers})
        whole = sum(len(units) for units in numbers.values())
        effect = variance = squares = 0.0
        means, variances = [0.0, 0.0], [0.0, 0.0]
        for run in runs:
            sides = [numbers[control, run], numbers[treatment, run]]
            together = sides[0] + sides[1]
            weight = len(together) / whole
            every_y, every_x = [y for y, _, _ in together], [x for _, _, x in together]
            spread = covariance(every_x, every_x)
            theta = covariance(every_y, every_x) / spread if spread else 0.0
            for number, side in enumerate(sides):
                y, d, x = ([float(one[part]) for one in side] for part in range(3))
                ratio = mean(y) / mean(d)
                base, others = mean(d), zip(y, d, x, strict=True)
                parts = [(a - ratio * b) / base - theta * c for a, b, c in others]
                part = weight**2 * covariance(parts, parts) / len(side)
                means[number] += weight * (ratio - theta * (mean(x) - mean(every_x)))
                variances[number] += part
                squares += part**2 / (len(side) - 1)
        effect, variance = means[1] - means[0], sum(variances)
        rho2 = (-2 * math.log(0.05) + math.log(1 - 2 * math.log(0.05))) / 5000
        grown = whole * rho2 + 1
        reach = math.sqrt(2 * grown / (grown - 1) * math.log(math.sqrt(grown) / 0.05))
        width = math.sqrt(variance) * reach
        e_value = math.exp(rho2 * effect**2 * whole / variance / (2 * grown)) / math.sqrt(grown)
        lift_error = math.sqrt(variances[1] / means[0] ** 2 + variances[0] * means[1] ** 2 / means[0] ** 4)
        return {
            "units": whole,
            "difference": effect,
            "lower": effect - width,
            "upper": effect + width,
            "p": min(1.0, 1 / e_value),
            "error": math.sqrt(variance),
            "degrees": variance**2 / squares,
            "lift": effect / means[0],
            "lift_lower": effect / means[0] - lift_error * reach,
            "lift_upper": effect / means[0] + lift_error * reach,
        }
