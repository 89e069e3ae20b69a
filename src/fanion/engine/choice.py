"""The twin's arithmetic for nodes that choose by numbers, in the order that `fanion.model.choice` sets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from fanion.model.choice import GAMMA_MIN, Alternative, KeyedWeights, NumberTerm, Vector
from fanion.model.program import Kind


class Chosen(NamedTuple):
    """The registers that such nodes set, in the decision that was asked for; `vector` None: none, or equal
    weights."""

    choice: int = -1
    probability: float = 0.0
    vector: Vector | None = None


def score(alternative: Alternative, value: Callable[[int], Any]) -> float:
    """`value` binds a slot."""
    total = alternative.base
    for term in alternative.terms:
        bound = value(term.slot)
        if isinstance(term, NumberTerm):
            is_number = bound.kind in (Kind.DOUBLE, Kind.INT64)
            total += term.coefficient * float(bound.payload) if is_number else term.missing
        else:
            listed = dict(term.values)
            total += listed.get(bound.text, term.missing)
    return total


def probabilities(scores: Sequence[float], gamma: float, floor: float) -> list[float]:
    """Softmax, then the floor."""
    count = len(scores)
    found = [1.0]
    if count > 1:
        scaled = [one / max(gamma, GAMMA_MIN) for one in scores]
        largest = max(scaled)
        powers = [math.exp(one - largest) for one in scaled]
        total = add(powers)
        found = [power / total for power in powers]
    if floor <= 0:
        return found
    lowest = min(floor, 1.0 / count)
    raised = [max(one, lowest) for one in found]
    total = add(raised)
    return [one / total if total != 0 else 1.0 / count for one in raised]


def add(numbers: Sequence[float]) -> float:
    """One after another; `sum` rounds otherwise in newer Pythons."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def draw(weights: Sequence[float], unit: float) -> int:
    """The first whose running sum exceeds u, else the last."""
    total = 0.0
    for number, weight in enumerate(weights[:-1]):
        total += weight
        if unit < total:
            return number
    return len(weights) - 1


def count_of(node: KeyedWeights, value: Callable[[int], Any]) -> int | None:
    """How many alternatives there are; None where the slot doesn't say it."""
    if node.count_slot < 0:
        return len(node.targets)
    bound = value(node.count_slot)
    if bound.kind not in (Kind.DOUBLE, Kind.INT64):
        return None
    count = math.floor(bound.payload)
    return count if 1 <= count <= node.count_max else None


def pick(node: KeyedWeights, key: str, count: int, unit: float) -> Chosen:
    """The alternative under a key, once key and count are known."""
    vector = next((one for one in node.vectors if one.key == key), None)
    if vector is None or len(vector.weights) != count:
        vector = node.fallback
        if vector is not None and len(vector.weights) != count:
            vector = None
    weights = (1.0 / count,) * count if vector is None else vector.weights
    number = draw(weights, unit)
    return Chosen(number, weights[number], vector)
