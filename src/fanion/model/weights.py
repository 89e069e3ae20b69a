"""Weights that were applied to policies by command, over the definitions (docs/optimise.md).

The store keeps an environment's by their policies, and every compilation lays them over what the definitions say.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import msgspec


class PolicyWeights(msgspec.Struct, frozen=True, omit_defaults=True):
    """`everyone`: of entities without weights of their own, in the order of `allocations`. `at`: Unix seconds. The
    others say what they were made by; the next proposal keeps floor and holdout."""

    allocations: tuple[str, ...]
    everyone: tuple[float, ...]
    entities: dict[str, tuple[float, ...]] = {}
    at: float = 0.0
    floor: float = 0.0
    holdout: float = 0.0
    reward: str = ""
    by: str = ""

    def fit(self, allocations: Collection[str]) -> bool:
        """Whether the policy still has these allocations, and no others."""
        return len(allocations) == len(self.allocations) and set(allocations) == set(self.allocations)

    @property
    def noted(self) -> str:
        """`at` as an ISO 8601 time."""
        return datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def ordered(self, weights: Sequence[float], allocations: Sequence[str]) -> list[float]:
        """Weights of this, in the policy's order."""
        by_name = dict(zip(self.allocations, weights, strict=True))
        return [by_name[name] for name in allocations]


Applied: TypeAlias = Mapping[str, PolicyWeights]
"""Of an environment, by the policies' ids."""


class PolicyPlan(msgspec.Struct, frozen=True):
    """A policy as whoever proposes weights reads it. `current`: what is served, of everyone and by entity. `draws`:
    what the weights become. `refused`: why nothing can be proposed. `literal`: what
    ends the input of its draw's hash, where nobody but the server draws."""

    policy: str
    allocations: tuple[str, ...]
    draws: Literal["entity weights", "bucket ranges"]
    current: tuple[float, ...]
    entities: dict[str, tuple[float, ...]] = {}
    entity_keys: tuple[str, ...] = ()
    refused: str = ""
    literal: str = ""


def laid_with(overrides: str, applied: Applied) -> str:
    """A digest of what lies over a bundle: that of its overrides (`model.override.laid`), and of its weights where
    there are some."""
    if not applied:
        return overrides
    said = msgspec.json.encode((overrides, applied), order="deterministic")
    return hashlib.sha256(said).hexdigest()[:32]
