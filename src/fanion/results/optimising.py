"""Weights proposed for a policy: what the rows say of its allocations, and what follows (docs/optimise.md).

`bandit` has the arithmetic, `queries` the rows: a unit counts by its first exposure, with the rewards after it.
Raises RowsError where rows or the extra are missing, or nobody was exposed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

import msgspec

from fanion.errors import RowsError
from fanion.model.experiment import Exposure, MetricPlan, Plan, RunPlan
from fanion.model.weights import PolicyPlan, PolicyWeights
from fanion.pipeline.manifest import File
from fanion.pipeline.query import open_rows
from fanion.results.bandit import Reward, chances, together, weights
from fanion.results.cells import Cell
from fanion.results.compute import DAY_US
from fanion.results.queries import Rows
from fanion.results.statistics import Moments

ENTITIES_MAX: Final = 10_000
"""That get weights of their own in one proposal: those with the most units."""


class Asked(msgspec.Struct, frozen=True):
    """How weights are wanted. `reward`: the name of an event. `smallest`: less of it is better. `window_us`: how
    long after its exposure a unit's events count; a unit whose window is open doesn't yet. `entity_units`: so many
    units make weights of an entity's own."""

    reward: str
    type: Literal["conversion", "count", "sum"] = "conversion"
    exposure: Exposure = "sent"
    smallest: bool = False
    window_us: int | None = None
    since_us: int = 0
    floor: float = 0.01
    holdout: float = 0.0
    entity_units: int = 500
    seed: int = 0
    lead_us: int = 5_000_000


class Share(msgspec.Struct, frozen=True):
    """One allocation, of everyone or (`entity`) of an entity. `chance`: how probable it is the best."""

    entity: str | None
    allocation: str
    units: int
    mean: float
    chance: float
    current: float
    proposed: float


class Proposal(msgspec.Struct, frozen=True):
    """What would change, and why."""

    environment: str
    policy: str
    draws: str
    reward: str
    type: str
    exposure: str
    floor: float
    holdout: float
    seed: int
    units: int
    allocations: tuple[str, ...]
    shares: list[Share]
    notes: list[str]

    def weights(self, at: float, by: str) -> PolicyWeights:
        """As they are applied."""
        entities: dict[str, list[float]] = {}
        everyone: list[float] = []
        for share in self.shares:
            into = everyone if share.entity is None else entities.setdefault(share.entity, [])
            into.append(share.proposed)
        return PolicyWeights(
            allocations=self.allocations,
            everyone=tuple(everyone),
            entities={entity: tuple(own) for entity, own in entities.items()},
            at=at,
            floor=self.floor,
            holdout=self.holdout,
            reward=self.reward,
            by=by,
        )


def propose(directory: Path, environment: str, policy: PolicyPlan, asked: Asked) -> Proposal:
    """Raises RowsError."""
    if policy.refused:
        raise RowsError(f"no weights can be proposed for {policy.policy}: {policy.refused}")
    metric = MetricPlan("reward", asked.reward, asked.type, window_us=asked.window_us)
    runs = (RunPlan(asked.since_us),)
    plan = Plan("policy", policy.policy, asked.exposure, policy.allocations, (metric,), runs)
    first = (asked.since_us - asked.lead_us) // DAY_US - 1

    def chosen(file: File) -> bool:
        return file.environment == environment and file.day >= first

    with open_rows(directory, chosen) as connection:
        rows = Rows(connection, [plan], asked.lead_us, policy.entity_keys or None)
        (cells,) = rows.moments(plan, complete=True)
        trust = rows.trust(plan)
        waiting = 0 if asked.window_us is None else sum(one.open[0] for one in rows.counts(plan))
    everyone = _rewards(policy, cells, asked)
    units = sum(one.units for one in everyone)
    if not units:
        which = f"; {waiting:,} units' windows are still open" if waiting else ""
        raise RowsError(
            f"no unit of {policy.policy} with a reward to count, by `{asked.exposure}` rows{which}"
        )
    shares = _shares(policy, asked, None, everyone, None, policy.current)
    own = _entities(policy, cells, asked)
    for entity, rewards in own.items():
        current = policy.entities.get(entity, policy.current)
        shares += _shares(policy, asked, entity, rewards, everyone, current)
    notes = []
    if waiting:
        notes.append(f"{waiting:,} units whose window is open don't count yet")
    if trust.several:
        notes.append(f"{trust.several:,} units met several allocations; each counts for its first")
    if trust.bare:
        notes.append(f"{trust.bare:,} events have no id: what was sent again may count twice")
    if len(own) == ENTITIES_MAX:
        notes.append(f"only the {ENTITIES_MAX:,} entities with the most units get weights of their own")
    if policy.entity_keys and not own:
        keys = ", ".join(policy.entity_keys)
        notes.append(
            f"no entity has {asked.entity_units:,} units in rows that name it ({keys}): weights are everyone's"
        )
    return Proposal(
        environment=environment,
        policy=policy.policy,
        draws=policy.draws,
        reward=asked.reward,
        type=asked.type,
        exposure=asked.exposure,
        floor=asked.floor,
        holdout=asked.holdout,
        seed=asked.seed,
        units=units,
        allocations=policy.allocations,
        shares=shares,
        notes=notes,
    )


def _shares(
    policy: PolicyPlan,
    asked: Asked,
    entity: str | None,
    rewards: Sequence[Reward],
    prior: Sequence[Reward] | None,
    current: Sequence[float],
) -> list[Share]:
    chance = chances(rewards, asked.seed, prior=prior, smallest=asked.smallest)
    made = weights(chance, asked.floor, asked.holdout)
    return [
        Share(entity, name, one.units, one.mean, *rest)
        for name, one, *rest in zip(policy.allocations, rewards, chance, current, made, strict=True)
    ]


def _entities(policy: PolicyPlan, cells: dict[Cell, Moments], asked: Asked) -> dict[str, list[Reward]]:
    """Of entities with units enough, the most frequent first."""
    units: dict[str, int] = {}
    for cell, one in cells.items():
        if cell.segment is not None and policy.entity_keys:
            units[cell.segment] = units.get(cell.segment, 0) + one.units
    chosen = sorted(
        (entity for entity, count in units.items() if count >= asked.entity_units),
        key=lambda entity: (-units[entity], entity),
    )
    of: dict[str, dict[Cell, Moments]] = {entity: {} for entity in chosen[:ENTITIES_MAX]}
    for cell, one in cells.items():
        if cell.segment in of:
            of[cell.segment][cell] = one
    return {entity: _rewards(policy, own, asked) for entity, own in of.items()}


def _rewards(policy: PolicyPlan, cells: dict[Cell, Moments], asked: Asked) -> list[Reward]:
    """In the order of the allocations, all runs together: weights that move make no run of their own comparable."""
    binary = asked.type == "conversion"
    of: dict[str, list[Reward]] = {name: [] for name in policy.allocations}
    for cell, one in cells.items():
        of[cell.variant].append(Reward(one.units, one.mean, one.variance, binary))
    return [msgspec.structs.replace(together(many), binary=binary) for many in of.values()]
