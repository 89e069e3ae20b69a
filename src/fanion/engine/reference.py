"""The plain-Python twin of the core: the tests' oracle, `fanion eval`'s path. Long: every rule in one place.

It runs a `Lowered` environment directly, one node after another, with no bundle in between. Every rule of
`fanion.model.program` stands here in its plainest form. Slow on purpose: clarity is what it is for.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import xxhash

from fanion.engine.choice import Chosen, count_of, draw, pick, probabilities, score
from fanion.engine.expression import compute
from fanion.engine.expression_values import Beyond, Root
from fanion.engine.murmur import murmur3_32, murmur3_x64_128
from fanion.model.choice import KeyedWeights, Scores
from fanion.model.context import EvaluationContext
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import (
    TEXT_BYTES_MAX,
    Comparator,
    DecisionVariant,
    Hash,
    HashKind,
    Kind,
    Lowered,
    Op,
    Outcome,
    Profile,
    Ranges,
    Reduction,
    Relation,
    Resolution,
    Slot,
    Source,
    Test,
    Version,
    Weights,
)
from fanion.model.text import (
    compare_precedence,
    compare_versions,
    ecmascript_number,
    parse_decimal,
    parse_version,
    plain_decimal,
)

STRINGS_MAX = 1_000
"""A list of more texts than this is a value of kind OTHER."""

External = Callable[[int, str, str], bool]
"""(op, operand, text) -> does the text match; see `fanion.engine.externals`."""

_ABSENT = object()
_INDEX = re.compile(r"0|[1-9][0-9]{0,8}", re.ASCII)


class Result(NamedTuple):
    """`outcome` counts the decision's outcomes in node order; `bucket` is -1 where no bucket was computed."""

    outcome: int
    bucket: int


class Value(NamedTuple):
    """A bound slot. `payload` is the Python value of the kind; `text` the text form where there is one."""

    kind: Kind
    payload: Any = None
    text: str | None = None


def evaluate(
    lowered: Lowered, decision: int, context: EvaluationContext, external: External | None = None
) -> Result:
    """Run one decision. `external` answers the external operators; without it they are false."""
    return _Run(lowered, context, external).decide(decision)


def trace(
    lowered: Lowered, decision: int, context: EvaluationContext, external: External | None = None
) -> tuple[Result, list[tuple[int, int]]]:
    """As `evaluate`, with the path: (decision, node) in the order in which they ran."""
    run = _Run(lowered, context, external)
    return run.decide(decision), run.path


def choose(
    lowered: Lowered, decision: int, context: EvaluationContext, external: External | None = None
) -> tuple[Result, Chosen]:
    """As `evaluate`, with the registers that choosing nodes set."""
    run = _Run(lowered, context, external)
    return run.decide(decision), run.chosen.get(decision, Chosen())


def bind(slot: Slot, context: EvaluationContext) -> Value:
    """What a looked-up slot holds in a context."""
    found = _find(slot, context)
    return Value(Kind.MISSING) if found is _ABSENT else _type(found, slot.profile)


def _find(slot: Slot, context: EvaluationContext) -> Any:
    if slot.source is Source.CONTEXT_KEYS:
        return "".join(c.key for c in context.contexts) if context.contexts else _ABSENT
    if slot.source in (Source.CONTEXT_KEY, Source.CONTEXT_ATTRIBUTE):
        for typed in context.contexts:
            if typed.type == slot.context_type:
                return typed.key if slot.source is Source.CONTEXT_KEY else _look_up(typed.attributes, slot)
        return _ABSENT
    if slot.source in (Source.MEMBER, Source.MEMBER_OR_ATTRIBUTE):
        found = _look_up(context.members, slot)
        if found is not _ABSENT or slot.source is Source.MEMBER:
            return found
    return _look_up(context.attributes, slot)


def _look_up(values: dict[str, Any], slot: Slot) -> Any:
    if slot.name in values or not slot.dotted:
        return values.get(slot.name, _ABSENT)
    found: Any = values
    for part in slot.name.split("."):
        if isinstance(found, dict):
            found = found.get(part, _ABSENT)
        elif isinstance(found, list) and part == "length":
            found = len(found)
        elif (
            isinstance(found, list) and part.isascii() and part.isdigit() and (part == "0" or part[0] != "0")
        ):
            found = found[int(part)] if len(part) <= 9 and int(part) < len(found) else _ABSENT
        else:
            return _ABSENT
        if found is _ABSENT:
            return _ABSENT
    return found


def _type(found: Any, profile: Profile) -> Value:
    if found is None:
        return Value(Kind.NULL)
    if isinstance(found, bool):
        return Value(Kind.BOOL, found, "true" if found else "false")
    if isinstance(found, int | float):
        return _type_number(found, profile)
    if isinstance(found, str):
        if len(found.encode()) > TEXT_BYTES_MAX:
            return Value(Kind.OTHER)
        version = parse_version(found) if profile is Profile.VERSIONED else None
        return Value(Kind.STRING, found, found) if version is None else Value(Kind.VERSION, version, found)
    if isinstance(found, list) and len(found) <= STRINGS_MAX and all(isinstance(x, str) for x in found):
        size = sum(len(x.encode()) for x in found)
        return Value(Kind.STRINGS, tuple(found)) if size <= TEXT_BYTES_MAX else Value(Kind.OTHER)
    return Value(Kind.OTHER)


def _type_number(found: int | float, profile: Profile) -> Value:
    if isinstance(found, int):
        if -(2**63) <= found < 2**63 and profile is not Profile.DOUBLES:
            text = str(found) if profile is Profile.VERSIONED else ecmascript_number(float(found))
            return Value(Kind.INT64, found, text)
        try:
            found = float(found)
        except OverflowError:
            return Value(Kind.OTHER)
    if not math.isfinite(found):
        return Value(Kind.OTHER)
    text = plain_decimal(found) if profile is Profile.VERSIONED else ecmascript_number(found)
    return Value(Kind.DOUBLE, found, text)


def _ordered(order: int, relation: Relation) -> bool:
    return (order < 0, order <= 0, order > 0, order >= 0)[relation]


def _upper(text: str) -> str:
    return "".join(chr(ord(c) - 32) if "a" <= c <= "z" else c for c in text)


def _matches(comparators: tuple[Comparator, ...], version: Version) -> bool:
    for bound in comparators:
        if compare_precedence(version, bound.low) < 0:
            return False
        if bound.high is not None and compare_precedence(version, bound.high) >= 0:
            return False
        if version.pre and bound.pre_of != (version.major, version.minor, version.patch):
            return False
    return True


class _Run:
    """One request: slots and asked decisions are computed once."""

    def __init__(self, lowered: Lowered, context: EvaluationContext, external: External | None) -> None:
        self.lowered = lowered
        self.context = context
        self.external = external
        self.values: dict[int, Value] = {}
        self.results: dict[int, tuple[Result, Outcome]] = {}
        self.path: list[tuple[int, int]] = []
        self.chosen: dict[int, Chosen] = {}

    def value(self, slot: int) -> Value:
        if slot not in self.values:
            spec = self.lowered.slots[slot]
            computed = spec.source is Source.COMPUTED
            self.values[slot] = self.compute(spec) if computed else bind(spec, self.context)
        return self.values[slot]

    def compute(self, slot: Slot) -> Value:
        root = Root(self.context.members, self.context.attributes)
        try:
            found = compute(slot.steps, self.loaded, root)
        except Beyond:
            return Value(Kind.OTHER)
        # Numbers of expressions are doubles; a list or an object is no value of a slot.
        return Value(Kind.OTHER) if isinstance(found, list) else _type(found, Profile.PLAIN)

    def loaded(self, slot: int) -> Any:
        """A lower slot as an expression sees it: the context's own value, or what another expression gave."""
        spec = self.lowered.slots[slot]
        if spec.source is not Source.COMPUTED:
            found = _find(spec, self.context)
            return None if found is _ABSENT else found
        value = self.value(slot)
        if value.kind is Kind.OTHER:
            raise Beyond
        return value.payload

    def decide(self, decision: int) -> Result:
        return self.resolve(decision)[0]

    def resolve(self, decision: int) -> tuple[Result, Outcome]:
        if decision not in self.results:
            self.results[decision] = self.run(decision)
        return self.results[decision]

    def run(self, decision: int) -> tuple[Result, Outcome]:
        nodes = self.lowered.decisions[decision].nodes
        at, bucket, unit = 0, -1, 0.0
        while True:
            node = nodes[at]
            self.path.append((decision, at))
            if isinstance(node, Outcome):
                number = sum(isinstance(n, Outcome) for n in nodes[:at])
                return Result(number, bucket), node
            if isinstance(node, Test):
                at = self.test(node)
            elif isinstance(node, Hash):
                reduced = self.hash(node)
                if reduced is None:
                    at = node.on_missing
                    continue
                at = node.on_done
                if node.reduction is Reduction.UNIT53:
                    unit = reduced / 2.0**53
                else:
                    bucket = reduced
            elif isinstance(node, Ranges):
                at = next((r.target for r in node.ranges if r.low <= bucket <= r.high), node.on_none)
            elif isinstance(node, Weights):
                at = node.targets[draw(node.weights, unit)]
            else:
                at = self.alternative(decision, node, unit)

    def alternative(self, decision: int, node: Scores | KeyedWeights, unit: float) -> int:
        if isinstance(node, Scores):
            scores = [score(one, self.value) for one in node.alternatives]
            shares = probabilities(scores, node.gamma, node.floor)
            number = draw(shares, unit)
            self.chosen[decision] = Chosen(number, shares[number])
            return node.alternatives[number].target
        count = count_of(node, self.value)
        key = self.join(node.pieces, strict=True)
        if count is None or not key:
            return node.on_none
        chosen = self.chosen[decision] = pick(node, key, count, unit)
        return node.targets[chosen.choice if node.count_slot < 0 else 0]

    def join(self, pieces: tuple[Piece, ...], *, strict: bool) -> str | None:
        """The pieces' text. A slot without one counts as empty, or where `strict` makes the whole None."""
        parts: list[str] = []
        for piece in pieces:
            text = piece.literal
            if piece.kind is not PieceKind.LITERAL:
                bound = self.value(piece.slot).text
                if bound is None:
                    if strict:
                        return None
                    bound = ""
                text = bound if piece.kind is PieceKind.TEXT else str(len(bound.encode()))
            parts.append(text)
        return "".join(parts)

    def hash(self, node: Hash) -> int | None:
        """The reduced hash, or None where a slot has no text and the node has a missing exit."""
        joined = self.join(node.pieces, strict=node.on_missing >= 0)
        if joined is None:
            return None
        return reduce_hash(hash_text(joined.encode(), node.hash), node.reduction, node.modulus)

    def test(self, node: Test) -> int:
        passed = self.leaf(node)
        if passed is None:
            return node.on_mismatch
        if passed is _ABSENT:
            return node.on_missing
        return node.on_true if passed else node.on_false

    def leaf(self, node: Test) -> object:
        """True, False, None for mismatch, or _ABSENT for missing."""
        if isinstance(node.operand, DecisionVariant):
            outcome = self.resolve(node.operand.decision)[1]
            return None if outcome.resolution is Resolution.ERROR else outcome.variant == node.operand.variant
        value = self.value(node.slot)
        if value.kind is Kind.MISSING:
            return _ABSENT
        if node.op is Op.EQ_NULL:
            return value.kind is Kind.NULL
        if value.kind is Kind.NULL:
            return None
        if node.op is Op.PRESENT:
            return True
        if value.kind is Kind.STRINGS and node.any_element:
            elements = [self.compare(node, Value(Kind.STRING, text, text)) for text in value.payload]
            return any(element is True for element in elements)
        return self.compare(node, value)

    def compare(self, node: Test, value: Value) -> bool | None:
        op, operand, payload = node.op, node.operand, value.payload
        if op in _KINDS:
            if value.kind not in _KINDS[op]:
                return None
        elif value.text is None:
            return None
        match op:
            case Op.EQ_BOOL | Op.EQ_INT64 | Op.EQ_DOUBLE | Op.EQ_STRING:
                return bool(payload == operand)
            case Op.EQ_NUMBER:
                return bool(float(payload) == operand)
            case Op.EQ_VERSION:
                return bool(payload == parse_version(str(operand)))
            case Op.ORDER_INT64 | Op.ORDER_DOUBLE:
                return _ordered((payload > operand) - (payload < operand), node.relation)
            case Op.ORDER_NUMBER:
                return _ordered_numbers(float(payload), operand, node.relation)
            case Op.ORDER_VERSION:
                version = parse_version(str(operand))
                assert version is not None
                return _ordered(compare_versions(payload, version), node.relation)
            case Op.ORDER_TEXT:
                number = None if value.kind is Kind.BOOL else parse_decimal(value.text or "")
                return number is not None and _ordered_numbers(number, operand, node.relation)
            case Op.VERSION_MATCHES:
                return _matches(operand, payload)  # type: ignore[arg-type]
            case Op.TEXT_REGEX | Op.STRING_REGEX | Op.LIST_MEMBER:
                text = value.text or ""
                return self.external is not None and self.external(int(op), str(operand), text)
        return _compare_text(node, value.text or "")


_STRING = frozenset({Kind.STRING})
_KINDS = {
    Op.EQ_BOOL: frozenset({Kind.BOOL}),
    Op.EQ_INT64: frozenset({Kind.INT64}),
    Op.EQ_DOUBLE: frozenset({Kind.DOUBLE}),
    Op.EQ_NUMBER: frozenset({Kind.INT64, Kind.DOUBLE}),
    Op.EQ_STRING: _STRING,
    Op.EQ_VERSION: frozenset({Kind.VERSION}),
    Op.ORDER_INT64: frozenset({Kind.INT64}),
    Op.ORDER_DOUBLE: frozenset({Kind.DOUBLE}),
    Op.ORDER_NUMBER: frozenset({Kind.INT64, Kind.DOUBLE}),
    Op.ORDER_VERSION: frozenset({Kind.VERSION}),
    Op.STRING_IN: _STRING,
    Op.STRING_CONTAINS: _STRING,
    Op.STRING_STARTS: _STRING,
    Op.STRING_ENDS: _STRING,
    Op.STRING_REGEX: _STRING,
    Op.VERSION_MATCHES: frozenset({Kind.VERSION}),
}


def _ordered_numbers(number: float, operand: Any, relation: Relation) -> bool:
    return bool((number < operand, number <= operand, number > operand, number >= operand)[relation])


def _compare_text(node: Test, text: str) -> bool:
    operand: Any = node.operand
    match node.op:
        case Op.STRING_IN | Op.TEXT_IN:
            return _upper(text) in {_upper(x) for x in operand} if node.fold else text in operand
        case Op.STRING_CONTAINS | Op.TEXT_CONTAINS:
            return operand in text
        case Op.STRING_STARTS | Op.TEXT_STARTS:
            return text.startswith(operand)
        case Op.STRING_ENDS | Op.TEXT_ENDS:
            return text.endswith(operand)
    raise AssertionError(f"operator {node.op!r} has no text form")


def hash_text(data: bytes, kind: HashKind) -> int:
    """The hash as the unsigned integer that `Reduction` speaks of."""
    match kind:
        case HashKind.XXH64:
            return xxhash.xxh64_intdigest(data)
        case HashKind.SHA256:
            return int.from_bytes(hashlib.sha256(data).digest()[:8], "big")
        case HashKind.MURMUR3_128:
            return murmur3_x64_128(data)
        case HashKind.MURMUR3_32:
            return murmur3_32(data)


def reduce_hash(value: int, reduction: Reduction, modulus: int) -> int:
    """From hash to bucket; for UNIT53 the numerator of u."""
    match reduction:
        case Reduction.MODULO:
            return value % modulus
        case Reduction.BASIS_POINTS:
            return value % 100_000 // 10
        case Reduction.SCALE32:
            return (value * modulus) >> 32
        case Reduction.UNIT53:
            return value % 2**53
