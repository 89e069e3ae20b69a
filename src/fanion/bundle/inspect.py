"""Reading a bundle back: the program as structs again, and as text for people.

The way back is exact: `read_program(compile_bundle(lowered, {}))` gives the same slots and decisions, which a
property test holds. It is for `fanion inspect`, `fanion eval` and tests, never for requests.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Any

import msgspec

from fanion.bundle import format as f
from fanion.bundle.choices import read_keyed, read_scores
from fanion.bundle.format import NodeType, Section
from fanion.bundle.overlays import read_overlay
from fanion.model.choice import KeyedWeights, Scores
from fanion.model.parts import Fragment, Hole, Piece, PieceKind
from fanion.model.program import (
    EXTERNAL_OPS,
    Cause,
    Comparator,
    Decision,
    DecisionVariant,
    Entry,
    Hash,
    HashKind,
    Lowered,
    Node,
    Op,
    Operand,
    Outcome,
    Profile,
    Range,
    Ranges,
    Reduction,
    Relation,
    Resolution,
    Slot,
    Source,
    Table,
    Test,
    Version,
    Weights,
)


class BundleReader:
    """A verified bundle's sections as Python values. The buffer is the caller's for as long as this lives."""

    def __init__(self, buffer: memoryview | bytes) -> None:
        self.buffer = memoryview(buffer)
        self.spans = [f.SECTION.unpack_from(self.buffer, f.HEADER.size + f.SECTION.size * n) for n in Section]
        meta = msgspec.json.decode(self._bytes(Section.META))
        self.environment: str = meta["environment"]
        self.identifiers: dict[str, dict[str, str]] = meta["identifiers"]
        self.lists: tuple[str, ...] = tuple(meta["lists"])

    def count(self, section: Section) -> int:
        """Records in a section (bytes, for the blob and meta)."""
        return int(self.spans[section][1])

    def _bytes(self, section: Section) -> bytes:
        offset, count, size = self.spans[section]
        return bytes(self.buffer[offset : offset + count * size])

    def row(self, section: Section, layout: Struct, number: int) -> tuple[Any, ...]:
        offset, count, size = self.spans[section]
        if not 0 <= number < count:
            raise IndexError(f"{section.name.lower()} {number} of {count}")
        row: tuple[Any, ...] = layout.unpack_from(self.buffer, offset + number * size)
        return row

    def _blob(self, offset: int, length: int) -> bytes:
        start = self.spans[Section.BLOB][0] + offset
        return bytes(self.buffer[start : start + length])

    def text(self, offset: int, length: int) -> str:
        return self._blob(offset, length).decode()

    # -- the program

    def program(self) -> Lowered:
        """Slots, decisions, documents and identifiers; parameters are not kept in a bundle."""
        return Lowered(
            environment=self.environment,
            slots=tuple(self.slot(n) for n in range(self.count(Section.SLOTS))),
            decisions=tuple(self.decision(n) for n in range(self.count(Section.DECISIONS))),
            documents=dict(self.documents()),
            identifiers=self.identifiers,
            lists=self.lists,
        )

    def slot(self, number: int) -> Slot:
        name, size, kind, kind_size, source, profile, dotted, _, _ = self.row(Section.SLOTS, f.SLOT, number)
        texts = self.text(name, size), self.text(kind, kind_size)
        return Slot(Source(source), texts[0], texts[1], bool(dotted), Profile(profile))

    def decision(self, number: int) -> Decision:
        key, size, first, count, *_ = self.row(Section.DECISIONS, f.DECISION, number)
        return Decision(self.text(key, size), tuple(self._node(first + n) for n in range(count)))

    def documents(self) -> Iterator[tuple[str, bytes]]:
        for number in range(self.count(Section.DOCUMENTS)):
            name, name_size, content, size = self.row(Section.DOCUMENTS, f.DOCUMENT, number)
            yield self.text(name, name_size), self._blob(content, size)

    def _node(self, number: int) -> Node:
        kind = NodeType(self.row(Section.NODES, f.BRANCH, number)[0])
        match kind:
            case NodeType.TEST:
                return self._test(number)
            case NodeType.HASH:
                return self._hash(number)
            case NodeType.RANGES:
                _, first, count, on_none = self.row(Section.NODES, f.BRANCH, number)
                rows = (self.row(Section.RANGES, f.RANGE, first + n) for n in range(count))
                return Ranges(tuple(Range(low, high, target) for low, high, target, _ in rows), on_none)
            case NodeType.WEIGHTS:
                _, first, count, _ = self.row(Section.NODES, f.BRANCH, number)
                pairs = [self.row(Section.WEIGHTS, f.WEIGHT, first + n) for n in range(count)]
                return Weights(tuple(p[0] for p in pairs), tuple(p[1] for p in pairs))
            case NodeType.SCORES:
                return read_scores(self, self.row(Section.NODES, f.BRANCH, number)[1])
            case NodeType.KEYED:
                _, first, _, on_none = self.row(Section.NODES, f.BRANCH, number)
                return read_keyed(self, first, on_none)
            case NodeType.OUTCOME:
                _, resolution, cause, variant, rule, _ = self.row(Section.NODES, f.OUTCOME, number)
                return Outcome(Resolution(resolution), variant, rule, Cause(cause))

    def _test(self, number: int) -> Test:
        row = self.row(Section.NODES, f.TEST, number)
        op, relation, flags, slot = Op(row[1]), Relation(row[2]), row[3], row[4]
        return Test(
            op=op,
            slot=-1 if slot == f.NONE else slot,
            operand=self._operand(op, row[9]),
            on_true=row[5],
            on_false=row[6],
            on_missing=row[7],
            on_mismatch=row[8],
            relation=relation,
            any_element=bool(flags & f.ANY_ELEMENT),
            fold=bool(flags & f.FOLD),
        )

    def _operand(self, op: Op, raw: bytes) -> Operand:
        first, second = f.PAIR_OPERAND.unpack(raw)
        match op:
            case Op.PRESENT | Op.EQ_NULL:
                return None
            case Op.EQ_BOOL:
                return bool(f.INT64_OPERAND.unpack(raw)[0])
            case Op.EQ_INT64 | Op.ORDER_INT64:
                return int(f.INT64_OPERAND.unpack(raw)[0])
            case Op.EQ_DOUBLE | Op.EQ_NUMBER | Op.ORDER_DOUBLE | Op.ORDER_NUMBER | Op.ORDER_TEXT:
                return float(f.DOUBLE_OPERAND.unpack(raw)[0])
            case Op.EQ_VERSION | Op.ORDER_VERSION:
                return version_text(self._version(first))
            case Op.VERSION_MATCHES:
                return tuple(self._comparator(first + n) for n in range(second))
            case Op.DECISION_IS:
                return DecisionVariant(*f.ASKED_OPERAND.unpack(raw))
            case Op.STRING_IN | Op.TEXT_IN:
                return self._set(first)
        if op in EXTERNAL_OPS:
            return self.text(*self.row(Section.EXTERNALS, f.EXTERNAL, first)[2:])
        return self.text(first, second)

    def _set(self, number: int) -> tuple[str, ...]:
        first, capacity, _, _ = self.row(Section.SETS, f.SET, number)
        rows = (self.row(Section.SET_ITEMS, f.SET_ITEM, first + n) for n in range(capacity))
        return tuple(sorted(self.text(row[0], row[1]) for row in rows if row[1] != f.NONE))

    def _version(self, number: int) -> Version:
        row = self.row(Section.VERSIONS, f.VERSION_RECORD, number)
        return Version(row[0], row[1], row[2], self.text(row[3], row[4]), self.text(row[5], row[6]))

    def _comparator(self, number: int) -> Comparator:
        low, high, has_pre, _, *triple = self.row(Section.COMPARATORS, f.COMPARATOR, number)
        bound = None if high == f.NONE else self._version(high)
        return Comparator(self._version(low), bound, (triple[0], triple[1], triple[2]) if has_pre else None)

    def _hash(self, number: int) -> Hash:
        _, kind, reduction, _, first, count, done, missing, _, modulus = self.row(
            Section.NODES, f.HASH, number
        )
        pieces = self.pieces(first, count)
        exit_missing = -1 if missing == f.NONE else missing
        return Hash(HashKind(kind), pieces, Reduction(reduction), modulus, done, exit_missing)

    def pieces(self, first: int, count: int) -> tuple[Piece, ...]:
        pieces = []
        for n in range(count):
            piece, slot, offset, length = self.row(Section.PIECES, f.PIECE, first + n)
            if piece == PieceKind.LITERAL:
                pieces.append(Piece(PieceKind.LITERAL, self.text(offset, length)))
            else:
                pieces.append(Piece(PieceKind(piece), slot=slot))
        return tuple(pieces)

    # -- tables

    def tables(self) -> dict[str, Table]:
        """Every dialect's table, fragments in pieces."""
        found = {}
        for number in range(self.count(Section.TABLES)):
            name, size, first, count, _, _, absent, _ = self.row(Section.TABLES, f.TABLE, number)
            entries = tuple(self._entry(first + n) for n in range(count))
            rows, views = read_overlay(self, number)
            found[self.text(name, size)] = Table(entries, self.fragment(absent), rows=rows, views=views)
        return found

    def keys(self) -> dict[str, set[str]]:
        """Every dialect's keys, without what is answered for them."""
        found = {}
        for number in range(self.count(Section.TABLES)):
            name, size, first, count, *_ = self.row(Section.TABLES, f.TABLE, number)
            rows = (self.row(Section.ENTRIES, f.ENTRY, first + n) for n in range(count))
            found[self.text(name, size)] = {self.text(*row[:2]) for row in rows}
        return found

    def _entry(self, number: int) -> Entry:
        row = self.row(Section.ENTRIES, f.ENTRY, number)
        outcomes = self.row(Section.DECISIONS, f.DECISION, row[4])[4]
        fragments = tuple(self.fragment(row[5] + n) for n in range(outcomes))
        guest = row[7] == f.NONE
        place = -1 if guest else row[7] - 1
        return Entry(self.text(*row[:2]), row[4], fragments, bool(row[6]), place, guest)

    def fragment(self, number: int) -> Fragment:
        first, count = self.row(Section.FRAGMENTS, f.FRAGMENT, number)
        ropes = (self.row(Section.ROPES, f.ROPE, first + n) for n in range(count))
        return tuple(
            Hole(length) if offset == f.NONE else self._blob(offset, length) for offset, length in ropes
        )


def by_row(table: Table) -> Table:
    """The table with every entry of a row shown by that row's decision: its value at each of its outcomes, as far
    as its own row decides it."""
    entries = []
    for number, entry in enumerate(table.entries):
        if entry.row >= 0:
            row = table.rows[entry.row]
            own = entry.fragments[0]
            laid = [
                next((patch.fragment for patch in outcome.patches if patch.entry == number), own)
                for outcome in row.outcomes
            ]
            entry = msgspec.structs.replace(entry, decision=row.decision, fragments=tuple(laid))
        entries.append(entry)
    return msgspec.structs.replace(table, entries=tuple(entries))


def patching(table: Table, key: str) -> list[int]:
    """The decisions of the rows that can lay a value over a key's own, in their order."""
    numbers = {number for number, entry in enumerate(table.entries) if entry.key == key}
    return [
        row.decision
        for row in table.rows
        if any(patch.entry in numbers for outcome in row.outcomes for patch in outcome.patches)
    ]


def version_text(version: Version) -> str:
    pre = f"-{version.pre}" if version.pre else ""
    build = f"+{version.build}" if version.build else ""
    return f"{version.major}.{version.minor}.{version.patch}{pre}{build}"


def describe(decision: Decision, slots: tuple[Slot, ...]) -> list[str]:
    """A decision as lines of text, one a node: its number, what it looks at, and where it goes."""
    return [f"{number:4}  {_describe_node(node, slots)}" for number, node in enumerate(decision.nodes)]


def slot_text(slot: Slot) -> str:
    place = slot.source.name.lower()
    kind = f"[{slot.context_type}]" if slot.source in (Source.CONTEXT_KEY, Source.CONTEXT_ATTRIBUTE) else ""
    return f"{place}{kind} {slot.name!r}" if slot.name else f"{place}{kind}"


def _describe_node(node: Node, slots: tuple[Slot, ...]) -> str:
    match node:
        case Test():
            subject = f"decision {node.operand.decision}" if isinstance(node.operand, DecisionVariant) else ""
            subject = subject or slot_text(slots[node.slot])
            relation = f" {node.relation.name}" if node.op.name.startswith("ORDER") else ""
            operand = node.operand.variant if isinstance(node.operand, DecisionVariant) else node.operand
            exits = f"true {node.on_true}, false {node.on_false}"
            exits += f", missing {node.on_missing}, mismatch {node.on_mismatch}"
            shown = "" if operand is None else f" {operand!r}"
            return f"test {subject} {node.op.name}{relation}{shown} -> {exits}"
        case Hash():
            parts = [
                repr(piece.literal)
                if piece.kind is PieceKind.LITERAL
                else f"{piece.kind.name.lower()}({slot_text(slots[piece.slot])})"
                for piece in node.pieces
            ]
            missing = "" if node.on_missing < 0 else f", missing {node.on_missing}"
            reduction = f"{node.reduction.name}({node.modulus})"
            return f"hash {node.hash.name} of {' + '.join(parts)} by {reduction} -> {node.on_done}{missing}"
        case Ranges():
            rows = ", ".join(f"{r.low}..{r.high} {r.target}" for r in node.ranges)
            return f"bucket -> {rows}, else {node.on_none}"
        case Weights():
            rows = ", ".join(f"{w:g} {t}" for w, t in zip(node.weights, node.targets, strict=True))
            return f"weights -> {rows}"
        case Scores():
            targets = ", ".join(f"{len(a.terms)} terms {a.target}" for a in node.alternatives)
            return f"scores, gamma {node.gamma:g}, floor {node.floor:g} -> {targets}"
        case KeyedWeights():
            shown = ", ".join(str(target) for target in node.targets)
            count = (
                f"{slot_text(slots[node.count_slot])} of" if node.count_slot >= 0 else f"{len(node.targets)}"
            )
            return f"weights under a key ({len(node.vectors)} known), {count} -> {shown}, else {node.on_none}"
        case Outcome():
            rule = "" if node.rule < 0 else f", rule {node.rule}"
            cause = "" if node.cause is Cause.NONE else f" by {node.cause.name}"
            return f"outcome {node.resolution.name}{cause}, variant {node.variant}{rule}"
