"""A bundle read back as structs, for `fanion inspect`, `fanion eval` and tests, never for requests.

The way back is exact: `BundleReader(compile_bundle(lowered, {})).program()` has the same slots and decisions, which
a property test holds.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fanion.bundle import format as f
from fanion.bundle.expressions import read_expression
from fanion.bundle.format import Section
from fanion.bundle.nodes import read_decision
from fanion.bundle.sections import SectionReader
from fanion.bundle.splits import read_splits
from fanion.bundle.tables import read_keys, read_tables
from fanion.model.program import Lowered, Profile, Slot, Source, Table


class BundleReader(SectionReader):
    """A verified bundle's content as Python values. The buffer is the caller's for as long as this lives."""

    def __init__(self, buffer: memoryview | bytes) -> None:
        super().__init__(buffer)
        meta = msgspec.json.decode(self.bytes_of(Section.META))
        self.environment: str = meta["environment"]
        self.identifiers: dict[str, dict[str, str]] = meta["identifiers"]
        self.lists: tuple[str, ...] = tuple(meta["lists"])

    def program(self) -> Lowered:
        """Slots, decisions, documents and identifiers; parameters are not kept in a bundle."""
        decisions = range(self.count(Section.DECISIONS))
        return Lowered(
            environment=self.environment,
            slots=tuple(self.slot(n) for n in range(self.count(Section.SLOTS))),
            decisions=tuple(read_decision(self, n) for n in decisions),
            documents=dict(self.documents()),
            identifiers=self.identifiers,
            lists=self.lists,
            splits=read_splits(self),
        )

    def documents(self) -> Iterator[tuple[str, bytes]]:
        """Whole answers and records by name."""
        for number in range(self.count(Section.DOCUMENTS)):
            name, name_size, content, size = self.row(Section.DOCUMENTS, f.DOCUMENT, number)
            yield self.text(name, name_size), self.blob(content, size)

    def tables(self, *, fragments: bool = True) -> dict[str, Table]:
        """Every dialect's table, fragments in pieces. Without `fragments` entries have none, of many in a tenth of
        the time."""
        return read_tables(self, fragments)

    def keys(self) -> dict[str, set[str]]:
        """Every dialect's keys, without what is answered for them."""
        return read_keys(self)

    def slot(self, number: int) -> Slot:
        row = self.row(Section.SLOTS, f.SLOT, number)
        name, size, kind, kind_size, source, profile, dotted, _, expression = row
        texts = self.text(name, size), self.text(kind, kind_size)
        steps = read_expression(self, expression)
        return Slot(Source(source), texts[0], texts[1], bool(dotted), Profile(profile), steps)
