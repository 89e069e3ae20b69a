"""A worker that takes a dead one's place: the store is read through first, and its copy served when damaged."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from fanion.config import Config
from fanion.errors import StoreError
from fanion.process.supervisor import Place
from fanion.process.worker import Worker
from fanion.store.database import hold_lock
from fanion.store.publication import Publication
from fanion.store.recovery import begin_healing, open_verified
from fanion.store.store import MAP_BYTES, Store
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
    place = Place(lambda notice: None, lambda: None, Heartbeats(1).rows[0], 0, successor)
    made = Worker(data, Config(), (), place)
    made._metrics = Metrics.open(data)
    return made


def test_successor_serves_the_copy_of_a_damaged_store_and_counts_the_fault(data: Path) -> None:
    os.truncate(data / "store" / "data.mdb", 20_000)
    with pytest.raises(StoreError, match="cut off"):
        worker(data, successor=False)._open_store()
    successor = worker(data, successor=True)
    with successor._open_store() as store:
        assert store.generation() == 2
    assert b"fanion_store_faults_total 1\n" in Exposition(data).text()


def test_successor_of_a_worker_that_died_of_something_else_changes_nothing(data: Path) -> None:
    with worker(data, successor=True)._open_store() as store:
        assert store.generation() == 1
    assert not list((data / "store").glob("damaged-*"))


def test_copy_takes_a_damaged_file_s_place_while_others_read_on_and_none_can_change_it(data: Path) -> None:
    with Store.open(data, write=True) as older:
        assert older.replaced() == ""
        pinned = older.pin()
        bundle = bytes(pinned.bundle("a") or b"")
        damage(data, bundle)
        child = begin_healing(data, MAP_BYTES)
        said = child.communicate()[0].decode()
        assert (child.returncode, said.strip()) == (0, "the bundle of environment a is damaged")
        assert "was replaced under the server" in older.replaced()
        assert older.generation() == 1
        for change in (lambda: older.publish(Publication(bundles={"a": b"lost"})), older.rotate_signing_key):
            with pytest.raises(StoreError, match="make it again"):
                change()
        pinned.release()
    store, problem = open_verified(data)
    with store:
        assert (problem, store.generation()) == (None, 2)
        fresh = store.pin()
        assert bytes(fresh.bundle("a") or b"") == bundle
        fresh.release()
    assert len(list((data / "store").glob("damaged-*"))) == 1
    assert not list((data / "store").glob("*.new"))


def test_copy_waits_for_who_is_opening_the_store(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fanion.store.recovery.OPENING_WAIT_S", 0.0)
    opening = hold_lock(data / "store" / "use.lock", fcntl.LOCK_SH)
    os.truncate(data / "store" / "data.mdb", 20_000)
    with pytest.raises(StoreError, match="held by another process"):
        open_verified(data)
    os.close(opening)
    store, problem = open_verified(data)
    assert problem is not None
    store.close()


def test_two_that_meet_the_damage_put_one_copy_in_place_under_one_number(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting = []

    def hold(path: Path, *how: float) -> int:
        if path.name == "publish.lock" and not waiting:
            waiting.append(path)
            other, problem = open_verified(data)  # while this one waits
            with other:
                assert (problem is None, other.generation()) == (False, 2)
        return hold_lock(path, *how)  # type: ignore[arg-type]

    monkeypatch.setattr("fanion.store.recovery.hold_lock", hold)
    os.truncate(data / "store" / "data.mdb", 20_000)
    store, problem = open_verified(data)
    with store:
        assert (problem is None, store.generation()) == (False, 2)
    assert waiting
    assert len(list((data / "store").glob("damaged-*"))) == 1


def test_a_store_whose_copy_is_damaged_too_is_left_as_it_is(data: Path) -> None:
    for folder in ("store", "store/copy"):
        os.truncate(data / folder / "data.mdb", 20_000)
    child = begin_healing(data, MAP_BYTES)
    said = child.communicate()[0].decode()
    assert child.returncode == 1
    assert "nor can its copy" in said
    assert not list((data / "store").glob("damaged-*"))


def damage(data: Path, bundle: bytes) -> None:
    """One bit of the bundle, on disk."""
    path = data / "store" / "data.mdb"
    at = path.read_bytes().index(bundle) + len(bundle) // 2
    with path.open("r+b") as file:
        file.seek(at)
        file.write(bytes([bundle[len(bundle) // 2] ^ 4]))
