"""Decisions and their nodes, written and read back. Operands and choices by numbers have modules of their own.

What makes a loop or a missing end impossible is refused here: targets point forward, the last node is an outcome,
a decision asks only ones before it.
"""

from __future__ import annotations

from fanion._core.nodes import NodeWriter
from fanion.bundle import format as f
from fanion.bundle.choices import read_keyed, read_scores, write_keyed, write_scores
from fanion.bundle.format import NodeType, Section
from fanion.bundle.operands import read_operand, write_operand
from fanion.bundle.sections import SectionReader, SectionWriter
from fanion.bundle.splits import ReachedWriter, read_reached
from fanion.model.choice import KeyedWeights, Scores
from fanion.model.program import (
    DECISION_DEPTH_MAX,
    Cause,
    Decision,
    Hash,
    HashKind,
    Node,
    Op,
    Outcome,
    Range,
    Ranges,
    Reached,
    Reduction,
    Relation,
    Resolution,
    Test,
    Weights,
)

_ELEMENT_OPS = frozenset(
    {
        Op.EQ_STRING,
        Op.STRING_IN,
        Op.STRING_CONTAINS,
        Op.STRING_STARTS,
        Op.STRING_ENDS,
        Op.TEXT_IN,
        Op.TEXT_CONTAINS,
        Op.TEXT_STARTS,
        Op.TEXT_ENDS,
    }
)
_TEXT_OPS = frozenset(
    {
        Op.TEXT_IN,
        Op.TEXT_CONTAINS,
        Op.TEXT_STARTS,
        Op.TEXT_ENDS,
        Op.TEXT_REGEX,
        Op.STRING_REGEX,
        Op.LIST_MEMBER,
    }
)

_TAKES_ELEMENTS = [op in _ELEMENT_OPS for op in Op]
READS = [
    f.NEEDS_NUMBER | f.NEEDS_TEXT if op is Op.ORDER_TEXT else f.NEEDS_TEXT * (op in _TEXT_OPS) for op in Op
]
"""By operator: what a test reads of its slot."""


class DecisionWriter:
    """Of one environment, decision after decision. Usual nodes are packed by `_core.nodes`, which asks this for
    what is rare, and for all that is to be refused."""

    def __init__(self, writer: SectionWriter, reached: ReachedWriter) -> None:
        self._writer = writer
        self._reached = reached
        self._key = ""
        rows = writer.rows
        self._nodes = NodeWriter(
            rows[Section.DECISIONS],
            rows[Section.NODES],
            rows[Section.PIECES],
            rows[Section.RANGES],
            writer.texts,
            (Test, Outcome, Hash, Ranges),
            writer.needs,
            writer.outcome_counts,
            self,
        )

    def write(self, decision: Decision) -> None:
        """Appends the decision and its nodes. Raises ProgramError with the node that breaks a rule."""
        writer, count = self._writer, len(decision.nodes)
        self._key = decision.key
        writer.where = ("decision", decision.key)
        if not 0 < count <= f.NODES_PER_DECISION_MAX or len(writer.depths) >= f.DECISIONS_MAX:
            raise writer.refuse(f"{count} nodes", f"1 to {f.NODES_PER_DECISION_MAX}")
        if not isinstance(decision.nodes[-1], Outcome):
            raise writer.refuse("the last node is no outcome", "every path must end in one")
        try:
            depth = self._nodes.write(decision.key, decision.nodes)
        except UnicodeEncodeError as error:
            raise writer.refuse(f"{error.object!r}", "text without halves of surrogate pairs") from None
        except OverflowError as error:
            raise writer.refuse(f"{error}", "numbers that their fields can hold") from None
        except ValueError as error:
            raise writer.refuse(*error.args) from None
        if depth > DECISION_DEPTH_MAX:
            writer.where = ("decision", decision.key)
            raise writer.refuse(f"asks {depth} deep", f"at most {DECISION_DEPTH_MAX}")
        writer.depths.append(depth)

    def test_row(self, node: Test, number: int, count: int) -> bytes:
        """The bytes of a test that is taken over; equal ones are written once."""
        return self._nodes.test_row(node, number, count)

    def test(self, node: Test, number: int, count: int) -> bytes:
        writer = self._writer
        writer.where = ("decision", self._key, "node", number)
        exits = (node.on_true, node.on_false, node.on_missing, node.on_mismatch)
        for target in exits:
            writer.target(target, number, count)
        return _test(writer, node, exits)

    def other(self, node: Node, number: int, count: int) -> bytes:
        writer = self._writer
        writer.where = ("decision", self._key, "node", number)
        match node:
            case Hash():
                return _hash(writer, node, number, count)
            case Ranges():
                return _ranges(writer, node, number, count)
            case Weights():
                return _weights(writer, node, number, count)
            case Scores():
                return write_scores(writer, node, number, count)
            case KeyedWeights():
                return write_keyed(writer, node, number, count)
        raise TypeError(type(node).__name__)

    def ask(self, asked: int, number: int) -> int:
        """How deep a decision asks that is asked here."""
        writer, asking = self._writer, len(self._writer.depths)
        if not 0 <= asked < asking:
            writer.where = ("decision", self._key, "node", number)
            raise writer.refuse(f"asks decision {asked}", f"only lower ones than its own, {asking}")
        if asked not in writer.memos:
            memo = writer.memos[asked] = len(writer.memos)
            writer.rows[Section.DECISIONS].set_number(asked, f.MEMO_OFFSET, memo)
        return writer.depths[asked]

    def reached(self, outcome: int, reached: tuple[Reached, ...]) -> tuple[int, int]:
        self._writer.where = ("decision", self._key, "outcome", outcome)
        return self._reached.write(len(self._writer.depths), outcome, reached)


def _test(writer: SectionWriter, node: Test, exits: tuple[int, ...]) -> bytes:
    flags = f.ANY_ELEMENT * node.any_element + f.FOLD * node.fold
    if node.any_element and not _TAKES_ELEMENTS[node.op]:
        raise writer.refuse(f"any_element with {node.op.name}", "only text comparisons look into lists")
    if node.fold and node.op is not Op.TEXT_IN:
        raise writer.refuse(f"fold with {node.op.name}", "only TEXT_IN folds case")
    slot = f.NONE
    if node.op is not Op.DECISION_IS:
        slot = writer.slot(node.slot)
        writer.needs[slot] |= READS[node.op]
    return f.TEST.pack(
        NodeType.TEST, node.op, node.relation, flags, slot, *exits, write_operand(writer, node)
    )


def _hash(writer: SectionWriter, node: Hash, number: int, count: int) -> bytes:
    if node.reduction is not Reduction.UNIT53 and node.modulus < 1:
        raise writer.refuse(f"modulus {node.modulus}", "at least 1")
    if node.reduction is Reduction.MODULO and node.hash is HashKind.MURMUR3_128:
        raise writer.refuse("MODULO over 128 bits", "MURMUR3_128 goes with BASIS_POINTS")
    if node.reduction is Reduction.UNIT53 and node.hash is HashKind.MURMUR3_128:
        raise writer.refuse("UNIT53 over 128 bits", "a 64-bit hash")
    if node.reduction is Reduction.SCALE32 and node.hash is not HashKind.MURMUR3_32:
        raise writer.refuse(f"SCALE32 with {node.hash.name}", "a 32-bit hash")
    if node.modulus > 2**31 and node.reduction is not Reduction.UNIT53:
        raise writer.refuse(f"modulus {node.modulus}", f"at most {2**31}")
    missing = f.NONE if node.on_missing == -1 else writer.target(node.on_missing, number, count)
    pieces = writer.pieces(node.pieces)
    done = writer.target(node.on_done, number, count)
    head = (NodeType.HASH, node.hash, node.reduction, 0)
    return f.HASH.pack(*head, *pieces, done, missing, 0, node.modulus)


def _ranges(writer: SectionWriter, node: Ranges, number: int, count: int) -> bytes:
    first = len(writer.rows[Section.RANGES])
    for r in node.ranges:
        if not all(-(1 << 63) <= edge < 1 << 63 for edge in (r.low, r.high)):
            raise writer.refuse(f"the range {r.low} to {r.high}", "whole numbers of 64 bits")
        target = writer.target(r.target, number, count)
        writer.rows[Section.RANGES].append(f.RANGE.pack(r.low, r.high, target, 0))
    on_none = writer.target(node.on_none, number, count)
    return f.BRANCH.pack(NodeType.RANGES, first, len(node.ranges), on_none)


def _weights(writer: SectionWriter, node: Weights, number: int, count: int) -> bytes:
    if not node.weights or len(node.weights) != len(node.targets):
        raise writer.refuse(
            f"{len(node.weights)} weights, {len(node.targets)} targets", "equally many, not 0"
        )
    first = len(writer.rows[Section.WEIGHTS])
    for weight, target in zip(node.weights, node.targets, strict=True):
        row = f.WEIGHT.pack(weight, writer.target(target, number, count), 0)
        writer.rows[Section.WEIGHTS].append(row)
    return f.BRANCH.pack(NodeType.WEIGHTS, first, len(node.weights), 0)


def read_decision(reader: SectionReader, number: int) -> Decision:
    """The way back."""
    key, size, first, count, *_ = reader.row(Section.DECISIONS, f.DECISION, number)
    return Decision(reader.text(key, size), tuple(read_node(reader, first + n) for n in range(count)))


def read_node(reader: SectionReader, number: int) -> Node:
    kind = NodeType(reader.row(Section.NODES, f.BRANCH, number)[0])
    match kind:
        case NodeType.TEST:
            return _read_test(reader, number)
        case NodeType.HASH:
            return _read_hash(reader, number)
        case NodeType.RANGES:
            _, first, count, on_none = reader.row(Section.NODES, f.BRANCH, number)
            rows = (reader.row(Section.RANGES, f.RANGE, first + n) for n in range(count))
            return Ranges(tuple(Range(low, high, target) for low, high, target, _ in rows), on_none)
        case NodeType.WEIGHTS:
            _, first, count, _ = reader.row(Section.NODES, f.BRANCH, number)
            pairs = [reader.row(Section.WEIGHTS, f.WEIGHT, first + n) for n in range(count)]
            return Weights(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
        case NodeType.SCORES:
            return read_scores(reader, reader.row(Section.NODES, f.BRANCH, number)[1])
        case NodeType.KEYED:
            _, first, _, on_none = reader.row(Section.NODES, f.BRANCH, number)
            return read_keyed(reader, first, on_none)
        case NodeType.OUTCOME:
            _, resolution, cause, variant, rule, _, *span = reader.row(Section.NODES, f.OUTCOME, number)
            reached = read_reached(reader, *span)
            return Outcome(Resolution(resolution), variant, rule, Cause(cause), reached)


def _read_test(reader: SectionReader, number: int) -> Test:
    row = reader.row(Section.NODES, f.TEST, number)
    op, relation, flags, slot = Op(row[1]), Relation(row[2]), row[3], row[4]
    return Test(
        op=op,
        slot=-1 if slot == f.NONE else slot,
        operand=read_operand(reader, op, row[9]),
        on_true=row[5],
        on_false=row[6],
        on_missing=row[7],
        on_mismatch=row[8],
        relation=relation,
        any_element=bool(flags & f.ANY_ELEMENT),
        fold=bool(flags & f.FOLD),
    )


def _read_hash(reader: SectionReader, number: int) -> Hash:
    _, kind, reduction, _, first, count, done, missing, _, modulus = reader.row(Section.NODES, f.HASH, number)
    pieces = reader.pieces(first, count)
    exit_missing = -1 if missing == f.NONE else missing
    return Hash(HashKind(kind), pieces, Reduction(reduction), modulus, done, exit_missing)
