"""Lowers ordered rules with rollouts to one decision, and values to a parameter's answers
(docs/apis/feather.md: Order of evaluation, Rollouts, Variant names).

Shared by every format with Feather's shape of rules: what a rule serves is a `Choice` here, a value of a flag
or a variation of a feature. A disabled rule, and one that can never match, leaves no node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.assembler import Assembler, Exits, Label, spans
from fanion.definitions.lowering.builder import Builder, Identity
from fanion.definitions.lowering.conditions import Tree, emit
from fanion.definitions.lowering.values import Numbers, identity, value_text
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import Answer, Cause, HashKind, Node, Op, Reduction, Resolution

BUCKETS: Final = 10_000
"""Buckets of a rollout or split: per cent with two decimals."""

# Members of an enumeration cost a look-up that shows at ten thousand flags.
_TEXT_IN, _XXH64, _MODULO, _LITERAL = Op.TEXT_IN, HashKind.XXH64, Reduction.MODULO, PieceKind.LITERAL
_MATCHED, _SPLIT, _DEFAULT = Resolution.MATCHED, Resolution.SPLIT, Resolution.DEFAULT
_RULE, _ROLLOUT, _UNMATCHED, _ALWAYS = Cause.RULE, Cause.ROLLOUT, Cause.UNMATCHED, Cause.DEFAULT
_EMPTY = ("",)

Choice = Any


class Serving(msgspec.Struct, frozen=True, gc=False):
    """A lowered rule: when it matches, for which share, and what. `parts` are (basis points, choice), none of
    them empty, or None where every matching subject gets `choice`. `percentage` None: no rollout."""

    number: int
    rule_id: str
    when: Tree
    choice: Choice
    percentage: float | None = None
    parts: list[tuple[int, Choice]] | None = None


class End(msgspec.Struct, frozen=True, gc=False):
    """What an outcome of the decision means; the n-th belongs to outcome n."""

    resolution: Resolution
    choice: Choice
    rule_id: str | None
    cause: Cause


def rollout_limit(percentage: float) -> int:
    """Buckets below this are in: round(percentage * 100), clamped (docs/apis/feather.md: Rollouts)."""
    return round(max(0.0, min(100.0, percentage)) * 100)


def lower_rules(
    builder: Builder,
    key: str,
    rules: list[Serving],
    default: Choice,
    number: Callable[[Choice], int],
    *,
    split: int = -1,
) -> tuple[list[Node], list[End]]:
    """The nodes and the outcomes' meanings. `number` gives the variant number of a choice. `split`: the recorded
    one that its draws are of."""
    code: Assembler[End] = Assembler()
    for rule in rules:
        when, percentage, parts = rule.when, rule.percentage, rule.parts
        if when is False:
            continue
        if parts is None and percentage is not None:
            limit = rollout_limit(percentage)
            if limit == 0:
                continue
            if percentage < 100:
                parts = [(limit, rule.choice)]
        following = code.label()
        if when is not True:
            matched = code.label()
            emit(code, when, matched, following)
            code.place(matched)
        if parts is None:
            resolution, cause = (_MATCHED, _RULE) if percentage is None else (_SPLIT, _ROLLOUT)
            end = End(resolution, rule.choice, rule.rule_id, cause)
            code.outcome(end, resolution, number(rule.choice), rule.number, cause)
            if when is True:
                return code.finish()
        else:
            targets = [(width, code.label()) for width, _ in parts]
            salt = f"{key}:{rule.rule_id}:"
            emit_split(code, _TEXT_IN, builder.subject(), salt, targets, following, split=split)
            for (_, target), (_, choice) in zip(targets, parts, strict=True):
                code.place(target)
                end = End(_SPLIT, choice, rule.rule_id, _ROLLOUT)
                code.outcome(end, _SPLIT, number(choice), rule.number, _ROLLOUT)
        code.place(following)
    cause = _UNMATCHED if code.outcomes else _ALWAYS
    code.outcome(End(_DEFAULT, default, None, cause), _DEFAULT, number(default), cause=cause)
    return code.finish()


def lower_off(default: Choice, number: Callable[[Choice], int]) -> tuple[list[Node], list[End]]:
    """The same of what is switched off: everyone gets the default."""
    code: Assembler[End] = Assembler()
    end = End(Resolution.OFF, default, None, Cause.OFF)
    code.outcome(end, Resolution.OFF, number(default), cause=Cause.OFF)
    return code.finish()


def emit_split(
    code: Assembler[Any],
    op: Op,
    identities: Sequence[Identity],
    salt: str,
    shares: Sequence[tuple[int, Label]],
    nobody: Label,
    *,
    split: int = -1,
) -> None:
    """XXH64 of the salt and the first identity that is not empty, mod 10000, to the shares' targets. A bucket
    of none, and someone without an identity, goes to `nobody`. `op` says which values are an identity."""
    literal, drawn = Piece(_LITERAL, salt), code.label()
    for number, (slot, text) in enumerate(identities, 1):
        named = code.label()
        instead = code.label() if number < len(identities) else nobody
        code.test(op, slot, _EMPTY, Exits(instead, named, instead, instead))
        code.place(named)
        code.hash(_XXH64, (literal, text), _MODULO, BUCKETS, drawn)
        if instead is not nobody:
            code.place(instead)
    code.place(drawn)
    code.ranges(spans(shares, BUCKETS), nobody, split=split)


def lower_flag(
    builder: Builder,
    key: str,
    *,
    enabled: bool,
    default: Any,
    rules: list[Serving],
    names: dict[object, str],
    client_safe: bool,
    flag_id: str | None,
    source: str,
    basis: Any = None,
) -> tuple[int, Numbers]:
    """A flag of one value: its decision and its parameter. Returns the decision and the values' numbers. `basis`:
    what decides its draws, as the definitions say it; None: they are never recorded."""
    numbers = Numbers()
    if enabled:
        split = -1 if basis is None else builder.split(source, key, basis)
        nodes, ends = lower_rules(builder, key, rules, default, numbers.of, split=split)
    else:
        nodes, ends = lower_off(default, numbers.of)
    answers = [
        Answer(
            end.resolution,
            value_text(end.choice),
            names.get(identity(end.choice)) if names else None,
            end.rule_id,
            end.cause,
        )
        for end in ends
    ]
    decision = builder.decision(key, nodes)
    builder.parameter(
        key,
        decision,
        answers,
        client_safe=client_safe,
        group_id=flag_id,
        source=source,
        variants=tuple(names.values()),
    )
    return decision, numbers
