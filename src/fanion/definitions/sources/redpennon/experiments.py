"""What experiment a feature is by itself (docs/apis/redpennon.md: Experiments): every one with two variations or
more that is targeted in the environment, told from `served` exposures.

The API names no metrics: they are the events that name the feature. Without recorded exposures such an experiment
has counts and no lift, as the API's events say which variation they are of, and not who was shown it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fanion.definitions.sources.redpennon.features import NAME, Feature, Rule, Targeting
from fanion.model.experiment import Plan, RunPlan

CONTROL: Final = "control"


def derived(slug: str, feature: Feature, targeting: Targeting | None, run: str | None) -> Plan | None:
    """None where there is nothing to compare. `run`: of its split as it is now, None where it isn't recorded."""
    if targeting is None or feature.status == "deleted" or len(feature.variations) < 2:
        return None
    control = CONTROL if CONTROL in feature.variations else targeting.default_variation
    others = (variation for variation in feature.variations if variation != control)
    # Shares are those of this publication: rows of another run had others, which nobody knows any more.
    shares = {} if run is None else _shares(targeting.rules)
    return Plan(
        key=slug,
        flag=slug,
        exposure="served",
        variants=(control, *others),
        metrics=(),
        runs=(RunPlan(0, shares, run),),
        name=feature.name,
        source=NAME,
        metrics_from="flag",
    )


def _shares(rules: Iterable[Rule]) -> dict[str, float]:
    """Those of all distributions, none where they differ."""
    found = [
        {share.variation: float(share.weight) for share in rule.distribution if share.weight}
        for rule in rules
        if isinstance(rule.distribution, list)
    ]
    return found[0] if found and all(one == found[0] for one in found) else {}
