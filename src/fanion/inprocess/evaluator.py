"""One environment, evaluated in this process (docs/in-process.md).

The way in is `fanion._core.flat.FlatFront`: while the generation word stands still, an evaluation takes a reader
that is idle, and a reader belongs to one thread until it is put back. All else is here: after a publish, and once a
second in an evaluation (another store may be in its place, or a publisher have died before it raised the word), the
store is looked at, under the lock that a fork waits for. A child goes on with what it
inherited (a read-only map, and the lock on the file that holds it) and follows publishes by itself.

Invariants: an evaluation is answered from one generation, whole. A store that can't be read, or a bundle that
doesn't verify, leaves the last good one in place; `problem` says why. An environment that a publish took away isn't
answered.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fanion import dialects
from fanion._core.flat import FlatFront, FlatReader
from fanion.dialects.wire.flat import FlatAnswers
from fanion.engine.evaluator import open_environment
from fanion.errors import BundleError, ContextError, EnvironmentMissingError, EvaluationError, StoreError
from fanion.inprocess.answers import Evaluation, read_answer, read_ready
from fanion.inprocess.texts import whole
from fanion.model.json_value import JsonObject
from fanion.store.onlooker import Onlooker, Sight, looking


class _Kept(NamedTuple):
    """What a `FlatReader` keeps, and the way beside its own."""

    sight: Sight
    answers: FlatAnswers


def _open_reader(sight: Sight, environment: str) -> FlatReader:
    """A bundle of its own, for one thread at a time. Raises BundleError, StoreError."""
    readers = {name: blocks.reader() for name, blocks in sight.lists.items()}

    def is_member(name: str, member: str) -> bool:
        reader = readers.get(name)
        try:
            return reader is not None and reader.holds(member.encode())
        except ValueError as error:
            raise StoreError(f"the store's lists can't be read: {error}") from error

    bundle = open_environment(environment, sight.bundle, is_member)
    dialect = dialects.flat()
    answers = dialect.bind(bundle)
    if answers is None:
        raise StoreError(
            f"environment {environment} isn't served through {dialect.name}, whose answers are read in process; "
            f"name it among the environment's dialects and publish again"
        )
    return FlatReader(bundle, answers.table, answers.own, answers.plan, read_ready, _Kept(sight, answers))


class Evaluator(FlatFront):
    """The flags of one environment. `open` makes one; it may be used by all threads, and after a fork.

    `evaluate(key, context)` answers one flag as an `Evaluation`: `context` is a dict of JSON's types, its member
    `targetingKey` who is asked for. It raises EvaluationError, or StoreError where the environment is gone.
    """

    def __init__(self, path: str | PathLike[str], environment: str) -> None:
        """As `open`."""
        self.environment = environment
        self._onlooker = Onlooker(Path(path), environment)
        self._problem: StoreError | BundleError | None = None
        self._gone: StoreError | None = None
        self._closed = False
        self._changes = 0
        with looking:
            self._identity = self._onlooker.identity()
            self._word = self._onlooker.open_word()
            self._seen = self._announced()
            self._sight = self._onlooker.look({})
            self._idle = [_open_reader(self._sight, environment)]
            self._watch()

    @classmethod
    def open(cls, path: str | PathLike[str], environment: str) -> Evaluator:
        """The environment with this id in the store of the data directory `path`.

        Raises StoreMissingError, EnvironmentMissingError, StoreVersionError, StoreError, BundleError.
        """
        return cls(path, environment)

    @property
    def generation(self) -> int:
        """The store's generation that evaluations are answered from."""
        return self._sight.generation

    @property
    def problem(self) -> str:
        """Why the store could not be followed when it was last looked at; empty when it could."""
        problem = self._gone or self._problem
        return "" if problem is None else str(problem)

    @property
    def changes(self) -> int:
        """How often this environment's content has changed since `open`, as far as this process has seen."""
        return self._changes

    if TYPE_CHECKING:

        def evaluate(self, key: str, context: Mapping[str, Any]) -> Evaluation: ...

    def evaluate_all(self, context: Mapping[str, Any]) -> dict[str, Evaluation | EvaluationError]:
        """Every flag's answer to one context, an error (not raised) where a flag has none. Raises ContextError."""
        self.refresh()
        reader, idle = self._take()
        try:
            answers = self._asked(reader.kept.answers.every, context)
        finally:
            idle.append(reader)
        found = [read_answer(answer) for answer in answers]
        for one in found:
            if isinstance(one, ContextError) and not one.key:
                raise one
        return {one.key: one for one in found}

    def refresh(self) -> None:
        """Looks at the store, if a publish was announced or another second has begun. An evaluation does so by
        itself; a process that evaluates nothing for long keeps the publication that it read last until it calls
        this."""
        self._require()
        if not self.due():
            return
        with looking:
            self._require()
            self._look()
            self._watch()

    def close(self) -> None:
        """Lets go of the store; evaluating raises StoreError from here on. May be called twice."""
        with looking:
            self._gone = StoreError(f"{self._onlooker.directory}: this evaluator was closed")
            self._closed = True
            self._idle = []
            self.watch(None, 0, [])

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- one evaluation that doesn't go the short way

    def ask_otherwise(self, key: str, context: Mapping[str, Any]) -> Evaluation:
        self.refresh()
        reader, idle = self._take()
        try:
            found = self._asked(lambda asked: [reader.kept.answers.one(whole(key), asked)], context)
        finally:
            idle.append(reader)
        answer = read_answer(found[0])
        if isinstance(answer, EvaluationError):
            raise answer
        return answer

    def _asked(self, ask: Callable[[JsonObject], list[bytes]], context: object) -> list[bytes]:
        if not isinstance(context, Mapping):
            kind = type(context).__name__
            raise ContextError(
                "", "INVALID_CONTEXT", f"The context is a {kind}, not a mapping of names to values."
            )
        asked = dict(context)
        try:
            return ask(asked)
        except UnicodeEncodeError:
            return ask(whole(asked))

    def _take(self) -> tuple[FlatReader, list[FlatReader]]:
        """A reader that nobody else uses, and the list to put it back into."""
        idle, sight = self._idle, self._sight
        if self._gone is not None:
            raise self._gone.with_traceback(None)  # not on top of what it was raised with before
        try:
            return idle.pop(), idle
        except IndexError:
            return _open_reader(sight, self.environment), idle

    # -- following

    def _announced(self) -> int:
        return int.from_bytes(self._word[:8], sys.byteorder)

    def _watch(self) -> None:
        self.watch(self._word, self._seen, self._idle)

    def _require(self) -> None:
        if self._closed and self._gone is not None:
            raise self._gone.with_traceback(None)

    def _look(self) -> None:
        """Moves to what is committed; on a fault, what was served stays."""
        try:
            identity = self._onlooker.identity()
            replaced = identity[:4] != self._identity[:4]
            if replaced:
                self._word = self._onlooker.open_word()
            announced = self._announced()
            if (
                replaced
                or announced != self._seen
                or identity != self._identity
                or self._gone
                or self._problem
            ):
                self._seen = announced
                self._move(replaced)
            self._identity = identity
            self._gone = self._problem = None
        except EnvironmentMissingError as error:
            if self._gone is None:
                self._changes += 1
            self._gone, self._idle = error, []
        except (StoreError, BundleError) as error:
            self._seen = self._announced()
            self._problem = error

    def _move(self, replaced: bool) -> None:
        sight = self._onlooker.look(self._sight.lists)
        before = self._sight
        if not replaced and sight.entry == before.entry and self._gone is None:
            before.generation = sight.generation
            return
        idle = [_open_reader(sight, self.environment)]
        self._sight = (
            sight  # first: a reader that is opened meanwhile may be too new for its list, never too old
        )
        self._idle = idle
        self._changes += 1
