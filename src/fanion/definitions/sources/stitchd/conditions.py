"""stitchd's conditions: read from both their forms, and lowered to leaf tests (docs/apis/stitchd.md: Types,
Conditions).

Flat: `{"op": NAME, ...}` with `children` (And, Or) or `child` (Not). Storage form: `{"Leaf": {NAME: ...}}`,
`{"And": [...]}`, `{"Or": [...]}`, `{"Not": ...}`. They may stand in each other.

A condition ends in one of four ways: true, false, missing (no such context or parameter) or mismatch. Inside
And and Or a missing child counts as false and the next is tried, so that nothing leaves them as missing; Not
hands missing and mismatch on; a mismatch leaves the whole expression at once. `emit` is the one place that
says so.
"""

from __future__ import annotations

import enum
import math
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.assembler import Assembler, Exits
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading import limits
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.sources.stitchd.versions import CARET, GTE, TILDE, comparator
from fanion.model.program import DecisionVariant, Op, Operand, Profile, Relation, Slot, Source
from fanion.model.text import parse_version

Scalar = bool | int | float | str

RELATIONS: Final = {"Lt": Relation.LT, "Lte": Relation.LE, "Gt": Relation.GT, "Gte": Relation.GE}
TEXTS: Final = {
    "Contains": (Op.STRING_CONTAINS, "substr"),
    "StartsWith": (Op.STRING_STARTS, "prefix"),
    "EndsWith": (Op.STRING_ENDS, "suffix"),
}
VERSIONS: Final = (GTE, TILDE, CARET)
COMPARISONS: Final = ("Eq", "Ne", *RELATIONS, *TEXTS, *VERSIONS)
MEMBERSHIPS: Final = ("InSegment", "NotInSegment")
EVALUATED: Final = "FlagEvaluatedAs"
LEAVES: Final = (*COMPARISONS, *MEMBERSHIPS, EVALUATED)
GROUPS: Final = ("And", "Or", "Not")


class Kind(enum.Enum):
    """What an attribute or operand of JSON is to the engine: the first fit, in this order
    (docs/apis/stitchd.md: Types)."""

    BOOL = 0
    INT = 1
    DOUBLE = 2
    SEMVER = 3
    STR = 4


def kind_of(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return Kind.BOOL
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return Kind.INT
    if isinstance(value, int | float):
        return Kind.DOUBLE
    return Kind.STR if parse_version(value) is None else Kind.SEMVER


class Comparison(msgspec.Struct, frozen=True):
    """A test of one parameter. `operand`: a scalar, or the text or version that the operator takes."""

    op: str
    context_type: str
    param: str
    operand: Scalar


class Membership(msgspec.Struct, frozen=True):
    """InSegment or NotInSegment, of a segment's id or key."""

    segment: str
    negative: bool


class Evaluated(msgspec.Struct, frozen=True):
    """FlagEvaluatedAs: ids or keys of a flag and of one of its variants."""

    flag: str
    variant: str


class Not(msgspec.Struct, frozen=True):
    child: Tree


class Group(msgspec.Struct, frozen=True):
    """And (`every`) or Or."""

    every: bool
    children: tuple[Tree, ...]


Tree = Comparison | Membership | Evaluated | Not | Group


class ConditionReader:
    """Reads the conditions of one file. What can't be read is reported, and None is returned."""

    def __init__(self, file: str, report: Report) -> None:
        self.file = file
        self.report = report
        self.count = 0

    def refuse(self, path: str, found: str, allowed: str) -> None:
        self.report.problem(self.file, path, found, allowed)

    def read(self, document: Any, path: str, *, leaves: tuple[str, ...] = LEAVES) -> Tree | None:
        """One rule's condition; `leaves` may be fewer (a segment asks neither segments nor flags)."""
        self.count = 0
        return self.tree(document, path, leaves, 1)

    def tree(self, document: Any, path: str, leaves: tuple[str, ...], depth: int) -> Tree | None:
        self.count += 1
        if self.count > limits.CONDITIONS_MAX:
            if self.count == limits.CONDITIONS_MAX + 1:
                self.refuse(path, "more conditions", f"at most {limits.CONDITIONS_MAX} in one rule")
            return None
        if depth > limits.CONDITION_DEPTH_MAX:
            self.refuse(path, "nesting too deep", f"at most {limits.CONDITION_DEPTH_MAX} levels")
            return None
        if not isinstance(document, dict):
            self.refuse(path, shown(document), "an object (condition)")
            return None
        if "op" in document:
            return self.flat(document, path, leaves, depth)
        if len(document) == 1:
            ((tag, content),) = document.items()
            if tag in GROUPS:
                return self.group(tag, content, join(path, tag), leaves, depth)
            if tag == "Leaf":
                return self.stored_leaf(content, join(path, tag), leaves)
        self.refuse(path, "no condition", f'{{"op": NAME, ...}}, or one of {", ".join(GROUPS)}, Leaf')
        return None

    def flat(self, document: dict[str, Any], path: str, leaves: tuple[str, ...], depth: int) -> Tree | None:
        name = document["op"]
        rest = {key: value for key, value in document.items() if key != "op"}
        if name in GROUPS:
            inner = "child" if name == "Not" else "children"
            if set(rest) != {inner}:
                self.refuse(path, f"{name} with {', '.join(rest) or 'nothing'}", f"{name} takes {inner}")
                return None
            return self.group(name, rest[inner], join(path, inner), leaves, depth)
        return self.leaf(name, rest, path, join(path, "op"), leaves)

    def group(self, name: str, content: Any, path: str, leaves: tuple[str, ...], depth: int) -> Tree | None:
        if name == "Not":
            child = self.tree(content, path, leaves, depth + 1)
            return None if child is None else Not(child)
        if not isinstance(content, list):
            self.refuse(path, shown(content), "a list of conditions")
            return None
        read = [self.tree(one, f"{path}[{n}]", leaves, depth + 1) for n, one in enumerate(content)]
        children = tuple(child for child in read if child is not None)
        return Group(name == "And", children) if len(children) == len(read) else None

    def stored_leaf(self, content: Any, path: str, leaves: tuple[str, ...]) -> Tree | None:
        if not isinstance(content, dict) or len(content) != 1:
            self.refuse(path, shown(content), "an object with one member, the operator")
            return None
        ((name, fields),) = content.items()
        place = join(path, name)
        if name in MEMBERSHIPS:
            fields = {"segment_id": fields}
        elif not isinstance(fields, dict):
            self.refuse(place, shown(fields), "an object")
            return None
        return self.leaf(name, fields, place, place, leaves)

    def leaf(
        self, name: Any, fields: dict[str, Any], path: str, name_path: str, leaves: tuple[str, ...]
    ) -> Tree | None:
        if name not in leaves:
            allowed = f"one of {', '.join((*leaves, *GROUPS))}"
            if name in LEAVES:
                allowed = f"in a segment, {allowed}"
            self.refuse(name_path, f"the operator {shown(name)}", allowed)
            return None
        names: dict[str, tuple[str, ...]]
        if name in MEMBERSHIPS:
            names = {"segment_id": ("segment_id", "segment_key")}
        elif name == EVALUATED:
            names = {"flag": ("flag_id", "flag_key"), "variant": ("variant_id", "variant_key")}
        else:
            own = "version" if name in VERSIONS else TEXTS[name][1] if name in TEXTS else "value"
            names = {"context_type": ("context_type",), "param": ("param",)}
            names["operand"] = (own,) if own == "value" else (own, "value")
        taken = self.take(name, fields, path, names)
        if taken is None:
            return None
        if name in MEMBERSHIPS:
            return Membership(taken["segment_id"], name == "NotInSegment")
        if name == EVALUATED:
            return Evaluated(taken["flag"], taken["variant"])
        return Comparison(name, taken["context_type"], taken["param"], taken["operand"])

    def take(
        self, name: str, fields: dict[str, Any], path: str, names: dict[str, tuple[str, ...]]
    ) -> dict[str, Any] | None:
        """The fields of a leaf under our names, each from the first of its own names that is there."""
        taken: dict[str, Any] = {}
        left = dict(fields)
        known = [one for ones in names.values() for one in ones]
        for our, theirs in names.items():
            found = next((one for one in theirs if one in left), None)
            if found is None:
                self.refuse(join(path, theirs[0]), "nothing", f"{name} needs it")
                continue
            value = left.pop(found)
            if self.fits(value, text=theirs != ("value",), path=join(path, found)):
                taken[our] = value
        for one in left:
            self.refuse(join(path, one), "an unknown field", f"{name} takes {', '.join(known)}")
        return taken if len(taken) == len(names) and not left else None

    def fits(self, value: Any, *, text: bool, path: str) -> bool:
        if isinstance(value, str):
            if len(value.encode()) <= limits.TEXT_BYTES_MAX:
                return True
            self.refuse(path, "a longer text", f"at most {limits.TEXT_BYTES_MAX} bytes")
        elif text or not isinstance(value, bool | int | float):
            self.refuse(path, shown(value), "text" if text else "a boolean, a number or text")
        elif (isinstance(value, int) and value.bit_length() > 1_023) or not math.isfinite(value):
            self.refuse(path, shown(value), "numbers that a double can hold")
        else:
            return True
        return False


class Asked(msgspec.Struct, frozen=True):
    """What Membership and Evaluated have become: does a decision resolve to a variant? A decision that ends
    in an error is taken as not having done so. `negative`: it must not."""

    decision: int
    variant: int
    negative: bool


class AnyOf(msgspec.Struct, frozen=True):
    """A Group without constants inside, but for its last child."""

    every: bool
    children: tuple[Ready, ...]


class Inverse(msgspec.Struct, frozen=True):
    child: Ready


Ready = bool | Comparison | Asked | AnyOf | Inverse
"""A tree whose references are resolved and whose constants are folded as far as order allows."""


def ready_group(every: bool, children: list[Ready]) -> Ready:
    """Leaves out what can't decide (true in And, false in Or), and what stands after what always does.

    A deciding constant stays behind others: they are tried first and may abort the expression.
    """
    kept: list[Ready] = []
    for child in children:
        if child is every:
            continue
        kept.append(child)
        if isinstance(child, bool):
            break
    if not kept:
        return every
    return kept[0] if isinstance(kept[0], bool) else AnyOf(every, tuple(kept))


def ready_not(child: Ready) -> Ready:
    return not child if isinstance(child, bool) else Inverse(child)


def emit(builder: Builder, code: Assembler[Any], tree: Ready, exits: Exits) -> None:
    """Add the tests of a tree. A constant adds none: whoever leads there looks what it is."""
    if isinstance(tree, bool):
        return
    if isinstance(tree, Inverse):
        emit(builder, code, tree.child, Exits(exits.false, exits.true, exits.missing, exits.mismatch))
    elif isinstance(tree, AnyOf):
        _emit_group(builder, code, tree, exits)
    elif isinstance(tree, Asked):
        yes, no = (exits.false, exits.true) if tree.negative else (exits.true, exits.false)
        operand = DecisionVariant(tree.decision, tree.variant)
        code.test(Op.DECISION_IS, -1, operand, Exits(yes, no, no, no))
    else:
        _emit_test(builder, code, tree, exits)


def _emit_group(builder: Builder, code: Assembler[Any], group: AnyOf, exits: Exits) -> None:
    last = len(group.children) - 1
    for number, child in enumerate(group.children):
        behind: Ready = group.every if number == last else group.children[number + 1]
        following = code.label()
        go_on = following
        if isinstance(behind, bool):
            go_on = exits.true if behind else exits.false
        if group.every:
            emit(builder, code, child, Exits(go_on, exits.false, exits.false, exits.mismatch))
        else:
            emit(builder, code, child, Exits(exits.true, go_on, go_on, exits.mismatch))
        code.place(following)


def key_slot(builder: Builder, context_type: str) -> int:
    return builder.slot(Slot(Source.CONTEXT_KEY, "", context_type=context_type))


def parameter_slot(builder: Builder, context_type: str, param: str) -> int:
    slot = Slot(Source.CONTEXT_ATTRIBUTE, param, context_type=context_type, profile=Profile.VERSIONED)
    return builder.slot(slot)


_EQUAL: Final = {
    Kind.BOOL: Op.EQ_BOOL,
    Kind.INT: Op.EQ_INT64,
    Kind.DOUBLE: Op.EQ_DOUBLE,
    Kind.SEMVER: Op.EQ_VERSION,
    Kind.STR: Op.EQ_STRING,
}
_ORDER: Final = {
    Kind.INT: Op.ORDER_INT64,
    Kind.DOUBLE: Op.ORDER_DOUBLE,
    Kind.SEMVER: Op.ORDER_VERSION,
}


def _emit_test(builder: Builder, code: Assembler[Any], leaf: Comparison, exits: Exits) -> None:
    """One leaf. Eq and Ne know no mismatch: another kind is simply unequal."""
    slot = parameter_slot(builder, leaf.context_type, leaf.param)
    operand: Operand = leaf.operand
    kind = kind_of(leaf.operand)
    if kind is Kind.DOUBLE:
        operand = float(leaf.operand)
    if leaf.op == "Eq":
        code.test(_EQUAL[kind], slot, operand, Exits(exits.true, exits.false, exits.missing, exits.false))
    elif leaf.op == "Ne":
        unequal = Exits(exits.false, exits.true, exits.missing, exits.true)
        code.test(_EQUAL[kind], slot, operand, unequal)
    elif leaf.op in RELATIONS and kind in _ORDER:
        code.test(_ORDER[kind], slot, operand, exits, RELATIONS[leaf.op])
    elif leaf.op in TEXTS:
        code.test(TEXTS[leaf.op][0], slot, operand, exits)
    else:
        bound = comparator(leaf.op, str(leaf.operand)) if leaf.op in VERSIONS else None
        if bound is not None:
            code.test(Op.VERSION_MATCHES, slot, (bound,), exits)
        else:
            mismatch = exits.mismatch
            code.test(Op.PRESENT, slot, None, Exits(mismatch, mismatch, exits.missing, mismatch))
