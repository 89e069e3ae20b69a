"""A bundle of which some decisions, and what is answered for them, are other than in one that is there.

All else is taken over natively (`_core.amending`), each part by the way that it takes when it is compiled, so
that the bytes are those of compiling the whole. What is new is said with the numbers that slots and decisions
have in the bundle; decisions keep theirs, and there are no more and no fewer of them, of slots and of entries.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fanion._core.amending import Copier
from fanion._core.bundle import BundleView
from fanion.bundle import format as f
from fanion.bundle.compiler import write_end
from fanion.bundle.format import Section
from fanion.bundle.nodes import READS, DecisionWriter, read_node
from fanion.bundle.overlays import read_overlay, write_overlay
from fanion.bundle.reader import BundleReader
from fanion.bundle.sections import SectionWriter
from fanion.bundle.splits import ReachedWriter
from fanion.model.collector import collector_paused
from fanion.model.program import Decision, Entry, Lowered, Node, Slot, Table, Test

_NOT_TAKEN = (Section.SPLITS, Section.REACHED, Section.ROWS, Section.EXPRESSIONS)


class Amendment(msgspec.Struct, frozen=True):
    """`decisions`: by number. `entries`: dialect -> decision -> the entry in place of the one that it has there.
    `documents`: by name."""

    decisions: dict[int, Decision]
    entries: dict[str, dict[int, Entry]] = {}
    documents: dict[str, bytes] = {}


class Amended:
    """One bundle, verified. The buffer is the caller's for as long as this lives."""

    def __init__(self, bundle: memoryview | bytes) -> None:
        self._view = BundleView(bundle)
        self.reader = BundleReader(bundle)
        count = self.reader.count(Section.SLOTS)
        self.slots: tuple[Slot, ...] = tuple(self.reader.slot(number) for number in range(count))
        self.documents = dict(self.reader.documents())
        self.decision_count = self.reader.count(Section.DECISIONS)
        self._writer = writer = SectionWriter(self.reader.environment, count)
        writer.expect([self.reader.count(section) * f.RECORD_SIZES[section] for section in Section])
        self._decisions = DecisionWriter(writer, ReachedWriter(writer, Lowered(self.reader.environment)))
        rows = writer.rows
        self._copier = Copier(
            self._view,
            rows[Section.DECISIONS],
            rows[Section.NODES],
            rows[Section.PIECES],
            rows[Section.RANGES],
            writer.fragments,
            writer.needs,
            READS,
            writer.outcome_counts,
            writer.depths,
            self,
        )

    def close(self) -> None:
        """Lets go of the buffer."""
        self._view.close()
        self.reader.buffer.release()

    def can_be(self) -> bool:
        """Whether it has nothing but what this takes over: no recorded splits, rows and computed slots."""
        return not any(self.reader.count(section) for section in _NOT_TAKEN)

    def tables(self) -> list[str]:
        """Names of dialects, in the order of their tables."""
        rows = (
            self.reader.row(Section.TABLES, f.TABLE, number)
            for number in range(self.reader.count(Section.TABLES))
        )
        return [self.reader.text(*row[:2]) for row in rows]

    def decisions_of(self, key: str) -> list[int]:
        """Numbers of the decisions that have this key."""
        return self._copier.decisions_of(key)

    def compiled(self, amendment: Amendment) -> bytes:
        """The new bundle; once. Raises ProgramError where what is new breaks a rule or a limit of the format."""
        with collector_paused():
            return self._compiled(amendment)

    def _compiled(self, amendment: Amendment) -> bytes:
        first = 0
        for number, decision in sorted(amendment.decisions.items()):
            self._copier.copy_decisions(first, number)
            self._decisions.write(decision)
            first = number + 1
        self._copier.copy_decisions(first, self.decision_count)
        for number, name in enumerate(self.tables()):
            self._write_table(number, name, amendment.entries.get(name, {}))
        reader = self.reader
        lowered = Lowered(reader.environment, self.slots, identifiers=reader.identifiers, lists=reader.lists)
        return write_end(self._writer, lowered, self.documents | amendment.documents)

    def _write_table(self, number: int, name: str, entries: Mapping[int, Entry]) -> None:
        writer, reader = self._writer, self.reader
        rows, index = writer.rows[Section.ENTRIES], writer.rows[Section.INDEX]
        first, index_first = len(rows), len(index)
        *_, absent, _ = reader.row(Section.TABLES, f.TABLE, number)
        writer.where = ("table", name)
        try:
            self._copier.copy_entries(number, rows, index, dict(entries), msgspec.json.encode)
        except ValueError as error:
            raise writer.refuse(*error.args[-2:]) from None
        none = writer.fragment((reader.fragment(absent),))
        counts = (first, len(rows) - first, index_first, len(index) - index_first - 1)
        at = len(writer.rows[Section.TABLES])
        writer.rows[Section.TABLES].append(f.TABLE.pack(*writer.text(name), *counts, none, 0))
        write_overlay(writer, at, Table((), (), views=read_overlay(reader, number)[1]))

    # -- what the copier asks

    def test(self, node: int, number: int, count: int) -> bytes:
        read = self._node(node, number)
        assert isinstance(read, Test)
        return self._decisions.test_row(read, number, count)

    def other(self, node: int, number: int, count: int) -> bytes:
        return self._decisions.other(self._node(node, number), number, count)

    def ask(self, decision: int, number: int) -> int:
        return self._decisions.ask(decision, number)

    def _node(self, node: int, number: int) -> Node:
        self._writer.where = ("node", number)
        return read_node(self.reader, node)
