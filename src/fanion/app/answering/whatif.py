"""One flag for one context: the answer of each API, the way through the rules, and where a draw put the unit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from fanion.app.answering.programs import Program, Programs
from fanion.app.answering.words import answer_words, override_words
from fanion.app.asking import answers_of, parse_context
from fanion.bundle.wording import slot_words, words
from fanion.console.questions import WORDS_MAX, Draw, Explained, Step, WhatIf
from fanion.engine.evaluator import open_environment
from fanion.engine.externals import make_external
from fanion.engine.reference import bind, trace
from fanion.model.context import EvaluationContext
from fanion.model.parts import PieceKind
from fanion.model.program import (
    Decision,
    DecisionVariant,
    Hash,
    Kind,
    Lowered,
    Op,
    Outcome,
    Parameter,
    Ranges,
    Reduction,
    Test,
    Weights,
)

STEPS_MAX: Final = 300
EXITS: Final = ("true", "false", "missing", "mismatch")


def explain(programs: Programs, asked: WhatIf) -> Explained:
    """Raises ConfigError for a context that isn't one, StoreError."""
    context = parse_context(asked.context)
    with programs.pinned() as pinned:
        program = programs.of(pinned, asked.environment)
        parameter = program.parameter(asked.source, asked.key)

        def is_member(name: str, member: str) -> bool:
            return pinned.member(asked.environment, name, member.encode())

        external = make_external(is_member)
        bundle = open_environment(
            asked.environment,
            program.served.bundle,
            lambda name, member: external(Op.LIST_MEMBER, name, member),
        )
        apis: list[tuple[str, str]] = []
        read = context
        for one in answers_of(bundle, program.served.tables, asked.key, context, asked.source):
            apis.append((one.dialect, _indented(one.shown)))
            read = one.context
        override = program.override(parameter)
        result, path = trace(program.lowered, parameter.decision, read, external)
        end = program.lowered.decisions[parameter.decision].nodes[path[-1][1]]
        assert isinstance(end, Outcome)
        return Explained(
            generation=pinned.number,
            environment=asked.environment,
            source=asked.source,
            key=asked.key,
            answer=answer_words(parameter, result.outcome),
            resolution=end.resolution.name.lower(),
            apis=apis,
            steps=list(_steps(program, parameter, path[:STEPS_MAX], read)),
            override=None if override is None else override_words(asked.environment, override),
        )


def _indented(text: str) -> str:
    try:
        shown = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except ValueError:
        shown = text
    return shown[: 20 * WORDS_MAX]


def _steps(
    program: Program, parameter: Parameter, path: list[tuple[int, int]], context: EvaluationContext
) -> Iterator[Step]:
    lowered = program.lowered
    drawn: dict[int, int] = {}
    for at, (number, node_number) in enumerate(path):
        decision = lowered.decisions[number]
        node = decision.nodes[node_number]
        following = next((other for where, other in path[at + 1 :] if where == number), None)
        if isinstance(node, Test):
            yield _tested(lowered, decision, node, following, context)
        elif isinstance(node, Hash):
            drawn[number] = at
            yield _hashed(lowered, decision, node, context)
        elif isinstance(node, Ranges | Weights) and following is not None:
            yield _fell(lowered, decision, node, following, parameter, context)
        elif isinstance(node, Outcome) and number != parameter.decision:
            yield Step(decision.key, "so it holds" if node.variant else "so it doesn't", "", None)


def _tested(
    lowered: Lowered, decision: Decision, node: Test, following: int | None, context: EvaluationContext
) -> Step:
    targets = node.on_true, node.on_false, node.on_missing, node.on_mismatch
    exits = frozenset(name for name, target in zip(EXITS, targets, strict=True) if target == following)
    said = words(node, exits or frozenset({"true"}), lowered)
    if isinstance(node.operand, DecisionVariant):
        return Step(decision.key, said, "", None)
    return Step(
        decision.key,
        said,
        slot_words(lowered.slots[node.slot], lowered.slots),
        _held(lowered, node.slot, context),
    )


def _held(lowered: Lowered, slot: int, context: EvaluationContext) -> str | None:
    """What a looked-up slot has, as JSON."""
    one = lowered.slots[slot]
    if one.steps:
        return None
    value = bind(one, context)
    if value.kind is Kind.MISSING:
        return None
    if value.kind is Kind.OTHER:
        return "an object, or a list"
    text = msgspec.json.encode(value.payload, enc_hook=str).decode()
    return text if len(text) <= WORDS_MAX else f"{text[:WORDS_MAX]}…"


def _hashed(lowered: Lowered, decision: Decision, node: Hash, context: EvaluationContext) -> Step:
    parts = []
    for piece in node.pieces:
        if piece.kind is PieceKind.LITERAL:
            parts.append(piece.literal)
        elif piece.kind is PieceKind.TEXT:
            parts.append(f"‹{slot_words(lowered.slots[piece.slot], lowered.slots)}›")
    slots = [piece.slot for piece in node.pieces if piece.kind is PieceKind.TEXT]
    value = _held(lowered, slots[0], context) if slots else None
    by = slot_words(lowered.slots[slots[0]], lowered.slots) if slots else ""
    return Step(decision.key, f"lots are drawn: {node.hash.name} of {''.join(parts)}"[:WORDS_MAX], by, value)


def _fell(
    lowered: Lowered,
    decision: Decision,
    node: Ranges | Weights,
    following: int,
    parameter: Parameter,
    context: EvaluationContext,
) -> Step:
    ends = {number: n for n, number in enumerate(_ends(decision))}

    def label(target: int) -> str:
        if target in ends and lowered.decisions[parameter.decision] is decision:
            shown = answer_words(parameter, ends[target])
            return shown.variant or shown.value
        return "goes on below" if target not in ends else f"outcome {ends[target]}"

    if isinstance(node, Weights):
        return Step(decision.key, f"by weights: {label(following)}", "", None)
    hashed = next(
        one for one in decision.nodes if isinstance(one, Hash) and decision.nodes[one.on_done] is node
    )
    buckets = 10_000 if hashed.reduction is Reduction.BASIS_POINTS else max(hashed.modulus, 1)
    bucket = _bucket(lowered, decision, context)
    draw = None if bucket is None else _drawn(node, bucket, buckets, label, following)
    shown = "" if bucket is None else f"bucket {bucket:,} of {buckets:,}: "
    return Step(decision.key, f"{shown}{label(following)}", "", None, draw)


def _ends(decision: Decision) -> Iterator[int]:
    return (number for number, node in enumerate(decision.nodes) if isinstance(node, Outcome))


def _bucket(lowered: Lowered, decision: Decision, context: EvaluationContext) -> int | None:
    """As the twin draws it; externals don't bear on it where the way there was gone already."""
    number = next(n for n, one in enumerate(lowered.decisions) if one is decision)
    result, _ = trace(lowered, number, context, lambda *_: False)
    return None if result.bucket < 0 else result.bucket


def _drawn(node: Ranges, bucket: int, buckets: int, label: Any, following: int) -> Draw:
    parts: list[tuple[float, float, str, bool]] = []
    at = 0
    for row in sorted(node.ranges, key=lambda row: row.low):
        if row.low > at:
            parts.append((at / buckets, row.low / buckets, label(node.on_none), node.on_none == following))
        if row.high >= row.low:
            high = min(row.high + 1, buckets)
            parts.append((row.low / buckets, high / buckets, label(row.target), row.target == following))
            at = max(at, high)
    if at < buckets:
        parts.append((at / buckets, 1.0, label(node.on_none), node.on_none == following))
    middle = (bucket + 0.5) / buckets
    edges = [
        edge
        for low, high, text, _ in parts
        for edge, others in (
            (low, [p for p in parts if p[1] == low]),
            (high, [p for p in parts if p[0] == high]),
        )
        if any(other[2] != text for other in others)
    ]
    nearest = min((abs(edge - middle) for edge in edges), default=None)
    return Draw(bucket, buckets, middle, parts[:60], nearest)
