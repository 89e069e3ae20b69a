"""What experiment a policy is by itself (docs/apis/traffical.md: Experiments): every one with two allocations or
more, told from what SDKs sent, from a unit's first exposure on and without a window.

Its metrics are the bundle's event definitions, and where it has none every event of the API: whether a unit had
such an event. No shares are planned: what an SDK sends doesn't say which ones were in force when it drew.
"""

from __future__ import annotations

from typing import Any, Final

from fanion.definitions.reading import limits
from fanion.definitions.sources.traffical.files import NAME, Policy
from fanion.model.experiment import MetricPlan, Plan, RunPlan

CONTROL: Final = "control"
LEARNS: Final = (
    "its shares change by themselves, so units of different times weigh differently in each variant: "
    "a difference may be one between times"
)


def derived(policy: Policy, metrics: tuple[MetricPlan, ...]) -> Plan | None:
    """None where there is nothing to compare."""
    head, config = policy.head, policy.head.entity_config
    variants = dict.fromkeys(one.identity for one in policy.allocations)
    dynamic = config is not None and config.dynamic_allocations is not None
    if dynamic or not 2 <= len(variants) <= limits.VARIANTS_MAX:
        return None
    control = CONTROL if CONTROL in variants else next(iter(variants))
    learns = head.kind == "adaptive" or head.contextual_model is not None or bool(policy.mode)
    return Plan(
        key=head.id,
        flag=head.id,
        exposure="sent",
        variants=(control, *(one for one in variants if one != control)),
        metrics=(),
        runs=(RunPlan(0),),
        name=head.key or "",
        source=NAME,
        metrics_from="plan" if metrics else "source",
        note=LEARNS if learns else "",
    )


def metrics_of(definitions: list[Any]) -> tuple[MetricPlan, ...]:
    """The first of them, as many as an experiment may have."""
    names = dict.fromkeys(one["name"] for one in definitions if isinstance(one.get("name"), str))
    return tuple(MetricPlan(name, name) for name in list(names)[: limits.METRICS_MAX])
