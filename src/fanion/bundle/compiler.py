"""From a lowered environment and its renderers to a bundle's bytes. Long: the sections grow in one pass together.

Everything that the format forbids is refused here with the decision and node named; what gets through verifies
when it is mapped. Equal texts and fragment pieces are stored once. Knows no dialect: renderers come in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

import msgspec
import xxhash

from fanion.bundle import format as f
from fanion.bundle.choices import write_keyed, write_scores
from fanion.bundle.format import Section
from fanion.bundle.overlays import write_overlay
from fanion.errors import ProgramError
from fanion.model.choice import KeyedWeights, Scores, Vector
from fanion.model.parts import Fragment, Hole, Piece, PieceKind
from fanion.model.program import (
    DECISION_DEPTH_MAX,
    EXTERNAL_OPS,
    TEXT_BYTES_MAX,
    Comparator,
    Decision,
    DecisionVariant,
    Hash,
    HashKind,
    Lowered,
    Op,
    Outcome,
    Ranges,
    Reduction,
    Table,
    Test,
    Version,
    Weights,
)
from fanion.model.shape import DOCUMENT, SourceRecord
from fanion.model.text import parse_version

Renderer = Callable[[Lowered], Table]
T = TypeVar("T")

# Look-ups by operator are lists: an enumeration's own hash is a Python function.
_OPERAND_TYPE_OF: dict[Op, type] = {
    Op.EQ_BOOL: bool,
    Op.EQ_INT64: int,
    Op.EQ_DOUBLE: float,
    Op.EQ_NUMBER: float,
    Op.EQ_STRING: str,
    Op.EQ_VERSION: str,
    Op.ORDER_INT64: int,
    Op.ORDER_DOUBLE: float,
    Op.ORDER_NUMBER: float,
    Op.ORDER_VERSION: str,
    Op.ORDER_TEXT: float,
    Op.STRING_IN: tuple,
    Op.STRING_CONTAINS: str,
    Op.STRING_STARTS: str,
    Op.STRING_ENDS: str,
    Op.TEXT_IN: tuple,
    Op.TEXT_CONTAINS: str,
    Op.TEXT_STARTS: str,
    Op.TEXT_ENDS: str,
    Op.VERSION_MATCHES: tuple,
    Op.DECISION_IS: DecisionVariant,
    Op.TEXT_REGEX: str,
    Op.STRING_REGEX: str,
    Op.LIST_MEMBER: str,
}
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

_OPERAND_TYPES = [_OPERAND_TYPE_OF.get(op, type(None)) for op in Op]
_TAKES_ELEMENTS = [op in _ELEMENT_OPS for op in Op]
_NEEDS = [
    f.NEEDS_NUMBER | f.NEEDS_TEXT if op is Op.ORDER_TEXT else f.NEEDS_TEXT * (op in _TEXT_OPS) for op in Op
]
_IS_EXTERNAL = [op in EXTERNAL_OPS for op in Op]


def compile_bundle(lowered: Lowered, renderers: Mapping[str, Renderer]) -> bytes:
    """The bundle of one environment, with a table for each renderer.

    Raises ProgramError where the program breaks a rule or a limit of the format; the message names the
    decision and the node.
    """
    writer = Writer(lowered)
    for decision in lowered.decisions:
        writer.add_decision(decision)
    documents = dict(lowered.documents)
    if lowered.shapes:
        flags = ((parameter.source, parameter.key) for parameter in lowered.parameters)
        record = SourceRecord.of(lowered.shapes, lowered.source_order, flags)
        documents[DOCUMENT] = msgspec.json.encode(record)
    for name, render in renderers.items():
        table = render(lowered)
        writer.add_table(name, table)
        documents |= table.documents
    for name, content in documents.items():
        writer.rows[Section.DOCUMENTS].append(f.DOCUMENT.pack(*writer.text(name), *writer.blob(content)))
    return writer.finish()


class Writer:
    """The sections while they grow. Methods named add_x append records; others return what a record needs."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.rows: list[list[bytes]] = [[] for _ in Section]
        self.blob_offsets: dict[bytes, int] = {}
        self.blob_size = 0
        self.needs = [0] * len(lowered.slots)
        self.sets: dict[tuple[tuple[str, ...], bool], int] = {}
        self.versions: dict[Version, int] = {}
        self.externals: dict[tuple[Op, int, str], int] = {}
        self.fragments: dict[tuple[Fragment, ...], int] = {}
        self.fragment_count = 0
        self.vectors: dict[tuple[Vector, ...], int] = {}
        self.depths: list[int] = []
        self.outcome_counts: list[int] = []
        self.memos: dict[int, int] = {}
        self.tests: dict[Test, bytes] = {}
        self.where: tuple[object, ...] = ()

    def refuse(self, found: str, allowed: str) -> ProgramError:
        place = " ".join(map(str, self.where))
        return ProgramError(f"environment {self.lowered.environment}: {place}: {found}; {allowed}")

    # -- texts

    def blob(self, content: bytes) -> tuple[int, int]:
        if not content:
            return 0, 0
        offset = self.blob_offsets.get(content)
        if offset is None:
            offset = self.blob_size
            self.blob_offsets[content] = offset
            self.rows[Section.BLOB].append(content)
            self.blob_size += len(content)
            if self.blob_size > f.TOTAL_BYTES_MAX:
                raise self.refuse(f"{self.blob_size} bytes of text", f"at most {f.TOTAL_BYTES_MAX}")
        return offset, len(content)

    def text(self, content: str) -> tuple[int, int]:
        return self.blob(content.encode())

    # -- decisions

    def add_decision(self, decision: Decision) -> None:
        index = len(self.depths)
        self.where = ("decision", decision.key)
        count = len(decision.nodes)
        if not 0 < count <= f.NODES_PER_DECISION_MAX or index >= f.DECISIONS_MAX:
            raise self.refuse(f"{count} nodes", f"1 to {f.NODES_PER_DECISION_MAX}")
        node_first = len(self.rows[Section.NODES])
        depth, outcomes = 1, 0
        for number, node in enumerate(decision.nodes):
            self.where = ("decision", decision.key, "node", number)
            match node:
                case Test():
                    row = self.test(node, number, count)
                    if isinstance(node.operand, DecisionVariant):
                        asked = self.ask(node.operand.decision, index)
                        depth = max(depth, 1 + self.depths[asked])
                case Outcome():
                    row = f.OUTCOME.pack(
                        f.NodeType.OUTCOME, node.resolution, node.cause, node.variant, node.rule, outcomes
                    )
                    outcomes += 1
                case Hash():
                    row = self.hash(node, number, count)
                case Ranges():
                    row = self.ranges(node, number, count)
                case Weights():
                    row = self.weights(node, number, count)
                case Scores():
                    row = write_scores(self, node, number, count)
                case KeyedWeights():
                    row = write_keyed(self, node, number, count)
            self.rows[Section.NODES].append(row)
        self.where = ("decision", decision.key)
        if not isinstance(decision.nodes[-1], Outcome):
            raise self.refuse("the last node is no outcome", "every path must end in one")
        if depth > DECISION_DEPTH_MAX:
            raise self.refuse(f"asks {depth} deep", f"at most {DECISION_DEPTH_MAX}")
        self.depths.append(depth)
        self.outcome_counts.append(outcomes)
        name = self.text(decision.key)
        self.rows[Section.DECISIONS].append(
            f.DECISION.pack(*name, node_first, count, outcomes, f.NONE, depth, 0)
        )

    def ask(self, asked: int, asking: int) -> int:
        if not 0 <= asked < asking:
            raise self.refuse(f"asks decision {asked}", f"only lower ones than its own, {asking}")
        if asked not in self.memos:
            self.memos[asked] = len(self.memos)
            row = bytearray(self.rows[Section.DECISIONS][asked])
            f.NUMBER.pack_into(row, 20, self.memos[asked])
            self.rows[Section.DECISIONS][asked] = bytes(row)
        return asked

    def target(self, target: int, number: int, count: int) -> int:
        if not number < target < count:
            raise self.refuse(f"target {target}", f"{number + 1} to {count - 1}: targets point forward")
        return target

    def slot(self, slot: int) -> int:
        if not 0 <= slot < len(self.lowered.slots):
            raise self.refuse(f"slot {slot}", f"there are {len(self.lowered.slots)}")
        return slot

    def test(self, node: Test, number: int, count: int) -> bytes:
        exits = (node.on_true, node.on_false, node.on_missing, node.on_mismatch)
        if not number < min(exits) <= max(exits) < count:
            for target in exits:
                self.target(target, number, count)
        row = self.tests.get(node)  # flags ask much the same; what depends on its place was just looked at
        if row is None:
            row = self.tests[node] = self.new_test(node, exits)
        return row

    def new_test(self, node: Test, exits: tuple[int, ...]) -> bytes:
        flags = f.ANY_ELEMENT * node.any_element + f.FOLD * node.fold
        if node.any_element and not _TAKES_ELEMENTS[node.op]:
            raise self.refuse(f"any_element with {node.op.name}", "only text comparisons look into lists")
        if node.fold and node.op is not Op.TEXT_IN:
            raise self.refuse(f"fold with {node.op.name}", "only TEXT_IN folds case")
        slot = f.NONE
        if node.op is not Op.DECISION_IS:
            slot = self.slot(node.slot)
            self.needs[slot] |= _NEEDS[node.op]
        return f.TEST.pack(f.NodeType.TEST, node.op, node.relation, flags, slot, *exits, self.operand(node))

    def operand(self, node: Test) -> bytes:
        operand = node.operand
        expected = _OPERAND_TYPES[node.op]
        if type(operand) is not expected:
            raise self.refuse(f"{node.op.name} with operand {operand!r}", f"needs {expected.__name__}")
        match operand:
            case None:
                return bytes(8)
            case bool() | int():
                if not -(2**63) <= operand < 2**63:
                    raise self.refuse(f"{node.op.name} with operand {operand}", "needs a 64-bit integer")
                return f.INT64_OPERAND.pack(operand)
            case float():
                return f.DOUBLE_OPERAND.pack(operand)
            case DecisionVariant():
                return f.ASKED_OPERAND.pack(operand.decision, operand.variant)
            case str():
                return self.text_operand(node, operand)
        if node.op is Op.VERSION_MATCHES:
            first = len(self.rows[Section.COMPARATORS])
            for bound in operand:
                assert isinstance(bound, Comparator)
                self.rows[Section.COMPARATORS].append(self.comparator(bound))
            return f.PAIR_OPERAND.pack(first, len(operand))
        return f.PAIR_OPERAND.pack(self.set(operand, node.fold), 0)  # type: ignore[arg-type]

    def text_operand(self, node: Test, operand: str) -> bytes:
        if len(operand.encode()) > TEXT_BYTES_MAX:
            raise self.refuse(f"an operand of {len(operand.encode())} bytes", f"at most {TEXT_BYTES_MAX}")
        if _IS_EXTERNAL[node.op]:
            key = (node.op, node.slot, operand)
            if key not in self.externals:
                self.externals[key] = len(self.externals)
                self.rows[Section.EXTERNALS].append(f.EXTERNAL.pack(node.op, node.slot, *self.text(operand)))
            return f.PAIR_OPERAND.pack(self.externals[key], 0)
        if node.op is Op.EQ_VERSION or node.op is Op.ORDER_VERSION:
            version = parse_version(operand)
            if version is None:
                raise self.refuse(f"{node.op.name} with operand {operand!r}", "needs a SemVer 2.0 version")
            return f.PAIR_OPERAND.pack(self.version(version), 0)
        return f.PAIR_OPERAND.pack(*self.text(operand))

    def version(self, version: Version) -> int:
        if version not in self.versions:
            self.versions[version] = len(self.versions)
            numbers = (version.major, version.minor, version.patch)
            texts = (*self.text(version.pre), *self.text(version.build))
            self.rows[Section.VERSIONS].append(f.VERSION_RECORD.pack(*numbers, *texts))
        return self.versions[version]

    def comparator(self, bound: Comparator) -> bytes:
        high = f.NONE if bound.high is None else self.version(bound.high)
        triple = bound.pre_of or (0, 0, 0)
        return f.COMPARATOR.pack(self.version(bound.low), high, bound.pre_of is not None, 0, *triple)

    def set(self, items: tuple[str, ...], fold: bool) -> int:
        unique = tuple(sorted(set(items)))
        key = (unique, fold)
        if key in self.sets:
            return self.sets[key]
        if len(unique) > f.SET_ITEMS_MAX:
            raise self.refuse(f"a set of {len(unique)} texts", f"at most {f.SET_ITEMS_MAX}")
        encoded = [item.encode() for item in unique]
        if any(len(item) > TEXT_BYTES_MAX for item in encoded):
            raise self.refuse("a text in a set is too long", f"at most {TEXT_BYTES_MAX} bytes")
        first = len(self.rows[Section.SET_ITEMS])
        if fold or len(encoded) <= f.SET_LINEAR:
            capacity = len(encoded)
            self.rows[Section.SET_ITEMS] += [f.SET_ITEM.pack(*self.blob(item), 0, 0) for item in encoded]
        else:
            capacity = 1 << (2 * len(encoded) - 1).bit_length()
            places = [f.SET_ITEM.pack(0, f.NONE, 0, 0)] * capacity
            for item in encoded:
                digest = xxhash.xxh64_intdigest(item)
                at = _free_place(places, digest, lambda place: place[4:8] == b"\xff\xff\xff\xff")
                places[at] = f.SET_ITEM.pack(*self.blob(item), digest >> 32, 0)
            self.rows[Section.SET_ITEMS] += places
        self.sets[key] = len(self.rows[Section.SETS])
        self.rows[Section.SETS].append(f.SET.pack(first, capacity, fold, 0))
        return self.sets[key]

    def hash(self, node: Hash, number: int, count: int) -> bytes:
        if node.reduction is not Reduction.UNIT53 and node.modulus < 1:
            raise self.refuse(f"modulus {node.modulus}", "at least 1")
        if node.reduction is Reduction.MODULO and node.hash is HashKind.MURMUR3_128:
            raise self.refuse("MODULO over 128 bits", "MURMUR3_128 goes with BASIS_POINTS")
        if node.reduction is Reduction.UNIT53 and node.hash is HashKind.MURMUR3_128:
            raise self.refuse("UNIT53 over 128 bits", "a 64-bit hash")
        if node.reduction is Reduction.SCALE32 and node.hash is not HashKind.MURMUR3_32:
            raise self.refuse(f"SCALE32 with {node.hash.name}", "a 32-bit hash")
        if node.modulus > 2**31 and node.reduction is not Reduction.UNIT53:
            raise self.refuse(f"modulus {node.modulus}", f"at most {2**31}")
        missing = f.NONE if node.on_missing == -1 else self.target(node.on_missing, number, count)
        pieces = self.pieces(node.pieces)
        done = self.target(node.on_done, number, count)
        head = (f.NodeType.HASH, node.hash, node.reduction, 0)
        return f.HASH.pack(*head, *pieces, done, missing, 0, node.modulus)

    def pieces(self, pieces: tuple[Piece, ...]) -> tuple[int, int]:
        """Number of the first, and how many."""
        first = len(self.rows[Section.PIECES])
        for piece in pieces:
            if piece.kind is PieceKind.LITERAL:
                self.rows[Section.PIECES].append(f.PIECE.pack(piece.kind, f.NONE, *self.text(piece.literal)))
            else:
                slot = self.slot(piece.slot)
                self.needs[slot] |= f.NEEDS_TEXT
                self.rows[Section.PIECES].append(f.PIECE.pack(piece.kind, slot, 0, 0))
        return first, len(pieces)

    def ranges(self, node: Ranges, number: int, count: int) -> bytes:
        first = len(self.rows[Section.RANGES])
        for r in node.ranges:
            target = self.target(r.target, number, count)
            self.rows[Section.RANGES].append(f.RANGE.pack(r.low, r.high, target, 0))
        on_none = self.target(node.on_none, number, count)
        return f.BRANCH.pack(f.NodeType.RANGES, first, len(node.ranges), on_none)

    def weights(self, node: Weights, number: int, count: int) -> bytes:
        if not node.weights or len(node.weights) != len(node.targets):
            raise self.refuse(
                f"{len(node.weights)} weights, {len(node.targets)} targets", "equally many, not 0"
            )
        first = len(self.rows[Section.WEIGHTS])
        for weight, target in zip(node.weights, node.targets, strict=True):
            row = f.WEIGHT.pack(weight, self.target(target, number, count), 0)
            self.rows[Section.WEIGHTS].append(row)
        return f.BRANCH.pack(f.NodeType.WEIGHTS, first, len(node.weights), 0)

    # -- tables

    def add_table(self, name: str, table: Table) -> None:
        entry_first = len(self.rows[Section.ENTRIES])
        capacity = 1 << max(2, (2 * len(table.entries)).bit_length())
        index = [0] * capacity
        for place, entry in enumerate(table.entries):
            self.where = ("table", name, "key", entry.key)
            if not 0 <= entry.decision < len(self.outcome_counts):
                raise self.refuse(f"decision {entry.decision}", f"there are {len(self.outcome_counts)}")
            expected = self.outcome_counts[entry.decision]
            if len(entry.fragments) != expected:
                raise self.refuse(f"{len(entry.fragments)} fragments", f"one per outcome: {expected}")
            key = entry.key.encode()
            json = self.blob(msgspec.json.encode(entry.key))
            fragment = self.fragment(entry.fragments)
            if not -1 <= entry.row < len(table.rows):
                raise self.refuse(f"row {entry.row}", f"there are {len(table.rows)}")
            row = f.NONE if entry.guest else entry.row + 1
            self.rows[Section.ENTRIES].append(
                f.ENTRY.pack(*self.blob(key), *json, entry.decision, fragment, entry.client_safe, row)
            )
            at = _free_place(index, xxhash.xxh64_intdigest(key), lambda place: place == 0)
            index[at] = place + 1
        self.where = ("table", name)
        if len({entry.key for entry in table.entries}) != len(table.entries):
            raise self.refuse("a key stands twice", "keys are unique in a table")
        index_first = len(self.rows[Section.INDEX])
        self.rows[Section.INDEX] += [f.NUMBER.pack(number) for number in index]
        absent = self.fragment((table.absent,))
        counts = (entry_first, len(table.entries), index_first, capacity - 1)
        number = len(self.rows[Section.TABLES])
        self.rows[Section.TABLES].append(f.TABLE.pack(*self.text(name), *counts, absent, 0))
        write_overlay(self, number, table)

    def fragment(self, fragments: tuple[Fragment, ...]) -> int:
        """The number of the first of these fragments, stored as a run."""
        if fragments in self.fragments:
            return self.fragments[fragments]
        first = self.fragment_count
        for pieces in fragments:
            if len(pieces) > f.ROPES_PER_FRAGMENT_MAX:
                raise self.refuse(
                    f"a fragment of {len(pieces)} pieces", f"at most {f.ROPES_PER_FRAGMENT_MAX}"
                )
            rope_first = len(self.rows[Section.ROPES])
            for piece in pieces:
                if isinstance(piece, Hole):
                    if not 0 <= piece.number < f.HOLES_MAX:
                        raise self.refuse(f"hole {piece.number}", f"0 to {f.HOLES_MAX - 1}")
                    self.rows[Section.ROPES].append(f.ROPE.pack(f.NONE, piece.number))
                elif piece:
                    self.rows[Section.ROPES].append(f.ROPE.pack(*self.blob(piece)))
            count = len(self.rows[Section.ROPES]) - rope_first
            self.rows[Section.FRAGMENTS].append(f.FRAGMENT.pack(rope_first, count))
            self.fragment_count += 1
        self.fragments[fragments] = first
        return first

    # -- the whole

    def write_slots(self) -> None:
        for slot, needs in zip(self.lowered.slots, self.needs, strict=True):
            texts = (*self.text(slot.name), *self.text(slot.context_type))
            flags = (slot.source, slot.profile, slot.dotted, needs)
            self.rows[Section.SLOTS].append(f.SLOT.pack(*texts, *flags, 0))

    def finish(self) -> bytes:
        self.write_slots()
        self.where = ("bundle",)
        meta = {
            "environment": self.lowered.environment,
            "identifiers": self.lowered.identifiers,
            "lists": self.lowered.lists,
        }
        self.rows[Section.META].append(msgspec.json.encode(meta))
        parts: list[bytes] = []
        table: list[bytes] = []
        offset = f.HEADER.size + f.SECTION.size * len(Section)
        for section in Section:
            body = b"".join(self.rows[section])
            size = f.RECORD_SIZES[section]
            table.append(f.SECTION.pack(offset, len(body) // size, size))
            body += bytes(-len(body) % 8)
            parts.append(body)
            offset += len(body)
        if offset > f.TOTAL_BYTES_MAX:
            raise self.refuse(f"{offset} bytes", f"at most {f.TOTAL_BYTES_MAX}")
        rest = b"".join(table) + b"".join(parts)
        header = f.HEADER.pack(f.MAGIC, f.VERSION, len(Section), offset, xxhash.xxh64_intdigest(rest))
        return header + rest


def _free_place(places: list[T], digest: int, is_free: Callable[[T], bool]) -> int:
    """Where a digest goes in an open-addressing table: its low bits, then the next free place."""
    mask = len(places) - 1
    at = digest & mask
    while not is_free(places[at]):
        at = (at + 1) & mask
    return at
