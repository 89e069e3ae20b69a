"""How many units get another answer of each changed flag, from which to which: on as many cores as there are."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

import msgspec

from fanion._core.evaluate import Bundle
from fanion.engine.evaluator import open_environment
from fanion.engine.externals import Membership
from fanion.engine.sources import SourceDirectory, sources_in
from fanion.errors import FanionError
from fanion.preview.changes import Change, label
from fanion.preview.contexts import TARGETING_KEY, MadeUp, subject_of

CHUNK: Final = 10_000
VALUES_SHOWN_MAX: Final = 20
VALUES_KEPT_MAX: Final = 1_000
"""Of an attribute, while units are counted: of one that has more values, rare ones may be counted short."""
ABSENT: Final = "(nothing)"

Pair = tuple[str, str]


class Moved(msgspec.Struct):
    """Of one flag. `units`: who was asked for; `moves`: (from, to) -> how many, those that stay left out; `by`: of
    an attribute, value -> (units, how many of them move), the most frequent ones."""

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
            if len(own) > VALUES_KEPT_MAX:
                self.keep(attribute, VALUES_KEPT_MAX)

    def keep(self, attribute: str, count: int) -> None:
        """So many of its values, the most frequent first."""
        values = self.by[attribute].items()
        self.by[attribute] = dict(sorted(values, key=lambda item: -item[1][0])[:count])


class Comparison(msgspec.Struct, frozen=True):
    """What is asked: `changes` with both sides, of one environment's two bundles. `membership`: makes what answers
    for lists, in the process that asks. `attributes`: whose values movements are counted by."""

    environment: str
    before: bytes
    after: bytes
    changes: tuple[Change, ...]
    membership: Callable[[], Membership | None]
    attributes: tuple[str, ...] = ()


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
        found.by[name] = {value: (cell[0], cell[1]) for value, cell in values.items()}
        found.keep(name, VALUES_KEPT_MAX)
    return found


_comparison: Comparison | None = None
_asking: Asking | None = None
"""Of a process of the pool."""


def _begin(comparison: Comparison) -> None:
    global _comparison
    _comparison = comparison


def _asked_here() -> Asking:
    """Opened by the first task, whose fault it is then, and not in `_begin`, whose faults nobody hears of."""
    global _asking
    if _asking is None:
        assert _comparison is not None
        _asking = Asking(_comparison)
    return _asking


def _made_up(task: tuple[MadeUp, int, int]) -> list[Moved]:
    made, first, count = task
    return _asked_here().count(made.contexts(first, count))


def _given(contexts: list[dict[str, Any]]) -> list[Moved]:
    return _asked_here().count(contexts)


def count_moves(
    comparison: Comparison,
    who: MadeUp | Iterable[dict[str, Any]],
    units: int,
    processes: int,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Moved]:
    """A `Moved` for each change, of at most so many units, with `VALUES_SHOWN_MAX` values of an attribute at most.
    With one of `processes` this one asks. Raises what asking does, and FanionError where a process ended."""
    total = [Moved() for _ in comparison.changes]
    if comparison.changes:
        count = _count_here if processes == 1 else partial(_count_in, processes)
        count(comparison, who, units, total, progress)
    for one in total:
        for attribute in one.by:
            one.keep(attribute, VALUES_SHOWN_MAX)
    return total


def _count_in(
    processes: int,
    comparison: Comparison,
    who: MadeUp | Iterable[dict[str, Any]],
    units: int,
    total: list[Moved],
    progress: Callable[[int], None],
) -> None:
    waiting: deque[Future[list[Moved]]] = deque()

    def take() -> None:
        answer = waiting.popleft().result()
        for one, more in zip(total, answer, strict=True):
            one.add(more)
        progress(answer[0].units)

    forked = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(processes, forked, _begin, (comparison,)) as pool:
            for ask, task in _tasks(who, units):
                waiting.append(pool.submit(ask, task))
                if len(waiting) > 2 * processes:
                    take()
            while waiting:
                take()
    except BrokenProcessPool:
        raise FanionError("a process that asked for units was ended; is there enough memory?") from None


def _count_here(
    comparison: Comparison,
    who: MadeUp | Iterable[dict[str, Any]],
    units: int,
    total: list[Moved],
    progress: Callable[[int], None],
) -> None:
    asking = Asking(comparison)
    for _, task in _tasks(who, units):
        contexts = task[0].contexts(*task[1:]) if isinstance(task, tuple) else task
        answer = asking.count(contexts)
        for one, more in zip(total, answer, strict=True):
            one.add(more)
        progress(answer[0].units)


def _tasks(
    who: MadeUp | Iterable[dict[str, Any]], units: int
) -> Iterator[tuple[Callable[[Any], list[Moved]], Any]]:
    if isinstance(who, MadeUp):
        for first in range(0, units, CHUNK):
            yield _made_up, (who, first, min(CHUNK, units - first))
        return
    contexts = iter(who)
    left = units
    while left > 0 and (chunk := list(islice(contexts, min(CHUNK, left)))):
        left -= len(chunk)
        yield _given, chunk
