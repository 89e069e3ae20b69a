"""A store that is replaced, or put back to an older state, under the processes that have it open."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion.model.api_key import KeyRecord, hash_key
from fanion.store.publication import Publication
from fanion.store.recovery import lies_whole, open_verified
from fanion.store.reload import Reloader
from fanion.store.store import Store


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "data", create=True) as store:
        keys = {hash_key(b"k"): KeyRecord(id="key_1", environment="a", organisation="o", kind="server")}
        store.publish(Publication(bundles={"a": os.urandom(50_000)}, keys=keys))
    return tmp_path / "data"


@pytest.fixture
def reloader(data: Path) -> Iterator[Reloader[bytes]]:
    with Store.open(data, write=True) as store:
        made = Reloader(store, store.word, lambda _, buffer, __: bytes(buffer))
        yield made
        made.close()


def swap(path: Path) -> None:
    """As a restore from a backup does it."""
    path.rename(path.with_name(f"{path.name}.old"))
    if path.is_dir():
        shutil.copytree(f"{path}.old", path)


@pytest.mark.parametrize("what", ["store", "shared", "shared/generation", ""])
def test_store_that_was_replaced_is_noticed_at_the_next_tick(
    data: Path, reloader: Reloader[bytes], what: str
) -> None:
    reloader.tick()
    assert (reloader.problem, reloader.replaced) == ("", "")
    swap(data / what)
    reloader.tick()
    assert " under the server" in reloader.problem
    assert reloader.replaced == reloader.problem
    assert reloader.current().key(b"k") is not None  # what was served is served on
    assert reloader.problem
    shutil.rmtree(data / what, ignore_errors=True)
    (data.parent / "data.old" if not what else data / f"{what}.old").rename(data / what)
    reloader.tick()
    assert (reloader.problem, reloader.replaced) == ("", "")


def test_store_that_was_put_back_is_noticed_and_numbered_above_what_was_announced(data: Path) -> None:
    shutil.copytree(data / "store", data / "backup")
    with Store.open(data, write=True) as store:
        for _ in range(3):
            store.publish(Publication(bundles={"a": b"newer"}))
        assert store.replaced() == ""
    shutil.rmtree(data / "store")
    (data / "backup").rename(data / "store")
    with Store.open(data) as store:
        assert "generation 4 was announced, and the store holds 1" in store.replaced()
    store, problem = open_verified(data)
    with store:
        assert (problem, store.generation(), store.replaced()) == (None, 5, "")


def test_room_is_made_only_for_a_store_that_lies_there_whole(data: Path) -> None:
    assert lies_whole(data)
    file = data / "store" / "data.mdb"
    whole = file.read_bytes()
    file.write_bytes(whole[:20_000])
    assert not lies_whole(data)
    file.unlink()
    assert not lies_whole(data)
    file.write_bytes(whole)
    assert lies_whole(data)
