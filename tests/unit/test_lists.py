"""List segments in the store: exact, replaced as a whole, changed by command, carried over, swept."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion.bundle import lists as lists_module
from fanion.bundle.generation import list_key
from fanion.bundle.list_writer import ListWriter
from fanion.bundle.lists import MEMBER_BYTES_MAX
from fanion.bundle.store import Publication, Store
from fanion.errors import StoreError

NAME = "env/stitchd/beta/user/include"
MAP_BYTES = 256 * 1024 * 1024


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", create=True, map_bytes=MAP_BYTES) as opened:
        yield opened


def publish(store: Store, members: list[bytes] | None = None, *, source: str = "", kept: bool = False) -> int:
    lists = {} if members is None else {"env": {NAME: members}}
    return store.publish(
        Publication(
            bundles={"env": b"bundle"},
            lists=lists,
            list_sources={"env": {NAME: source}} if source else {},
            kept_lists={"env": (NAME,)} if kept else {},
        )
    )


def members(store: Store) -> set[bytes]:
    pinned = store.pin()
    try:
        return set(pinned.members("env", NAME))
    finally:
        pinned.release()


def holds(store: Store, member: bytes) -> bool:
    pinned = store.pin()
    try:
        return pinned.member("env", NAME, member)
    finally:
        pinned.release()


def rows(store: Store) -> int:
    transaction = store._environment.begin()
    try:
        return int(transaction.stat(store._environment.databases["lists"])["entries"])
    finally:
        transaction.abort()


def counted(store: Store) -> int:
    pinned = store.pin()
    try:
        entry = pinned.manifest.environments["env"].lists[NAME]
        pinned.check_list(entry)
        return entry.count
    finally:
        pinned.release()


def test_membership_is_exact_and_case_sensitive(store: Store) -> None:
    publish(store, [b"Alice", "ü".encode(), b"1.0", b"x" * MEMBER_BYTES_MAX])
    for member in (b"Alice", "ü".encode(), b"1.0", b"x" * MEMBER_BYTES_MAX):
        assert holds(store, member)
    for other in (b"alice", b"Alice ", b"1", b"", b"x" * (MEMBER_BYTES_MAX - 1)):
        assert not holds(store, other)


def test_member_with_the_hash_of_another_is_not_taken_for_it(store: Store) -> None:
    publish(store, [b"a"])
    with store._writing() as transaction:
        database = store._environment.databases["lists"]
        transaction.put(list_key(1, b"b"), b"a", db=database)
    assert not holds(store, b"b")


@pytest.mark.parametrize("count", [0, 1, 255, 3_000])
def test_list_is_stored_whole_whatever_goes_through_the_scratch_file(
    store: Store, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_module, "ROWS_IN_MEMORY", 500)
    monkeypatch.setattr(lists_module, "READ_AT_ONCE", 100)
    monkeypatch.setattr(lists_module, "ROWS_PER_TRANSACTION", 700)
    expected = {b"%d" % random.Random(n).getrandbits(64) for n in range(count)}
    publish(store, [*expected, *expected])
    assert members(store) == expected
    assert counted(store) == count == rows(store)
    assert [path.name for path in (store.directory / "store").iterdir() if path.is_file()] == [
        path.name for path in (store.directory / "store").iterdir() if path.name != "copy"
    ]


def test_two_members_of_one_hash_are_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists_module, "xxh3_128_digest", lambda member: b"\0" * 16)
    with pytest.raises(StoreError, match="have one hash"):
        publish(store, [b"a", b"b"])
    assert store.generation() == 0


@pytest.mark.parametrize("member", [b"", b"x" * (MEMBER_BYTES_MAX + 1)])
def test_member_out_of_bounds_stores_nothing(store: Store, member: bytes) -> None:
    publish(store, [b"a"])
    with pytest.raises(StoreError, match="1 to 1024 are allowed"):
        publish(store, [b"b", member])
    assert members(store) == {b"a"}
    with pytest.raises(StoreError, match="1 to 1024 are allowed"):
        ListWriter(store).add("env", NAME, [b"c", member])
    assert members(store) == {b"a"}
    assert counted(store) == 1


def test_publish_replaces_a_list_for_readers_at_once(store: Store) -> None:
    publish(store, [b"a", b"b"])
    before = store.pin()
    publish(store, [b"b", b"c"])
    after = store.pin()
    assert [before.member("env", NAME, m) for m in (b"a", b"b", b"c")] == [True, True, False]
    assert [after.member("env", NAME, m) for m in (b"a", b"b", b"c")] == [False, True, True]
    before.release()
    after.release()


def test_rows_of_a_list_that_nothing_names_are_removed(store: Store) -> None:
    for n in range(4):
        publish(store, [b"%d" % m for m in range(n * 10, n * 10 + 10)])
        assert rows(store) == min(n + 1, 2) * 10


def test_rows_that_a_dead_publisher_left_are_removed(store: Store) -> None:
    def die(what: str, count: int) -> None:
        if what == "list rows":
            raise KeyboardInterrupt

    publish(store, [b"a"])
    dying = Publication(bundles={"env": b"x"}, lists={"env": {NAME: [b"never", b"named"]}})
    with pytest.raises(KeyboardInterrupt):
        store.publish(dying, die)
    assert members(store) == {b"a"}
    assert rows(store) == 3
    publish(store, [b"b"])
    assert rows(store) == 2


def test_row_above_a_new_list_is_refused_not_passed_over(store: Store) -> None:
    with store._writing() as transaction:
        transaction.put(list_key(9, b"a"), b"a", db=store._environment.databases["lists"])
    with pytest.raises(StoreError, match="rows above it"):
        publish(store, [b"b"])


def test_list_without_members_in_the_definitions_stays_as_it_is(store: Store) -> None:
    publish(store, kept=True)
    assert members(store) == set()
    ListWriter(store).add("env", NAME, [b"a"])
    publish(store, kept=True)
    assert members(store) == {b"a"}
    publish(store)
    pinned = store.pin()
    assert not pinned.member("env", NAME, b"a")
    pinned.release()


def test_list_of_the_same_source_is_not_written_again(store: Store) -> None:
    publish(store, [b"a"], source="digest")
    publish(store, [b"not read"], source="digest")
    assert members(store) == {b"a"}
    ListWriter(store).remove("env", NAME, [b"a"])
    publish(store, [b"a"], source="digest")
    assert members(store) == {b"a"}
    publish(store, [b"b"], source="another")
    assert members(store) == {b"b"}


def test_members_come_and_go_by_command(store: Store) -> None:
    writer = ListWriter(store)
    first = publish(store, [b"a", b"b"])
    assert writer.add("env", NAME, [b"b", b"c", b"c"]) == (first + 1, 1)
    assert writer.remove("env", NAME, [b"a", b"z"]) == (first + 2, 1)
    assert members(store) == {b"b", b"c"}
    assert counted(store) == 2
    assert writer.replace("env", NAME, [b"x", b"x"]) == (first + 3, 1)
    assert members(store) == {b"x"}
    assert rows(store) == 1
    assert store.word.load() == first + 3


def test_many_members_by_command_go_in_bounded_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.bundle.list_writer.ROWS_PER_TRANSACTION", 10)
    publish(store, [])
    writer = ListWriter(store)
    generation, added = writer.add("env", NAME, (b"%d" % n for n in range(25)))
    assert (generation, added, counted(store)) == (4, 25, 25)
    assert writer.remove("env", NAME, (b"%d" % n for n in range(24))) == (7, 24)
    assert members(store) == {b"24"}


def test_rolling_back_keeps_what_commands_changed(store: Store) -> None:
    writer = ListWriter(store)
    publish(store, [b"a"])
    publish(store, kept=True)
    writer.add("env", NAME, [b"b"])
    store.rollback()
    assert members(store) == {b"a", b"b"}
    assert counted(store) == 2
    writer.replace("env", NAME, [b"c"])
    store.rollback()
    assert members(store) == {b"c"}


def test_rolling_back_past_a_publish_brings_its_list_back(store: Store) -> None:
    publish(store, [b"a"])
    publish(store, [b"b"])
    store.rollback()
    assert members(store) == {b"a"}


def test_unknown_names_say_what_there_is(store: Store) -> None:
    publish(store, [b"a"])
    writer = ListWriter(store)
    with pytest.raises(StoreError, match="no environment other; there are: env"):
        writer.add("other", NAME, [])
    with pytest.raises(StoreError, match=f"no list nothing; it has: {NAME}"):
        writer.remove("env", "nothing", [])
    with pytest.raises(StoreError, match="no list nothing"):
        writer.replace("env", "nothing", [])


def test_copy_of_the_store_holds_the_lists_and_checks_their_rows(store: Store) -> None:
    publish(store, [b"%d" % n for n in range(1000)])
    store.keep_copy()
    ListWriter(store).add("env", NAME, [b"later"])
    store.keep_copy()
    assert counted(store) == 1001
