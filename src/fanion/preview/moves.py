"""How many units get another answer of each changed flag, from which to which: on as many cores as there are."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import msgspec

from fanion._core.evaluate import Bundle
from fanion.engine.evaluator import open_environment
from fanion.engine.externals import Membership
from fanion.engine.sources import SourceDirectory, sources_in
from fanion.preview.changes import Change, label
from fanion.preview.contexts import TARGETING_KEY, MadeUp, subject_of

CHUNK: Final = 10_000
VALUES_SHOWN_MAX: Final = 20
ABSENT: Final = "(nothing)"

Pair = tuple[str, str]


class Moved(msgspec.Struct):
    """Of one flag. `units`: who was asked for; `moves`: (from, to) -> how many, those that stay left out; `by`: of
    an attribute, value -> (units, how many of them move)."""

    units: int = 0
    moves: dict[Pair, int] = {}
    by: dict[str, dict[str, tuple[int, int]]] = {}

    @property
    def moved(self) -> int:
        return sum(self.moves.values())

    def add(self, other: Moved) -> None:
        self.units += other.units
        for pair, count in other.moves.items():
            self.moves[pair] = self.moves.get(pair, 0) + count
        for attribute, values in other.by.items():
            own = self.by.setdefault(attribute, {})
            for value, (units, moved) in values.items():
                before = own.get(value, (0, 0))
                own[value] = before[0] + units, before[1] + moved


class Comparison(msgspec.Struct, frozen=True):
    """What is asked: `changes` with both sides, of one environment's two bundles. `membership`: makes what answers
    for lists, in the process that asks. `attributes`: whose values movements are counted by."""

    environment: str
    before: bytes
    after: bytes
    changes: tuple[Change, ...]
    membership: Callable[[], Membership | None]
    attributes: tuple[str, ...] = ()

    def open(self) -> Asking:
        return Asking(self)


class Side:
    """One bundle, ready to be asked."""

    def __init__(self, environment: str, buffer: bytes, is_member: Membership | None) -> None:
        self.bundle: Bundle = open_environment(environment, buffer, is_member)
        self.directory: SourceDirectory = sources_in(self.bundle)

    def question(self, source: str, subject: str | None, attributes: dict[str, Any]) -> Any:
        shape = self.directory.shape(source)
        if shape is None:
            return self.bundle.ask({}, attributes, ())
        return self.bundle.ask(*shape.asked(subject, attributes))


class Asked(NamedTuple):
    """A flag on both sides. `cells`: how often each pair of outcomes came, `width` new ones to an old one."""

    change: Change
    before: int
    after: int
    width: int
    cells: list[int]
    differs: list[bool]
    """Whether a pair means that someone moves."""
    by: dict[str, dict[str, list[int]]]


class Asking:
    """Both sides in one process."""

    def __init__(self, comparison: Comparison) -> None:
        is_member = comparison.membership()
        self._before = Side(comparison.environment, comparison.before, is_member)
        self._after = Side(comparison.environment, comparison.after, is_member)
        self._attributes = comparison.attributes
        self._changes = comparison.changes

    def count(self, contexts: Iterable[dict[str, Any]]) -> list[Moved]:
        """A `Moved` for each change."""
        asked = [_asked(change) for change in self._changes]
        by_source: dict[str, list[Asked]] = {}
        for one in asked:
            by_source.setdefault(one.change.source, []).append(one)
        units = 0
        for context in contexts:
            units += 1
            subject = subject_of(context)
            attributes = {name: value for name, value in context.items() if name != TARGETING_KEY}
            for source, flags in by_source.items():
                before = self._before.question(source, subject, attributes).evaluate
                after = self._after.question(source, subject, attributes).evaluate
                for _, old, new, width, cells, differs, by in flags:
                    cell = before(old)[0] * width + after(new)[0]
                    cells[cell] += 1
                    if self._attributes:
                        self._by_attribute(by, attributes, differs[cell])
        return [_moved(one, units) for one in asked]

    def _by_attribute(
        self, by: dict[str, dict[str, list[int]]], attributes: dict[str, Any], moved: bool
    ) -> None:
        for name in self._attributes:
            value = attributes.get(name)
            text = ABSENT if value is None else str(value)
            cell = by.setdefault(name, {}).setdefault(text, [0, 0])
            cell[0] += 1
            cell[1] += moved


def _labels(change: Change) -> tuple[list[str], list[str]]:
    assert change.before is not None
    assert change.after is not None
    old, new = change.before.answers, change.after.answers
    return [label(one) for one in old], [label(one) for one in new]


def _asked(change: Change) -> Asked:
    old, new = _labels(change)
    assert change.before is not None
    assert change.after is not None
    differs = [was != will for was in old for will in new]
    numbers = change.before.decision, change.after.decision
    return Asked(change, *numbers, len(new), [0] * len(differs), differs, {})


def _moved(asked: Asked, units: int) -> Moved:
    old, new = _labels(asked.change)
    found = Moved(units)
    for cell, count in enumerate(asked.cells):
        if count and asked.differs[cell]:
            pair = old[cell // asked.width], new[cell % asked.width]
            found.moves[pair] = found.moves.get(pair, 0) + count
    for name, values in asked.by.items():
        most = sorted(values.items(), key=lambda item: -item[1][0])[:VALUES_SHOWN_MAX]
        found.by[name] = {value: (cell[0], cell[1]) for value, cell in most}
    return found


_asking: Asking | None = None
"""Of a process of the pool."""


def _begin(comparison: Comparison) -> None:
    global _asking
    _asking = comparison.open()


def _made_up(task: tuple[MadeUp, int, int]) -> list[Moved]:
    made, first, count = task
    assert _asking is not None
    return _asking.count(made.contexts(first, count))


def _given(contexts: list[dict[str, Any]]) -> list[Moved]:
    assert _asking is not None
    return _asking.count(contexts)


def count_moves(
    comparison: Comparison,
    who: MadeUp | Iterable[dict[str, Any]],
    units: int,
    processes: int,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Moved]:
    """A `Moved` for each change, of at most so many units."""
    total = [Moved() for _ in comparison.changes]
    if not comparison.changes:
        return total
    pool = multiprocessing.get_context("fork").Pool(processes, _begin, (comparison,))
    room = threading.Semaphore(2 * processes)
    with pool:
        if isinstance(who, MadeUp):
            tasks = [(who, first, min(CHUNK, units - first)) for first in range(0, units, CHUNK)]
            answers: Iterator[list[Moved]] = pool.imap(_made_up, tasks)
        else:
            answers = pool.imap(_given, _chunks(who, units, room))
        for answer in answers:
            room.release()
            for one, more in zip(total, answer, strict=True):
                one.add(more)
            progress(answer[0].units)
    return total


def _chunks(
    contexts: Iterable[dict[str, Any]], most: int, room: threading.Semaphore
) -> Iterator[list[dict[str, Any]]]:
    """Not read further ahead than there is `room`."""
    chunk: list[dict[str, Any]] = []
    for number, context in enumerate(contexts):
        if number >= most:
            break
        chunk.append(context)
        if len(chunk) == CHUNK:
            room.acquire()
            yield chunk
            chunk = []
    if chunk:
        yield chunk
