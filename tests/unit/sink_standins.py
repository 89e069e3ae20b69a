"""A journal with events, and receivers of sinks that die and refuse when they are told to."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fanion.config.sinks import Sinks
from fanion.dialects import canonical_forms
from fanion.errors import SinkError
from fanion.journal.storage import Storage
from fanion.sinks import kind_of, parquet
from fanion.sinks import sink as module
from fanion.sinks.sink import Sink
from tests.unit.pipeline_world import Journal, Killed

pytest.importorskip("pyarrow")

Id = tuple[Any, ...]
IDENTITY = ("machine", "writer", "sequence", "index", "part")


def identities(journal: Journal) -> list[Id]:
    return sorted((row[0], row[1], row[3], row[4], row[5]) for row in journal.rows())


def ids_of(lines: Iterator[bytes] | list[bytes]) -> list[Id]:
    rows = [json.loads(line) for line in lines]
    for row in rows:
        assert row["id"] == "-".join(str(row[name]) for name in IDENTITY)
    return [tuple(row[name] for name in IDENTITY) for row in rows]


class Store:
    """An object store, or what takes lines: it dies or refuses when it is told to."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Id]] = {}
        self.lines: list[bytes] = []
        self.refuses: Callable[[], str] = lambda: ""
        self.dies = lambda: False
        self.left_out = 0

    def open(self, settings: Sinks, turn: Callable[[], None]) -> Store:
        return self

    def take(self, rows: Any, name: str) -> None:
        if isinstance(rows, list):
            for line in rows:
                self._answer()
                self.lines.append(line.text)
            return
        for environment, day, part in parquet.parts_of(rows):
            self._answer()
            found = [tuple(row[name] for name in IDENTITY) for row in part.to_pylist()]
            self.objects.setdefault(parquet.object_path(environment, day, name), found)

    def _answer(self) -> None:
        if reason := self.refuses():
            raise SinkError(reason)
        if self.dies():
            raise Killed

    def close(self) -> None:
        pass

    def ids(self) -> list[Id]:
        return sorted([*ids_of(self.lines), *itertools.chain(*self.objects.values())])


def stand_in_store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Behind every kind."""
    made = Store()
    whole = kind_of

    def stand_in(name: str) -> Any:
        return whole(name)._replace(open=made.open, needs=())

    monkeypatch.setattr(module, "kind_of", stand_in)
    monkeypatch.setattr(module, "missing_libraries", lambda name: [])
    return made


def sink(journal: Journal, name: str = "parquet", settings: Sinks | None = None, **members: Any) -> Sink:
    given: dict[str, Any] = {"map_bytes": 1 << 20, "step_rows": 10, **members}
    return Sink(journal.directory, name, settings or Sinks(), canonical_forms(), **given)


def fill(journal: Journal, count: int = 24) -> None:
    for n in range(count):
        journal.append(["prod", "test/ö"][n % 2], day=n // 15)


def attempt(journal: Journal, name: str, storage: Storage) -> bool:
    """False: it was killed."""
    made = None
    try:
        made = sink(journal, name, storage=storage)
        made.run_once()
        return True
    except Killed:
        return False
    finally:
        if made is not None:
            made.close()
