"""A worker that takes a dead one's place: the store is read through first, and its copy served when damaged."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fanion.config import Config
from fanion.errors import StoreError
from fanion.process.supervisor import Place
from fanion.process.worker import Worker
from fanion.store.database import hold_lock
from fanion.store.publication import Publication
from fanion.store.recovery import open_verified
from fanion.store.store import Store
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeats
from fanion.telemetry.metrics import Metrics


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "data", create=True) as store:
        store.publish(Publication(bundles={"a": os.urandom(50_000)}))
        store.keep_copy()
    return tmp_path / "data"


def worker(data: Path, *, successor: bool) -> Worker:
    row = Heartbeats(1).rows[0]
    made = Worker(data, Config(), (), Place(lambda notice: None, lambda: None, row, successor))
    made._metrics = Metrics.open(data)
    return made


def test_successor_serves_the_copy_of_a_damaged_store_and_counts_the_fault(data: Path) -> None:
    os.truncate(data / "store" / "data.mdb", 20_000)
    with pytest.raises(StoreError, match="cut off"):
        worker(data, successor=False)._open_store()
    successor = worker(data, successor=True)
    with successor._open_store() as store:
        assert store.generation() == 2
    counted = Exposition(data)
    assert b"fanion_store_faults_total 1\n" in counted.text()
    counted.close()


def test_successor_of_a_worker_that_died_of_something_else_changes_nothing(data: Path) -> None:
    with worker(data, successor=True)._open_store() as store:
        assert store.generation() == 1
    assert not list((data / "store").glob("damaged-*"))


def test_copy_is_not_put_in_place_under_processes_that_read_the_store(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr("fanion.store.recovery.OTHERS_END_WAIT_S", 0.0)
    other = hold_lock(data / "store" / "use.lock", fcntl.LOCK_SH)
    os.truncate(data / "store" / "data.mdb", 20_000)
    with pytest.raises(StoreError, match="held by another process"):
        open_verified(data)
    os.close(other)
    store, problem = open_verified(data)
    assert problem is not None
    store.close()
