"""Experiments that features and policies are by themselves: which of them anybody met, and metrics out of the rows.

Their sources say what they are (`Plan.source`, `Plan.metrics_from`); here no source is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from fanion.model.experiment import MetricPlan, Plan
from fanion.results.tables import KINDS

METRICS_MAX: Final = 100
"""The most frequent events."""


def met(connection: Any, environment: str, plans: Sequence[Plan]) -> list[Plan]:
    """Those that are written out, and the derived ones that an exposure or an event names."""
    kinds = sorted({kind for kinds in KINDS.values() for kind in kinds} | {"metric"})
    found = connection.execute(
        """
        SELECT DISTINCT flag, kind FROM rows WHERE environment = $1 AND counts
            AND flag IN (SELECT unnest($2::VARCHAR[])) AND kind IN (SELECT unnest($3::VARCHAR[]))
        """,
        [environment, sorted({plan.flag for plan in plans if plan.source}), kinds],
    ).fetchall()
    named = set(found)
    return [
        plan
        for plan in plans
        if not plan.source or any((plan.flag, kind) in named for kind in (*KINDS[plan.exposure], "metric"))
    ]


def with_metrics(connection: Any, environment: str, plans: Sequence[Plan]) -> list[Plan]:
    """Each with its metrics: conversions, of the most frequent events first."""
    asked = {"flag": set[str](), "source": set[str]()}
    for plan in plans:
        if plan.metrics_from != "plan":
            asked[plan.metrics_from].add(plan.flag if plan.metrics_from == "flag" else plan.source)
    known: dict[tuple[str, str], list[str]] = {}
    for where, column in (("flag", "flag"), ("source", "dialect")):
        if not asked[where]:
            continue
        found = connection.execute(
            f"""
            SELECT {column}, metric FROM rows WHERE environment = $1 AND kind = 'metric' AND counts
                AND metric IS NOT NULL AND {column} IN (SELECT unnest($2::VARCHAR[]))
            GROUP BY ALL ORDER BY count(*) DESC, 2
            """,
            [environment, sorted(asked[where])],
        ).fetchall()
        for name, metric in found:
            known.setdefault((where, name), []).append(metric)
    made = []
    for plan in plans:
        if plan.metrics_from != "plan":
            name = plan.flag if plan.metrics_from == "flag" else plan.source
            names = known.get((plan.metrics_from, name), [])[:METRICS_MAX]
            plan = replace(plan, metrics=tuple(MetricPlan(metric, metric) for metric in names))
        made.append(plan)
    return made
