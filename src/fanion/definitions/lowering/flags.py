"""Lowers ordered rules with rollouts to one decision, and values to a parameter's answers (contract 4, 4.3,
4.4).

Shared by every format with Feather's shape of rules: what a rule serves is a `Choice` here, a value of a flag
or a variation of a feature. A disabled rule, and one that can never match, leaves no node.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.conditions import Tree, emit, size
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

# Members of an enumeration cost a look-up that shows at ten thousand flags.
_TEXT_IN, _XXH64, _MODULO, _LITERAL = Op.TEXT_IN, HashKind.XXH64, Reduction.MODULO, PieceKind.LITERAL
_MATCHED, _SPLIT, _DEFAULT = Resolution.MATCHED, Resolution.SPLIT, Resolution.DEFAULT
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


def rollout_limit(percentage: float) -> int:
    """Buckets below this are in: round(percentage * 100), clamped (contract 4.3)."""
    return round(max(0.0, min(100.0, percentage)) * 100)


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
            resolution = _MATCHED if percentage is None else _SPLIT
            nodes.append(Outcome(resolution, number(rule.choice), rule.number))
            ends.append(End(resolution, rule.choice, rule.rule_id))
            if when is True:
                return nodes, ends
        else:
            _emit_split(builder, nodes, ends, key, rule, parts, number)
    nodes.append(Outcome(_DEFAULT, number(default)))
    ends.append(End(_DEFAULT, default, None))
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
    split = at + 4
    following = split + 1 + len(parts)
    salt = Piece(_LITERAL, f"{key}:{rule.rule_id}:")
    nodes += (
        Test(_TEXT_IN, user, _EMPTY, at + 2, at + 1, at + 2, at + 2),
        Hash(_XXH64, (salt, user_text), _MODULO, BUCKETS, split),
        Test(_TEXT_IN, anonymous, _EMPTY, following, at + 3, following, following),
        Hash(_XXH64, (salt, anonymous_text), _MODULO, BUCKETS, split),
    )
    low = 0
    ranges: list[Range] = []
    for target, (width, _) in enumerate(parts, split + 1):
        ranges.append(Range(low, low + width - 1, target))
        low += width
    nodes.append(Ranges(tuple(ranges), following))
    for _, choice in parts:
        nodes.append(Outcome(_SPLIT, number(choice), rule.number))
        ends.append(End(_SPLIT, choice, rule.rule_id))


_encode = msgspec.json.Encoder().encode


def value_text(value: Any) -> str:
    """A value as JSON text; whole and fractional numbers keep their form."""
    if value is True:
        return "true"
    return "false" if value is False else _encode(value).decode()


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
