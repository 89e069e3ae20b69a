"""What killed workers left becomes rows, a sink's too, once it is known to stay: drained by others, or by a command
beside which there may be no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanion.journal.session import adopt_all
from fanion.journal.storage import Storage
from tests.unit.killed_writers import killed
from tests.unit.pipeline_world import MACHINE, SETTINGS, Journal, kept, pipeline
from tests.unit.sink_standins import Store, identities, sink, stand_in_store


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    return stand_in_store(monkeypatch)


def half_synced(directory: Path) -> tuple[Journal, tuple[bytes, int]]:
    """Six records stand in the log of a killed worker, of which four are known to be durable."""
    journal = Journal(directory)
    for _ in range(4):
        journal.append()
    durable = journal.durable()
    for _ in range(2):
        journal.append()
    killed(directory, MACHINE, durable_below=5)
    return journal, durable


def others_under_these_sequences(journal: Journal, durable: tuple[bytes, int]) -> None:
    """The power was cut, and the slot's next owner gave other records the sequences 5, 6 and 7."""
    journal.cut_to(durable)
    for _ in range(3):
        journal.append("staging", events=1)
    killed(journal.directory, MACHINE, durable_below=8, epoch=2)


class Drain:
    """As a command does it that may have no server beside it; until `works`, the disk is full."""

    def __init__(self, directory: Path) -> None:
        self.works = False
        self._journal = directory / "journal"

    def __call__(self) -> None:
        if not self.works:
            raise OSError("no space")
        adopt_all(Storage(), self._journal, SETTINGS)


UNDRAINED = "what killed workers left can't be drained: no space"


def test_rows_are_made_of_what_stays(tmp_path: Path) -> None:
    journal, durable = half_synced(tmp_path)
    with pipeline(tmp_path) as made:
        assert made.run_once() == 4 * 2
        assert made.run_once() == 0
        others_under_these_sequences(journal, durable)
        assert made.run_once() == 3
        assert kept(made, tmp_path) == sorted(journal.rows(), key=lambda row: row[:6])


def test_a_pipeline_without_a_server_drains_what_killed_workers_left(tmp_path: Path) -> None:
    journal, _ = half_synced(tmp_path)
    drain = Drain(tmp_path)
    with pipeline(tmp_path, drain=drain) as made:
        assert made.run_once() == 4 * 2
        assert made.take_problems() == [UNDRAINED]
        drain.works = True
        assert made.run_once() == 2 * 2
        assert made.take_problems() == []
        assert kept(made, tmp_path) == sorted(journal.rows(), key=lambda row: row[:6])


@pytest.mark.parametrize("kind", ["parquet", "file"])
def test_sinks_are_given_what_stays(tmp_path: Path, store: Store, kind: str) -> None:
    journal, durable = half_synced(tmp_path)
    with sink(journal, kind) as one:
        assert one.run_once() == 4 * 2
        assert one.run_once() == 0
        others_under_these_sequences(journal, durable)
        assert one.run_once() == 3
    assert store.ids() == identities(journal)


def test_a_sink_without_a_server_drains_what_killed_workers_left(tmp_path: Path, store: Store) -> None:
    journal, _ = half_synced(tmp_path)
    drain = Drain(tmp_path)
    with sink(journal, drain=drain) as one:
        assert one.run_once() == 4 * 2
        assert one.problems() == [UNDRAINED]
        drain.works = True
        assert one.run_once() == 2 * 2
        assert one.problems() == []
    assert store.ids() == identities(journal)
