"""List segments in the store: exact, replaced as a whole, changed by command, carried over, swept."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from fanion.errors import StoreError
from fanion.store import generation, list_writer
from fanion.store import lists as lists_module
from fanion.store.layout import ListEntry, block_key, seal
from fanion.store.list_writer import ListWriter
from fanion.store.lists import MEMBER_BYTES_MAX
from fanion.store.publication import Publication
from fanion.store.store import Store

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
    with store.pin() as pinned:
        return set(pinned.members("env", NAME))


def holds(store: Store, member: bytes) -> bool:
    with store.pin() as pinned:
        return pinned.member("env", NAME, member)


def blocks(store: Store) -> int:
    transaction = store.transactions.database.begin()
    try:
        return int(transaction.stat(store.transactions.databases["lists"])["entries"])
    finally:
        transaction.abort()


def holds_all(store: Store, asked: Iterable[bytes]) -> list[bool]:
    with store.pin() as pinned:
        return [pinned.member("env", NAME, member) for member in asked]


def counted(store: Store) -> int:
    with store.pin() as pinned:
        entry = pinned.manifest.environments["env"].lists[NAME]
        pinned.check_list(entry)
        return entry.count


def test_membership_is_exact_and_case_sensitive(store: Store) -> None:
    publish(store, [b"Alice", "ü".encode(), b"1.0", b"x" * MEMBER_BYTES_MAX])
    for member in (b"Alice", "ü".encode(), b"1.0", b"x" * MEMBER_BYTES_MAX):
        assert holds(store, member)
    for other in (b"alice", b"Alice ", b"1", b"", b"x" * (MEMBER_BYTES_MAX - 1)):
        assert not holds(store, other)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that some members fill, and transactions that some blocks fill."""
    monkeypatch.setattr(lists_module, "BLOCK_BYTES_MAX", 400)
    monkeypatch.setattr(lists_module, "BLOCK_BYTES_WRITTEN", 300)
    monkeypatch.setattr(lists_module, "BLOCK_BYTES_MERGED", 150)
    monkeypatch.setattr(lists_module, "BYTES_PER_TRANSACTION", 4_000)
    monkeypatch.setattr(lists_module, "BLOCKS_PER_TRANSACTION", 10)


@pytest.mark.parametrize("block_bytes", [100, 300, 24_000])
@pytest.mark.parametrize("count", [0, 1, 255, 3_000])
def test_list_is_stored_whole_whatever_goes_through_the_scratch_file(
    store: Store, count: int, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_module, "ROWS_IN_MEMORY", 500)
    monkeypatch.setattr(lists_module, "READ_AT_ONCE", 100)
    monkeypatch.setattr(lists_module, "BYTES_PER_TRANSACTION", 7_000)
    monkeypatch.setattr(lists_module, "BLOCK_BYTES_WRITTEN", block_bytes)
    monkeypatch.setattr(lists_module, "BLOCK_BYTES_MAX", block_bytes + 100)
    expected = {b"%d" % random.Random(n).getrandbits(64) for n in range(count)}
    publish(store, [*expected, *expected])
    assert members(store) == expected
    assert counted(store) == count
    assert all(holds_all(store, expected))
    assert not any(holds_all(store, [b"x%d" % n for n in range(500)]))
    assert (blocks(store) == 0) == (count == 0)
    assert [path.name for path in (store.directory / "store").iterdir() if path.is_file()] == [
        path.name for path in (store.directory / "store").iterdir() if path.name != "copy"
    ]


def one_hash(number: int, secret: int, members: list[bytes]) -> list[bytes]:
    return [b"\x80\0\0\0\0\0\0\1" + member for member in members]


def test_members_of_one_hash_are_kept_apart_up_to_a_block_of_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists_module, "rows_of", one_hash)
    monkeypatch.setattr(generation, "rows_of", one_hash)
    monkeypatch.setattr(list_writer, "rows_of", one_hash)
    full = (lists_module.BLOCK_BYTES_MAX - 36) // (MEMBER_BYTES_MAX + 4)
    several = [b"%04d" % n + bytes(MEMBER_BYTES_MAX - 4) for n in range(full + 1)]
    publish(store, several[:-1])
    assert (members(store), counted(store)) == (set(several[:-1]), full)
    writer = ListWriter(store.transactions)
    with pytest.raises(StoreError, match=f"{full + 1} members have nearly one hash"):
        writer.add("env", NAME, several)
    with pytest.raises(StoreError, match="nearly one hash"):
        publish(store, several)
    assert store.generation() == 1
    assert writer.remove("env", NAME, several[:2]) == (2, 2)
    assert writer.add("env", NAME, several[1:]) == (3, 2)
    assert (members(store), counted(store)) == (set(several[1:]), full)


@pytest.mark.parametrize("member", [b"", b"x" * (MEMBER_BYTES_MAX + 1)])
def test_member_out_of_bounds_stores_nothing(store: Store, member: bytes) -> None:
    publish(store, [b"a"])
    with pytest.raises(StoreError, match="1 to 1024 are allowed"):
        publish(store, [b"b", member])
    assert members(store) == {b"a"}
    with pytest.raises(StoreError, match="1 to 1024 are allowed"):
        ListWriter(store.transactions).add("env", NAME, [b"c", member])
    assert ListWriter(store.transactions).remove("env", NAME, [member])[1] == 0
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
        assert blocks(store) == min(n + 1, 2)


def test_rows_that_a_dead_publisher_left_are_removed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(what: str, count: int) -> None:
        if what == "list rows":
            raise KeyboardInterrupt

    publish(store, [b"a"])
    monkeypatch.setattr(lists_module, "BYTES_PER_TRANSACTION", 1)
    dying = Publication(bundles={"env": b"x"}, lists={"env": {NAME: [b"never", b"named"]}})
    with pytest.raises(KeyboardInterrupt):
        store.publish(dying, die)
    assert members(store) == {b"a"}
    assert blocks(store) >= 2
    publish(store, [b"b"])
    assert blocks(store) == 2


def test_block_above_a_new_list_is_refused_not_passed_over(store: Store) -> None:
    with store.transactions.writing() as transaction:
        transaction.put(block_key(9, 0, 0), b"a", db=store.transactions.databases["lists"])
    with pytest.raises(StoreError, match="blocks above it"):
        publish(store, [b"b"])


def test_list_without_members_in_the_definitions_stays_as_it_is(store: Store) -> None:
    publish(store, kept=True)
    assert members(store) == set()
    ListWriter(store.transactions).add("env", NAME, [b"a"])
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
    ListWriter(store.transactions).remove("env", NAME, [b"a"])
    publish(store, [b"a"], source="digest")
    assert members(store) == {b"a"}
    publish(store, [b"b"], source="another")
    assert members(store) == {b"b"}


def test_members_come_and_go_by_command(store: Store) -> None:
    writer = ListWriter(store.transactions)
    first = publish(store, [b"a", b"b"])
    assert writer.add("env", NAME, [b"b", b"c", b"c"]) == (first + 1, 1)
    assert writer.remove("env", NAME, [b"a", b"z"]) == (first + 2, 1)
    assert members(store) == {b"b", b"c"}
    assert counted(store) == 2
    assert writer.replace("env", NAME, [b"x", b"x"]) == (first + 3, 1)
    assert members(store) == {b"x"}
    assert blocks(store) == 1
    assert store.word.load() == first + 3


def test_many_members_by_command_go_in_bounded_transactions(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fanion.store.list_writer.ROWS_IN_MEMORY", 10)
    publish(store, [])
    writer = ListWriter(store.transactions)
    generation, added = writer.add("env", NAME, (b"%d" % n for n in range(25)))
    assert (generation, added, counted(store)) == (4, 25, 25)
    assert writer.remove("env", NAME, (b"%d" % n for n in range(24))) == (7, 24)
    assert members(store) == {b"24"}


def test_rolling_back_keeps_what_commands_changed(store: Store) -> None:
    writer = ListWriter(store.transactions)
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
    writer = ListWriter(store.transactions)
    with pytest.raises(StoreError, match="no environment other; there are: env"):
        writer.add("other", NAME, [])
    with pytest.raises(StoreError, match=f"no list nothing; it has: {NAME}"):
        writer.remove("env", "nothing", [])
    with pytest.raises(StoreError, match="no list nothing"):
        writer.replace("env", "nothing", [])


def test_copy_of_the_store_holds_the_lists_and_checks_their_rows(store: Store) -> None:
    publish(store, [b"%d" % n for n in range(1000)])
    store.keep_copy()
    ListWriter(store.transactions).add("env", NAME, [b"later"])
    store.keep_copy()
    assert counted(store) == 1001


@pytest.mark.usefixtures("small")
def test_blocks_split_and_become_one_again_as_members_come_and_go(store: Store) -> None:
    draw = random.Random(20261121)
    writer = ListWriter(store.transactions)
    publish(store, [])
    held: set[bytes] = set()
    most = 0
    for step in range(90):
        some = [b"%d" % draw.randrange(600) for _ in range(draw.choice((1, 5, 60)))]
        growing = (step < 45) == (draw.random() < 0.97)
        before = len(held)
        if growing:
            held |= set(some)
            changed = writer.add("env", NAME, some)[1]
        else:
            held -= set(some)
            changed = writer.remove("env", NAME, some)[1]
        assert changed == abs(len(held) - before)
        assert counted(store) == len(held)
        assert members(store) == held
        assert {m for m in map(b"%d".__mod__, range(600)) if holds(store, m)} == held
        most = max(most, blocks(store))
    assert most > 10
    assert blocks(store) < most
    assert writer.remove("env", NAME, held)[1] == len(held)
    assert (blocks(store), counted(store), members(store)) == (0, 0, set())
    assert writer.add("env", NAME, [b"again"])[1] == 1
    assert (blocks(store), members(store)) == (1, {b"again"})


@pytest.mark.usefixtures("small")
def test_large_change_goes_in_bounded_transactions_and_readers_keep_theirs(store: Store) -> None:
    publish(store, [b"%d" % n for n in range(2_000)])
    before = store.pin()
    assert before.member("env", NAME, b"1")
    generation_then, count = ListWriter(store.transactions).remove(
        "env", NAME, [b"%d" % n for n in range(1_000)]
    )
    assert count == 1_000
    assert generation_then > 3
    assert counted(store) == 1_000
    assert all(before.member("env", NAME, b"%d" % n) for n in range(2_000))
    assert set(before.members("env", NAME)) == {b"%d" % n for n in range(2_000)}
    before.release()
    with pytest.raises(StoreError, match="released"):
        before.member("env", NAME, b"1")
    for n in range(3):
        publish(store, [b"%d" % n])
    assert blocks(store) == 2


def test_list_of_one_member_given_many_times_can_be_emptied(store: Store) -> None:
    publish(store, [b"a" * 500] * 1_000)
    writer = ListWriter(store.transactions)
    assert writer.remove("env", NAME, [b"a" * 500])[1] == 1
    assert (counted(store), members(store), holds(store, b"a" * 500)) == (0, set(), False)
    assert writer.add("env", NAME, [b"b", b"c"])[1] == 2
    assert (counted(store), members(store), holds(store, b"b")) == (2, {b"b", b"c"}, True)


def entry_of(store: Store) -> ListEntry:
    with store.pin() as pinned:
        return pinned.manifest.environments["env"].lists[NAME]


@pytest.mark.usefixtures("small")
def test_every_changed_byte_of_a_block_is_found(store: Store) -> None:
    publish(store, [b"%d" % n for n in range(100)])
    database = store.transactions.databases["lists"]
    with store.transactions.writing() as transaction:
        key, value = max(transaction.cursor(database), key=lambda item: len(item[1]))
    for at in range(len(value)):
        changed = bytearray(value)
        changed[at] ^= 1
        with store.transactions.writing() as transaction:
            transaction.put(key, bytes(changed), db=database)
        with pytest.raises(StoreError, match="damaged"):
            counted(store)
        with suppress(StoreError):
            holds_all(store, [b"%d" % n for n in range(200)])
    with store.transactions.writing() as transaction:
        transaction.put(key, value, db=database)
    assert counted(store) == 100


@pytest.mark.usefixtures("small")
def test_sealed_blocks_that_are_not_those_of_the_list_are_found(store: Store) -> None:
    publish(store, [b"%d" % n for n in range(100)])
    entry = entry_of(store)
    database = store.transactions.databases["lists"]
    with store.transactions.writing() as transaction:
        (key, value), (after, other) = list(transaction.cursor(database))[:2]
    empty = lists_module.pack(entry.number, 0, 63, [])
    hostile = {
        key: [
            seal(key, other[8:]),
            seal(key, empty),
            seal(key, value[8:-1]),
            seal(key, value[8:30] + b"\x40" + value[31:]),
            seal(key, value[8:] + b"\1\0x"),
            None,
        ],
        after: [None],
    }
    for place, values in hostile.items():
        for wrong in values:
            with store.transactions.writing() as transaction:
                kept = transaction.get(place, db=database)
                if wrong is None:
                    transaction.delete(place, db=database)
                else:
                    transaction.put(place, wrong, db=database)
            with pytest.raises(StoreError, match=r"damaged|can't be read|misses a block"):
                counted(store)
            with store.transactions.writing() as transaction:
                transaction.put(place, kept, db=database)
    assert counted(store) == 100


def test_two_lists_of_the_same_members_hash_them_differently(store: Store) -> None:
    store.publish(
        Publication(bundles={"env": b"x"}, lists={"env": {"l": [b"a"], "m": [b"a"]}}),
    )
    pinned = store.pin()
    lists = pinned.manifest.environments["env"].lists
    assert lists["l"].secret != lists["m"].secret
    assert [pinned.member("env", name, b"a") for name in ("l", "m", "l", "n", "n")] == [True] * 3 + [
        False
    ] * 2
    pinned.release()


def test_repeats_make_no_more_blocks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists_module, "ROWS_IN_MEMORY", 20_000)
    repeated = [b"member-%d" % (number % 10) for number in range(100_000)]
    publish(store, repeated)
    assert members(store) == set(repeated)
    assert blocks(store) == 1
