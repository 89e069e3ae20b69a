"""Many publishes under readers in other processes: no failed read, no mixed answer, everyone ends on the last."""

from __future__ import annotations

import multiprocessing
import queue
from pathlib import Path

from fanion.store.publication import Publication
from fanion.store.reload import Reloader
from fanion.store.store import Store

SPAWN = multiprocessing.get_context("spawn")
PUBLISHES = 60
READERS = 2


def publication(number: int) -> Publication:
    return Publication(
        bundles={name: b"%08d" % number * (100 + 700 * index) for index, name in enumerate("abc")}
    )


def one_number(environment: str, buffer: memoryview, unit_key: bytes | None) -> int:
    """A bundle that is one number all through; reading it whole is the verification."""
    raw = bytes(buffer)
    assert raw == raw[:8] * (len(raw) // 8)
    return int(raw[:8])


def read_until_the_last(data: str, results: multiprocessing.Queue[tuple[int, int, str]]) -> None:
    reads, before = 0, 0
    try:
        with Store.open(Path(data)) as store:
            reloader = Reloader(store, store.word, one_number)
            results.put((0, 0, "ready"))
            while before < PUBLISHES:
                snapshot = reloader.current()
                numbers = {snapshot.view(name) for name in "abc"}
                assert numbers == {snapshot.number}
                assert snapshot.number >= before
                before = snapshot.number
                reads += 1
                if reads % 1_000 == 0:
                    reloader.tick()
            reloader.close()
        results.put((reads, before, ""))
    except BaseException as error:
        results.put((reads, before, repr(error)))


def test_readers_see_whole_generations_while_many_are_published(tmp_path: Path) -> None:
    data = tmp_path / "data"
    results: multiprocessing.Queue[tuple[int, int, str]] = SPAWN.Queue()
    with Store.open(data, create=True) as store:
        store.publish(publication(1))
        children = [
            SPAWN.Process(target=read_until_the_last, args=(str(data), results)) for _ in range(READERS)
        ]
        for child in children:
            child.start()
        assert [results.get(timeout=60) for _ in children] == [(0, 0, "ready")] * READERS
        for number in range(2, PUBLISHES + 1):
            assert store.publish(publication(number)) == number
        found = [results.get(timeout=60) for _ in children]
        for child in children:
            child.join()
        for reads, last, problem in found:
            assert problem == ""
            assert last == PUBLISHES
            assert reads > 0


def publish_in_child(data: str, name: str, results: multiprocessing.Queue[list[int]]) -> None:
    with Store.open(Path(data), create=True) as store:
        results.put([store.publish(Publication(bundles={name: b"%d" % number})) for number in range(10)])


def test_publishers_at_once_each_get_numbers_of_their_own(tmp_path: Path) -> None:
    data = tmp_path / "data"
    results: multiprocessing.Queue[list[int]] = SPAWN.Queue()
    children = [SPAWN.Process(target=publish_in_child, args=(str(data), name, results)) for name in "abc"]
    for child in children:
        child.start()
    try:
        numbers = [number for _ in children for number in results.get(timeout=60)]
    except queue.Empty:
        numbers = []
    for child in children:
        child.join()
    assert sorted(numbers) == list(range(1, 31))
    with Store.open(data) as store:
        pinned = store.pin()
        assert [bytes(pinned.bundle(name) or b"") for name in "abc"] == [b"9"] * 3
        pinned.release()
