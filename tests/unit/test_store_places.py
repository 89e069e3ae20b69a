"""The table of the store's readers: freed of dead processes by whoever lives, and full is no damage."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb
import pytest

from fanion.errors import StoreBusyError, StoreTwinError
from fanion.store import database, verify
from fanion.store.handles import translate
from fanion.store.publication import Publication
from fanion.store.recovery import open_verified
from fanion.store.reload import Reloader
from fanion.store.store import Store

READER = """
import sys, lmdb
environment = lmdb.open(sys.argv[1], max_dbs=6, max_readers=2048, create=False)
held = []
try:
    while len(held) < int(sys.argv[2]): held.append(environment.begin())
except lmdb.ReadersFullError: pass
print(len(held), flush=True)
sys.stdin.read()
"""


@contextmanager
def reader(data: Path, count: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds `count` places, or all that there are."""
    line = [sys.executable, "-c", READER, str(data / "store"), str(count)]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert int(process.stdout.readline()) > 0
        try:
            yield process
        finally:
            process.kill()


def killed_reader(data: Path, count: int) -> None:
    with reader(data, count) as process:
        process.send_signal(signal.SIGKILL)


def taken(data: Path) -> int:
    """Places with a process's id in LMDB's table: 64 bytes each behind two lines of 64. Read by another process: to
    open and close the file here would drop the locks that tell that this process lives."""
    table = subprocess.run(["cat", data / "store" / "lock.mdb"], capture_output=True, check=True).stdout
    return sum(struct.unpack_from("<qi", table, at)[1] != 0 for at in range(128, len(table), 64))


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (database, verify):
        monkeypatch.setattr(module, "BUSY_WAIT_S", 0.0)
    with Store.open(tmp_path / "data", create=True) as store:
        store.publish(Publication(bundles={"a": os.urandom(50_000)}))
        store.keep_copy()
    return tmp_path / "data"


def test_places_of_dead_processes_are_freed_by_whoever_opens_the_store(data: Path) -> None:
    with Store.open(data) as store:
        assert store.generation() == 1
        own = taken(data)
        killed_reader(data, 100)
        assert taken(data) == own + 100
        with reader(data, 1):
            subprocess.run([sys.executable, "-m", "fanion", "inspect", "--data", data], check=True)
            assert taken(data) <= own + 2


def test_places_of_dead_processes_are_freed_at_every_tick(data: Path) -> None:
    with Store.open(data) as store:
        reloader = Reloader(store, store.word, lambda _, buffer, __: bytes(buffer))
        own = taken(data)
        killed_reader(data, 5_000)
        assert taken(data) > 2_000
        reloader.tick()
        assert (taken(data), reloader.problem) == (own, "")
        reloader.close()


@pytest.mark.heavy
def test_full_table_is_named_and_taken_for_no_damage(data: Path) -> None:
    with Store.open(data) as store:
        assert store.generation() == 1
        with reader(data, 5_000):
            for arguments in (("keys", "list"), ("inspect",)):
                line = [sys.executable, "-m", "fanion", *arguments, "--data", str(data)]
                done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
                assert done.returncode == 1
                assert "all places for readers of the store are taken" in done.stderr
            with pytest.raises(StoreBusyError, match="all places for readers"):
                open_verified(data)
    assert not list((data / "store").glob("damaged-*"))
    store, problem = open_verified(data)
    assert problem is None
    store.close()


def test_what_is_no_damage_is_told_from_it() -> None:
    for error in (lmdb.MemoryError, lmdb.ReadersFullError, lmdb.ReadonlyError):
        assert type(translate(error("x"), "data")) is StoreBusyError
    assert type(translate(lmdb.LockError("x"), "data")) is StoreTwinError
    for error in (lmdb.CorruptedError, lmdb.InvalidError, lmdb.Error):
        assert not isinstance(translate(error("x"), "data"), StoreBusyError)
