"""The words of one condition: what a test asks, and which of its exits is taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fanion.bundle.describe import slot_text
from fanion.model.program import (
    Comparator,
    DecisionVariant,
    Lowered,
    Op,
    Outcome,
    Relation,
    Slot,
    Source,
    Test,
    Version,
)

VALUES_SHOWN: Final = 8
VALUE_CHARS: Final = 60
COMPUTED_CHARS: Final = 120

RELATIONS: Final = {Relation.LT: "<", Relation.LE: "≤", Relation.GT: ">", Relation.GE: "≥"}
EQUALS: Final = frozenset(
    {
        Op.EQ_BOOL,
        Op.EQ_INT64,
        Op.EQ_DOUBLE,
        Op.EQ_NUMBER,
        Op.EQ_STRING,
        Op.EQ_VERSION,
        Op.STRING_IN,
        Op.TEXT_IN,
    }
)
BETWEEN: Final = {
    Op.STRING_CONTAINS: "contains",
    Op.TEXT_CONTAINS: "contains",
    Op.STRING_STARTS: "starts with",
    Op.TEXT_STARTS: "starts with",
    Op.STRING_ENDS: "ends with",
    Op.TEXT_ENDS: "ends with",
    Op.STRING_REGEX: "matches the pattern",
    Op.TEXT_REGEX: "matches the pattern",
}
DOES_NOT: Final = {
    "contains": "doesn't contain",
    "starts with": "doesn't start with",
    "ends with": "doesn't end with",
    "matches the pattern": "doesn't match the pattern",
}


def slot_words(slot: Slot, slots: Sequence[Slot]) -> str:
    """What a rule looks at, as short as it can be said."""
    if slot.steps:
        text = slot_text(slot, tuple(slots))
        return text if len(text) <= COMPUTED_CHARS else f"{text[:COMPUTED_CHARS]}…"
    if slot.source is Source.CONTEXT_KEY:
        return f"{slot.context_type} key"
    if slot.source is Source.CONTEXT_KEYS:
        return "the keys of all contexts"
    if slot.source is Source.CONTEXT_ATTRIBUTE:
        return f"{slot.context_type}.{slot.name}"
    return slot.name


def words(test: Test, exits: frozenset[str], lowered: Lowered) -> str:
    """A condition: that one of these exits of a test is taken."""
    asks = isinstance(test.operand, DecisionVariant)
    subject = "" if asks else slot_words(lowered.slots[test.slot], lowered.slots)
    holds, fails = _both(test, subject, lowered)
    if isinstance(test.operand, DecisionVariant):
        return holds if "true" in exits else fails
    if exits >= {"true", "false"}:
        return f"{subject} is given"
    lacks = {
        frozenset({"missing"}): f"{subject} is missing",
        frozenset({"mismatch"}): f"{subject} is of another type",
        frozenset({"missing", "mismatch"}): f"{subject} is missing or of another type",
    }
    rest = exits - {"true", "false"}
    if "true" in exits:
        return f"{holds}, or {lacks[rest]}" if rest else holds
    if "false" in exits:
        plain = "missing" in exits or test.op is Op.PRESENT or test.operand in ("", ("",))
        return fails if plain else f"{fails}, and is given"
    return lacks.get(rest, holds)


def _both(test: Test, subject: str, lowered: Lowered) -> tuple[str, str]:
    """That it holds, and that it doesn't."""
    operand = test.operand
    if isinstance(operand, DecisionVariant):
        return _asked(operand, lowered)
    if test.op is Op.PRESENT:
        return f"{subject} is given", f"{subject} is not given"
    if test.op is Op.EQ_NULL:
        return f"{subject} is null", f"{subject} is not null"
    if test.op is Op.LIST_MEMBER:
        return f"{subject} is in the list {operand}", f"{subject} is not in the list {operand}"
    if test.op in BETWEEN:
        verb = BETWEEN[test.op]
        return f"{subject} {verb} {_values(operand)}", f"{subject} {DOES_NOT[verb]} {_values(operand)}"
    if test.op is Op.VERSION_MATCHES:
        wanted = " and ".join(_comparator(one) for one in operand if isinstance(one, Comparator))  # type: ignore[union-attr]
        return f"{subject} is a version {wanted}", f"{subject} is no version {wanted}"
    if test.op in EQUALS:
        shown = _values(operand)
        if shown == '""':
            return f"{subject} is empty", f"{subject} is not empty"
        return f"{subject} is {shown}", f"{subject} is not {shown}"
    sign = RELATIONS[test.relation]
    return f"{subject} {sign} {_values(operand)}", f"not {subject} {sign} {_values(operand)}"


def _asked(operand: DecisionVariant, lowered: Lowered) -> tuple[str, str]:
    """Of another flag, or of an audience, which nobody is served."""
    decision = lowered.decisions[operand.decision]
    served = next((one for one in lowered.parameters if one.decision == operand.decision), None)
    if served is None:
        kind, colon, name = decision.key.partition(":")
        audience = f"the {kind} {name}" if colon else f"the audience {kind}"
        return f"in {audience}", f"not in {audience}"
    ends = [node for node in decision.nodes if isinstance(node, Outcome)]
    named = (
        answer.variant or answer.value or ""
        for node, answer in zip(ends, served.answers, strict=False)
        if node.variant == operand.variant
    )
    variant = next(named, f"number {operand.variant}")
    return f"{served.key} answers {_cut(variant)}", f"{served.key} doesn't answer {_cut(variant)}"


def _values(operand: object) -> str:
    if not isinstance(operand, tuple):
        return _value(operand)
    shown = [_value(one) for one in operand[:VALUES_SHOWN]]
    if len(operand) == 1:
        return shown[0]
    more = len(operand) - VALUES_SHOWN
    return f"one of {', '.join(shown)}" + (f" and {more:,} more" if more > 0 else "")


def _value(one: object) -> str:
    if isinstance(one, bool):
        return "true" if one else "false"
    if isinstance(one, float):
        return f"{one:.15g}"
    return _cut(one) if isinstance(one, str) and one else ('""' if one == "" else str(one))


def _cut(text: str) -> str:
    return text if len(text) <= VALUE_CHARS else f"{text[: VALUE_CHARS - 1]}…"


def _comparator(one: Comparator) -> str:
    high = "" if one.high is None else f" and < {_version(one.high)}"
    return f"≥ {_version(one.low)}{high}"


def _version(one: Version) -> str:
    return f"{one.major}.{one.minor}.{one.patch}" + (f"-{one.pre}" if one.pre else "")
