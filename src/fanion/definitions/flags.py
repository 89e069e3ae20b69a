"""Lowers ordered rules with rollouts to one decision, and values to a parameter's answers (contract 4, 4.3,
4.4).

Shared by every format with Feather's shape of rules: what a rule serves is a `Choice` here, a value of a flag
or a variation of a feature. A disabled rule, and one that can never match, leaves no node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from fanion.definitions.builder import Builder
from fanion.definitions.conditions import Tree, emit, size
from fanion.model.program import (
    Answer,
    Hash,
    HashKind,
    Node,
    Op,
    Outcome,
    Piece,
    PieceKind,
    Range,
    Ranges,
    Reduction,
    Resolution,
    Test,
)

BUCKETS: Final = 10_000
"""Buckets of a rollout or split: per cent with two decimals."""

Choice = Any


class Serving(NamedTuple):
    """A lowered rule: when it matches, for which share, and what. `parts` are (basis points, choice), or None
    where every matching subject gets `choice`; `percentage` None is a rule without rollout."""

    number: int
    rule_id: str
    when: Tree
    choice: Choice
    percentage: float | None = None
    parts: list[tuple[int, Choice]] | None = None


class End(NamedTuple):
    """What an outcome of the decision means; the n-th belongs to outcome n."""

    resolution: Resolution
    choice: Choice
    rule_id: str | None


def rollout_limit(percentage: float) -> int:
    """Buckets below this are in: round(percentage * 100), clamped (contract 4.3)."""
    return max(0, min(BUCKETS, round(percentage * 100)))


def lower_rules(
    builder: Builder, key: str, rules: list[Serving], default: Choice, number: Callable[[Choice], int]
) -> tuple[list[Node], list[End]]:
    """The nodes and the outcomes' meanings. `number` gives the variant number of a choice."""
    nodes: list[Node] = []
    ends: list[End] = []
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
        body = 1 if parts is None else 5 + len(parts)
        if when is not True:
            start = len(nodes) + size(when)
            emit(nodes, when, start, start + body)
        if parts is None:
            resolution = Resolution.MATCHED if percentage is None else Resolution.SPLIT
            nodes.append(Outcome(resolution, number(rule.choice), rule.number))
            ends.append(End(resolution, rule.choice, rule.rule_id))
            if when is True:
                return nodes, ends
        else:
            _emit_split(builder, nodes, ends, key, rule, parts, number)
    nodes.append(Outcome(Resolution.DEFAULT, number(default)))
    ends.append(End(Resolution.DEFAULT, default, None))
    return nodes, ends


def _emit_split(
    builder: Builder,
    nodes: list[Node],
    ends: list[End],
    key: str,
    rule: Serving,
    parts: list[tuple[int, Choice]],
    number: Callable[[Choice], int],
) -> None:
    """XXH64 of `key:rule:subject` mod 10000. The subject is the non-empty user id, else the non-empty
    anonymous id; without one the rule does not match."""
    user, anonymous, user_text, anonymous_text = builder.subject()
    at = len(nodes)
    following = at + 5 + len(parts)
    salt = Piece(PieceKind.LITERAL, f"{key}:{rule.rule_id}:")
    split = at + 4
    nodes += (
        Test(Op.TEXT_IN, user, ("",), at + 2, at + 1, at + 2, at + 2),
        Hash(HashKind.XXH64, (salt, user_text), Reduction.MODULO, BUCKETS, split),
        Test(Op.TEXT_IN, anonymous, ("",), following, at + 3, following, following),
        Hash(HashKind.XXH64, (salt, anonymous_text), Reduction.MODULO, BUCKETS, split),
    )
    low = 0
    ranges: list[Range] = []
    for target, (width, _) in enumerate(parts, split + 1):
        if width:
            ranges.append(Range(low, low + width - 1, target))
            low += width
    nodes.append(Ranges(tuple(ranges), following))
    for _, choice in parts:
        nodes.append(Outcome(Resolution.SPLIT, number(choice), rule.number))
        ends.append(End(Resolution.SPLIT, choice, rule.rule_id))


_encode = msgspec.json.Encoder().encode


def value_text(value: Any) -> str:
    """A value as JSON text; whole and fractional numbers keep their form."""
    return _encode(value).decode()


def identity(value: Any) -> object:
    """What makes two values the same: JSON type and content; 1 and 1.0 are one number, true is none."""
    kind = type(value)
    if kind is bool:
        return (bool, value)
    return value if kind is not dict and kind is not list else (kind, value_text(value))


class Numbers(dict[object, int]):
    """Variant numbers of a flag's values, in order of first use."""

    def of(self, value: Any) -> int:
        same = identity(value)
        number = self.get(same)
        if number is None:
            number = self[same] = len(self)
        return number

    def find(self, value: Any) -> int | None:
        """The number of a value that the flag serves, else None."""
        return self.get(identity(value))


def variant_names(variants: Any) -> dict[object, str]:
    """The name of each value: of several names for one value the first counts (contract 4.4)."""
    names: dict[object, str] = {}
    for variant in variants or ():
        names.setdefault(identity(variant.value), variant.key)
    return names


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
) -> tuple[int, Numbers]:
    """A flag of one value: its decision and its parameter. Returns the decision and the values' numbers."""
    numbers = Numbers()
    if enabled:
        nodes, ends = lower_rules(builder, key, rules, default, numbers.of)
    else:
        nodes, ends = [Outcome(Resolution.OFF, numbers.of(default))], [End(Resolution.OFF, default, None)]
    answers = [
        Answer(
            end.resolution,
            value_text(end.choice),
            names.get(identity(end.choice)) if names else None,
            end.rule_id,
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
