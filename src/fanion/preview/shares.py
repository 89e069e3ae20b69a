"""Whether lots fall as they are written: of the units that a flag draws for, who gets which share.

A flag's own draws are followed by the plain twin, node by node, for a sample of units. Each share that is written
(so many buckets of all, or a weight of all) is set beside what came of it. They are not the same where a draw
stands behind another one of the same lots (a rollout within half of a rollout draws nothing anew), where shares
overlap, and where lots are drawn by something of few values. A written experiment's shares are set beside the
variants that its units get.

Made-up units count once for each value that lots are drawn by, since how often such a value comes is made up as
well. Lists are taken for empty.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import msgspec

from fanion.engine.externals import make_external
from fanion.engine.reference import bind, trace
from fanion.model.context import EvaluationContext
from fanion.model.experiment import Plan
from fanion.model.parts import PieceKind
from fanion.model.program import Hash, Lowered, Outcome, Parameter, Ranges, Reduction, Source, Weights
from fanion.model.shape import ContextShape
from fanion.preview.changes import label
from fanion.preview.contexts import TARGETING_KEY, subject_of

UNITS_MAX: Final = 20_000
UNITS_MIN: Final = 2_000
PATHS_MAX: Final = 100_000
"""Over all flags: the twin takes 50 to 90 µs a path."""
FLAGS_MAX: Final = 50
DRAWN_MIN: Final = 100
"""Of fewer units nothing is said."""
DEVIATIONS: Final = 4.5
"""How many standard deviations chance is believed: beyond it one draw in 150,000 is by chance."""
SHOWN_MAX: Final = 5
BASIS_POINTS: Final = 10_000


class Share(msgspec.Struct, frozen=True):
    """One that isn't what is written. `gets`: what it leads to, in words. `written`, `found`: of all, 0 to 1.
    `units`: who drew. `experiment`: whose shares these are; "": the flag's own."""

    gets: str
    written: float
    found: float
    units: int
    experiment: str = ""


class Draw(NamedTuple):
    """A branching node of a decision. `shares`: target -> the share that is written; `pieces`: slots of what lots
    are drawn by."""

    node: int
    shares: dict[int, float]
    pieces: tuple[int, ...]


def units_for(flags: int) -> int:
    """How many units each of so many flags is followed for."""
    return max(UNITS_MIN, min(UNITS_MAX, PATHS_MAX // max(1, flags)))


def draws_of(lowered: Lowered, decision: int) -> list[Draw]:
    """Those that have shares. Models and weights of their own for each unit have none."""
    nodes = lowered.decisions[decision].nodes
    found: dict[int, Draw] = {}
    for node in nodes:
        if not isinstance(node, Hash):
            continue
        branch = nodes[node.on_done]
        if isinstance(branch, Ranges):
            buckets = BASIS_POINTS if node.reduction is Reduction.BASIS_POINTS else node.modulus
            shares: dict[int, float] = {}
            for one in branch.ranges:
                shares[one.target] = shares.get(one.target, 0.0) + (one.high - one.low + 1) / buckets
            shares.setdefault(branch.on_none, max(0.0, 1.0 - sum(shares.values())))
        elif isinstance(branch, Weights):
            whole = math.fsum(branch.weights)
            shares = {}
            for weight, target in zip(branch.weights, branch.targets, strict=True):
                shares[target] = shares.get(target, 0.0) + (weight / whole if whole else 0.0)
        else:
            continue
        slots = tuple(piece.slot for piece in node.pieces if piece.kind is not PieceKind.LITERAL)
        found.setdefault(node.on_done, Draw(node.on_done, shares, slots))
    return list(found.values())


def shares_off(
    lowered: Lowered,
    parameter: Parameter,
    contexts: Iterable[Mapping[str, Any]],
    plans: Sequence[Plan] = (),
    *,
    made_up: bool,
) -> list[Share]:
    """Those of one flag that aren't what is written, the farthest first. `plans`: experiments of the flag."""
    shape = lowered.shapes.get(parameter.source) or ContextShape()
    draws = {draw.node: draw for draw in draws_of(lowered, parameter.decision)}
    if not draws:
        return []
    nodes = lowered.decisions[parameter.decision].nodes
    counts = {node: dict.fromkeys(draw.shares, 0) for node, draw in draws.items()}
    seen: dict[int, set[Any]] = {node: set() for node in draws}
    variants: dict[str, int] = {}
    external = make_external()
    for given in contexts:
        attributes = {name: value for name, value in given.items() if name != TARGETING_KEY}
        context = shape.context(subject_of(dict(given)), attributes)
        result, path = trace(lowered, parameter.decision, context, external)
        own = [node for decision, node in path if decision == parameter.decision]
        fresh = True
        for here, target in pairwise(own):
            if here in draws:
                drawn = _drawn(lowered, draws[here], context) if made_up else len(seen[here])
                fresh = drawn not in seen[here]
                if fresh:
                    seen[here].add(drawn)
                    counts[here][target] = counts[here].get(target, 0) + 1
        end = nodes[own[-1]] if own else None
        if plans and fresh and isinstance(end, Outcome) and end.reached:
            variant = parameter.answers[result.outcome].variant
            if variant is not None:
                variants[variant] = variants.get(variant, 0) + 1
    found = [one for node, draw in draws.items() for one in _draw_off(lowered, parameter, draw, counts[node])]
    found += [one for plan in plans for one in _plan_off(plan, variants)]
    found.sort(key=lambda one: -abs(one.found - one.written))
    return found[:SHOWN_MAX]


def _drawn(lowered: Lowered, draw: Draw, context: EvaluationContext) -> Any:
    """What lots are drawn by; of computed slots the unit itself, which is another each time."""
    slots = [lowered.slots[number] for number in draw.pieces]
    if any(slot.source is Source.COMPUTED for slot in slots):
        return repr(context)
    return tuple(bind(slot, context).text for slot in slots)


def _draw_off(
    lowered: Lowered, parameter: Parameter, draw: Draw, counts: Mapping[int, int]
) -> Iterator[Share]:
    units = sum(counts.values())
    for target, written in draw.shares.items():
        if _beyond(counts.get(target, 0), units, written):
            gets = _gets(lowered, parameter, target)
            yield Share(gets, written, counts.get(target, 0) / units, units)


def _plan_off(plan: Plan, variants: Mapping[str, int]) -> Iterator[Share]:
    shares = plan.runs[-1].shares
    whole, units = sum(shares.values()), sum(variants.get(name, 0) for name in shares)
    for name, share in shares.items():
        if whole and _beyond(variants.get(name, 0), units, share / whole):
            yield Share(name, share / whole, variants.get(name, 0) / units, units, plan.key)


def _beyond(count: int, units: int, share: float) -> bool:
    """Whether so many of the units are no chance."""
    if units < DRAWN_MIN:
        return False
    allowed = DEVIATIONS * math.sqrt(units * share * (1.0 - share)) if 0.0 < share < 1.0 else 0.0
    return abs(count - units * share) > allowed + 1.0


def _gets(lowered: Lowered, parameter: Parameter, target: int) -> str:
    """The answers that a node leads to, in words."""
    nodes = lowered.decisions[parameter.decision].nodes
    order = {
        number: at for at, number in enumerate(n for n, node in enumerate(nodes) if isinstance(node, Outcome))
    }
    waiting, seen, answers = [target], {target}, dict[str, None]()
    while waiting:
        number = waiting.pop(0)
        node = nodes[number]
        if isinstance(node, Outcome):
            answers[label(parameter.answers[order[number]])] = None
            continue
        for below in _below(node):
            if below >= 0 and below not in seen:
                seen.add(below)
                waiting.append(below)
    return " or ".join(answers)


def _below(node: Any) -> Iterator[int]:
    """Every node that one leads to."""
    for name in ("on_true", "on_false", "on_missing", "on_mismatch", "on_done", "on_none"):
        if hasattr(node, name):
            yield getattr(node, name)
    yield from getattr(node, "targets", ())
    for one in (*getattr(node, "ranges", ()), *getattr(node, "alternatives", ())):
        yield one.target
