"""From a lowered environment and its renderers to a bundle's bytes: the sections, in the order in which they grow.

Everything that the format forbids is refused on the way with the decision and node named; what gets through
verifies when it is mapped. Knows no dialect: renderers come in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from fanion.bundle import format as f
from fanion.bundle.expressions import ExpressionWriter
from fanion.bundle.format import Section
from fanion.bundle.nodes import DecisionWriter
from fanion.bundle.sections import SectionWriter
from fanion.bundle.splits import ReachedWriter, write_splits
from fanion.bundle.tables import write_table
from fanion.model.collector import collector_paused
from fanion.model.program import Lowered, Source, Table
from fanion.model.shape import DOCUMENT, SourceRecord

Renderer = Callable[[Lowered], Table]


def compile_bundle(lowered: Lowered, renderers: Mapping[str, Renderer]) -> bytes:
    """The bundle of one environment, with a table for each renderer.

    Raises ProgramError where the program breaks a rule or a limit of the format; the message names the
    decision and the node.
    """
    return compile_spending([lowered], renderers)


def compile_spending(given: list[Lowered], renderers: Mapping[str, Renderer]) -> bytes:
    """The same of the last of `given`, which is taken out of it: the program is let go of before the bundle is put
    together, so that both aren't in memory at once."""
    with collector_paused():
        return _compiled(given, renderers)


def _compiled(given: list[Lowered], renderers: Mapping[str, Renderer]) -> bytes:
    lowered = given.pop()
    writer, documents = _written(lowered, renderers)
    rest = Lowered(lowered.environment, lowered.slots, identifiers=lowered.identifiers, lists=lowered.lists)
    del lowered
    return write_end(writer, rest, documents)


def _written(lowered: Lowered, renderers: Mapping[str, Renderer]) -> tuple[SectionWriter, dict[str, bytes]]:
    """All that the decisions are for; the documents that are still to be written."""
    writer = SectionWriter(lowered.environment, len(lowered.slots))
    decisions = DecisionWriter(writer, ReachedWriter(writer, lowered))
    for decision in lowered.decisions:
        decisions.write(decision)
    write_splits(writer, lowered.splits)
    documents = dict(lowered.documents)
    if lowered.shapes:
        flags = ((parameter.source, parameter.key) for parameter in lowered.parameters)
        record = SourceRecord.of(lowered.shapes, lowered.source_order, flags)
        documents[DOCUMENT] = msgspec.json.encode(record)
    for name, render in renderers.items():
        own = _write_table(writer, name, render(lowered))
        if twice := documents.keys() & own:
            writer.where = ("table", name)
            raise writer.refuse(
                f"the document {min(twice)!r} again", "each name once, a dialect's begin with its own"
            )
        documents |= own
    return writer, documents


def write_end(writer: SectionWriter, lowered: Lowered, documents: Mapping[str, bytes]) -> bytes:
    """What stands behind decisions and tables, and with it the whole bundle. Of `lowered` the slots, ids and
    lists."""
    for name, content in documents.items():
        writer.rows[Section.DOCUMENTS].append(f.DOCUMENT.pack(*writer.text(name), *writer.blob(content)))
    _write_slots(writer, lowered)
    _write_meta(writer, lowered)
    return writer.joined()


def _write_table(writer: SectionWriter, name: str, table: Table) -> dict[str, bytes]:
    """Its documents. The table is gone before the next is rendered: there is one in memory at a time."""
    write_table(writer, name, table)
    return table.documents


def _write_slots(writer: SectionWriter, lowered: Lowered) -> None:
    expressions = ExpressionWriter(writer)
    for number, (slot, needs) in enumerate(zip(lowered.slots, writer.needs, strict=True)):
        if (slot.source is Source.COMPUTED) is not bool(slot.steps):
            writer.where = ("slot", number)
            raise writer.refuse(f"{slot.source.name} with {len(slot.steps)} steps", "steps of computed slots")
        expression = expressions.write(number, slot.steps)
        texts = (*writer.text(slot.name), *writer.text(slot.context_type))
        flags = (slot.source, slot.profile, slot.dotted, needs)
        writer.rows[Section.SLOTS].append(f.SLOT.pack(*texts, *flags, expression))


def _write_meta(writer: SectionWriter, lowered: Lowered) -> None:
    meta = {
        "environment": lowered.environment,
        "identifiers": lowered.identifiers,
        "lists": lowered.lists,
    }
    writer.rows[Section.META].append(msgspec.json.encode(meta))
