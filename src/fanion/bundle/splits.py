"""Splits and where they are reached, written and read back: what an exposure of an outcome says.

Which variant an outcome serves is the parameters' and layers' to say, so it is looked up when outcomes are written.
"""

from __future__ import annotations

from fanion.bundle import format as f
from fanion.bundle.format import Section
from fanion.bundle.sections import SectionReader, SectionWriter
from fanion.model.program import Lowered, Reached, Split


class ReachedWriter:
    """Of one environment; equal runs of records are stored once."""

    def __init__(self, writer: SectionWriter, lowered: Lowered) -> None:
        self._writer = writer
        self._splits = lowered.splits
        self._known: dict[tuple[bytes, ...], int] = {}
        self._arms = {layer.decision: layer.arms for layer in lowered.layers} if lowered.splits else {}
        self._answers = (
            {one.decision: one.answers for one in reversed(lowered.parameters)} if lowered.splits else {}
        )

    def write(self, decision: int, outcome: int, reached: tuple[Reached, ...]) -> tuple[int, int]:
        """Number of the first, and how many."""
        rows = []
        for one in reached:
            if not 0 <= one.split < len(self._splits):
                raise self._writer.refuse(f"split {one.split}", f"there are {len(self._splits)}")
            variant = self._variant(decision, outcome, one)
            text = (f.NONE, 0) if variant is None else self._writer.text(variant)
            rows.append(f.REACHED.pack(one.split, one.inside, *text))
        first = self._known.get(tuple(rows))
        if first is None:
            first = self._known[tuple(rows)] = len(self._writer.rows[Section.REACHED])
            self._writer.rows[Section.REACHED] += rows
        return first, len(rows)

    def _variant(self, decision: int, outcome: int, reached: Reached) -> str | None:
        """The name of what is served: of a layer's policy its allocation, where the subject has one."""
        if decision in self._arms:
            arm = self._arms[decision][outcome]
            own = reached.inside and arm.policy == self._splits[reached.split].flag
            return (arm.allocation_key or arm.allocation_name) if own else None
        answers = self._answers.get(decision)
        return answers[outcome].variant if answers else None


def write_splits(writer: SectionWriter, splits: tuple[Split, ...]) -> None:
    for number, split in enumerate(splits):
        writer.where = ("split", number)
        slot = f.NONE
        if split.slot >= 0:
            slot = writer.slot(split.slot)
            writer.needs[slot] |= f.NEEDS_TEXT
        texts = (*writer.text(split.flag), *writer.text(split.run), *writer.text(split.unit))
        writer.rows[Section.SPLITS].append(f.SPLIT.pack(*texts, slot, 0))


def read_splits(reader: SectionReader) -> tuple[Split, ...]:
    splits = []
    for number in range(reader.count(Section.SPLITS)):
        flag, flag_size, run, run_size, unit, unit_size, slot, _ = reader.row(Section.SPLITS, f.SPLIT, number)
        texts = reader.text(flag, flag_size), reader.text(run, run_size), reader.text(unit, unit_size)
        splits.append(Split(*texts, -1 if slot == f.NONE else slot))
    return tuple(splits)


def read_reached(reader: SectionReader, first: int, count: int) -> tuple[Reached, ...]:
    rows = (reader.row(Section.REACHED, f.REACHED, first + n) for n in range(count))
    return tuple(Reached(split, bool(inside)) for split, inside, _, _ in rows)


def read_variants(reader: SectionReader, first: int, count: int) -> tuple[str | None, ...]:
    """What each of them says was served."""
    rows = (reader.row(Section.REACHED, f.REACHED, first + n) for n in range(count))
    return tuple(None if at == f.NONE else reader.text(at, size) for _, _, at, size in rows)
