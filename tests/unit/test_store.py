"""The store: what a publish replaces, what a rollback brings back, and what is refused before it is mapped."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.errors import StoreError, StoreMissingError, StoreVersionError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store import lists
from fanion.store.publication import Publication
from fanion.store.recovery import open_verified
from fanion.store.store import Store


def record(environment: str, identity: str = "key_1") -> KeyRecord:
    return KeyRecord(id=identity, environment=environment, organisation="org_1", kind="server", prefix="sk_x")


def publication(
    *environments: str, text: bytes = b"bundle", keys: dict[bytes, KeyRecord] | None = None
) -> Publication:
    return Publication(
        bundles={name: text + b" of " + name.encode() for name in environments},
        keys={hash_key(raw): record for raw, record in (keys or {}).items()},
        definitions={"flags.yaml": text},
    )


def bundles(store: Store) -> dict[str, bytes]:
    pinned = store.pin()
    try:
        return {name: bytes(pinned.bundle(name) or b"") for name in pinned.environments()}
    finally:
        assert pinned.release()


def opens(store: Store, raw: bytes) -> bool:
    with store.pin() as pinned:
        return pinned.key(hash_key(raw)) is not None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def store(data: Path) -> Iterator[Store]:
    with Store.open(data, create=True) as opened:
        yield opened


def test_publish_is_read_back_whole_and_numbered_from_one(store: Store) -> None:
    assert store.generation() == 0
    assert store.publish(publication("a", "b")) == 1
    assert store.generation() == store.word.load() == 1
    assert bundles(store) == {"a": b"bundle of a", "b": b"bundle of b"}


def test_publish_replaces_what_it_names_and_leaves_the_rest(store: Store) -> None:
    store.publish(publication("a", "b", keys={b"key-a": record("a"), b"key-b": record("b")}))
    store.publish(publication("b", text=b"new", keys={b"key-c": record("b")}))
    assert bundles(store) == {"a": b"bundle of a", "b": b"new of b"}
    assert [opens(store, raw) for raw in (b"key-a", b"key-b", b"key-c")] == [True, False, True]


def test_removed_environment_takes_its_defined_keys_along(store: Store) -> None:
    store.publish(publication("a", "b", keys={b"key-a": record("a")}))
    store.publish(Publication(bundles={}, removed=("a",)))
    assert bundles(store) == {"b": b"bundle of b"}
    assert not opens(store, b"key-a")
    with pytest.raises(StoreError, match="doesn't hold it"):
        store.publish(Publication(bundles={}, removed=("a",)))


def test_rollback_brings_back_bundles_and_keys_under_a_higher_number(store: Store) -> None:
    store.publish(publication("a", keys={b"old": record("a")}))
    store.publish(publication("a", "b", text=b"new", keys={b"new": record("a")}))
    assert store.rollback() == 3
    assert bundles(store) == {"a": b"bundle of a"}
    assert (opens(store, b"old"), opens(store, b"new")) == (True, False)
    assert store.rollback() == 4
    assert bundles(store) == {"a": b"new of a", "b": b"new of b"}
    assert (opens(store, b"old"), opens(store, b"new")) == (False, True)


def test_rollback_without_a_previous_generation_is_refused(store: Store) -> None:
    store.publish(publication("a"))
    with pytest.raises(StoreError, match="no previous generation"):
        store.rollback()
    assert store.generation() == 1


def test_key_made_by_command_survives_publish_and_rollback(store: Store) -> None:
    store.publish(publication("a"))
    assert store.add_key(hash_key(b"made"), record("a", "key_made")) == 2
    store.publish(publication("a", text=b"new"))
    assert opens(store, b"made")
    store.rollback()
    assert opens(store, b"made")


def test_revoked_key_is_revived_by_nothing(store: Store) -> None:
    keys = {b"defined": record("a", "key_defined")}
    store.publish(publication("a", keys=keys))
    store.publish(publication("a", text=b"new", keys=keys))
    number, revoked = store.revoke_key("key_defined")
    assert (number, revoked.id) == (3, "key_defined")
    assert not opens(store, b"defined")
    store.rollback()
    assert not opens(store, b"defined")
    store.publish(publication("a", keys=keys))
    assert not opens(store, b"defined")
    with pytest.raises(StoreError, match="key key_defined is revoked already"):
        store.revoke_key("key_defined")


def test_changing_keys_does_not_change_what_rolling_back_returns_to(store: Store) -> None:
    store.publish(publication("a", text=b"old"))
    store.publish(publication("a", text=b"new"))
    store.add_key(hash_key(b"made"), record("a"))
    store.rollback()
    assert bundles(store) == {"a": b"old of a"}


def test_key_for_an_unknown_environment_is_refused_by_name(store: Store) -> None:
    store.publish(publication("a"))
    with pytest.raises(StoreError, match="no environment b; there are: a"):
        store.add_key(hash_key(b"made"), record("b"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Publication(bundles={}), "nothing to publish"),
        (Publication(bundles={"": b"x"}), "can't be a name"),
        (Publication(bundles={"e" * 401: b"x"}), "1 to 400 bytes"),
        (Publication(bundles={"a\0b": b"x"}), "without NUL"),
        (Publication(bundles={"a": b"x"}, keys={b"short": record("a")}), "32 bytes, not 5"),
        (Publication(bundles={"a": b"x"}, keys={bytes(32): record("b")}), "isn't published here"),
        (Publication(bundles={"a": b"x"}, removed=("a",)), "published and removed"),
        (Publication(bundles={"a": b"x"}, lists={"b": {}}), "isn't published here"),
        (Publication(bundles={"a": b"x"}, lists={"a": {"l": [b""]}}), "1 to 1024"),
    ],
)
def test_impossible_publication_is_refused_and_changes_nothing(
    store: Store, wrong: Publication, said: str
) -> None:
    store.publish(publication("a"))
    with pytest.raises(StoreError, match=said):
        store.publish(wrong)
    assert bundles(store) == {"a": b"bundle of a"}
    assert store.generation() == 1


def test_key_of_two_environments_is_refused(store: Store) -> None:
    store.publish(publication("a", keys={b"key": record("a")}))
    with pytest.raises(StoreError, match="already a's"):
        store.publish(publication("b", keys={b"key": record("b")}))
    assert bundles(store) == {"a": b"bundle of a"}


@pytest.mark.parametrize("size", [1, 2_000, 4_095, 4_096, 4_097, 1_000_000])
def test_bundle_keeps_its_exact_size_whatever_page_it_lies_on(store: Store, size: int) -> None:
    store.publish(Publication(bundles={"a": b"z" * size}))
    assert bundles(store) == {"a": b"z" * size}


def test_definitions_are_kept_with_the_environment_that_they_made(store: Store) -> None:
    store.publish(publication("a", text=b"one"))
    store.publish(publication("b", text=b"two"))
    pinned = store.pin()
    assert pinned.definitions("a") == {"flags.yaml": b"one"}
    assert pinned.definitions("b") == {"flags.yaml": b"two"}
    assert pinned.definitions("c") == {}
    pinned.release()


def test_pinned_generation_stays_while_others_are_published(store: Store) -> None:
    store.publish(publication("a", text=b"first"))
    pinned = store.pin()
    for number in range(20):
        store.publish(publication("a", text=b"%d" % number * 3_000))
    assert bytes(pinned.bundle("a") or b"") == b"first of a"
    assert pinned.number == 1
    assert pinned.release()
    with pytest.raises(StoreError, match="released"):
        pinned.bundle("a")


def test_view_in_use_holds_its_generation_back(store: Store) -> None:
    store.publish(publication("a"))
    pinned = store.pin()
    view = pinned.bundle("a")
    assert view is not None
    user = re.finditer(b"x", view)  # an iterator over a buffer keeps the buffer
    assert not pinned.release()
    assert bytes(view) == b"bundle of a"
    del user
    assert pinned.release()
    with pytest.raises(ValueError, match="released"):
        bytes(view)


def test_store_stays_small_over_many_publishes(store: Store, data: Path) -> None:
    for number in range(100):
        store.publish(publication("a", "b", text=b"%d" % number * 50_000))
    generations, environments, sources, size = 2, 2, 1, 100_000
    live = generations * (environments + sources) * size
    assert (data / "store" / "data.mdb").stat().st_size <= 3 * live


def test_list_members_are_found_exactly_and_replaced_with_their_environment(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "BLOCK_BYTES_WRITTEN", 60)
    monkeypatch.setattr(lists, "BYTES_PER_TRANSACTION", 100)
    told: list[tuple[str, int]] = []
    store.publish(
        Publication(bundles={"a": b"x"}, lists={"a": {"beta": [b"%d" % n for n in range(40)] + [b"1"]}}),
        progress=lambda what, count: told.append((what, count)),
    )
    pinned = store.pin()
    assert [pinned.member("a", "beta", m) for m in (b"0", b"39", b"40", b"")] == [True, True, False, False]
    assert not pinned.member("a", "other", b"1")
    assert not pinned.member("b", "beta", b"1")
    assert pinned.manifest.environments["a"].lists["beta"].count == 40
    store.publish(Publication(bundles={"a": b"y"}, lists={"a": {"beta": [b"new"]}}))
    assert pinned.member("a", "beta", b"39")
    pinned.release()
    pinned = store.pin()
    assert [pinned.member("a", "beta", m) for m in (b"new", b"39")] == [True, False]
    pinned.release()
    assert sum(count for what, count in told if what == "list members") == 41


def test_lists_that_nothing_names_are_swept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "BLOCK_BYTES_WRITTEN", 60)
    monkeypatch.setattr(lists, "BLOCKS_PER_TRANSACTION", 7)
    for number in range(4):
        members = [b"%d" % n for n in range(20 + number)]
        store.publish(Publication(bundles={"a": b"x"}, lists={"a": {"l": members, "m": members}}))
    environment = store.transactions.database
    with environment.begin() as transaction:
        numbers = {
            int.from_bytes(key[:8], "big") for key, _ in transaction.cursor(environment.databases["lists"])
        }
        blocks = transaction.stat(environment.databases["lists"])["entries"]
        kept = transaction.stat(environment.databases["bundles"])["entries"]
    assert numbers == {5, 6, 7, 8}
    assert blocks > 3 * len(numbers)
    assert kept == 2


def test_full_map_is_a_clear_refusal_and_the_old_generation_stays(data: Path) -> None:
    with Store.open(data, create=True, map_bytes=1 << 20) as store:
        store.publish(publication("a"))
        with pytest.raises(StoreError, match="the store is full; nothing was changed"):
            store.publish(Publication(bundles={"a": bytes(2 << 20)}))
        assert bundles(store) == {"a": b"bundle of a"}
        assert store.publish(publication("a", text=b"small")) == 2


def test_map_of_an_existing_store_is_never_opened_smaller(data: Path) -> None:
    with Store.open(data, create=True, map_bytes=8 << 20) as store:
        store.publish(publication("a"))
    with Store.open(data, write=True, map_bytes=1 << 20) as store:
        store.publish(Publication(bundles={"a": bytes(3 << 20)}))


def test_files_are_private_to_the_owner(store: Store, data: Path) -> None:
    store.publish(publication("a"))
    store.keep_copy()
    for path in [data, *data.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_store_opened_for_reading_refuses_to_write(data: Path) -> None:
    with Store.open(data, create=True) as writable, Store.open(data) as store:
        writable.publish(publication("a"))
        with pytest.raises(StoreError, match="opened for reading"):
            store.publish(publication("a"))
        assert store.generation() == 1


def test_missing_directory_and_missing_store_are_told_apart_from_damage(tmp_path: Path) -> None:
    with pytest.raises(StoreMissingError, match="no such directory"):
        Store.open(tmp_path / "none")
    with pytest.raises(StoreMissingError, match="no store here"):
        Store.open(tmp_path)


def test_store_of_another_user_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store.open(data, create=True).close()
    monkeypatch.setattr(os, "geteuid", lambda: 4_242_424)
    with pytest.raises(StoreError, match="run it as the owner"):
        Store.open(data)


def publish_in_format(data: Path, number: bytes) -> None:
    with Store.open(data, create=True) as store:
        store.publish(publication("a"))
    with lmdb.open(str(data / "store"), max_dbs=8, map_size=1 << 20) as environment:
        meta = environment.open_db(b"meta")
        with environment.begin(write=True) as transaction:
            transaction.put(b"format", number, db=meta)


def test_store_of_a_newer_format_is_refused_as_such(data: Path) -> None:
    publish_in_format(data, b"99")
    with pytest.raises(StoreVersionError, match="has format 99, this Fanion knows up to 2"):
        Store.open(data)
    with pytest.raises(StoreVersionError, match="has format 99"):
        open_verified(data)


def test_store_of_an_older_format_is_refused_as_such(data: Path) -> None:
    publish_in_format(data, b"1")
    for use in (Store.open, open_verified):
        with pytest.raises(
            StoreVersionError, match=r"has format 1, this Fanion reads only 2; .*move .*/store away"
        ):
            use(data)
    with pytest.raises(StoreVersionError, match="has format 1"):
        Store.open(data, create=True)


def test_object_inherited_over_a_fork_is_refused(
    store: Store, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: parent + 1)
    with pytest.raises(StoreError, match="opened before a fork"):
        store.generation()
    with pytest.raises(StoreError, match="open when this process was forked"):
        Store.open(data)
    monkeypatch.undo()
    assert store.generation() == 0


def test_publisher_that_died_before_raising_the_word_is_made_up_for(data: Path) -> None:
    with Store.open(data, create=True) as store:
        store.publish(publication("a"))
    (data / "shared" / "generation").unlink()
    with Store.open(data) as store:
        assert store.word.load() == 1


ENVIRONMENTS = st.sampled_from(["a", "b", "c"])


@settings(max_examples=40)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("publish"), st.lists(ENVIRONMENTS, min_size=1, unique=True)),
            st.tuples(st.just("remove"), ENVIRONMENTS),
            st.tuples(st.just("rollback"), st.none()),
        ),
        max_size=12,
    )
)
def test_store_equals_a_model_of_two_dictionaries(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, object]]
) -> None:
    current: dict[str, bytes] = {}
    previous: dict[str, bytes] | None = None
    number = 0
    with Store.open(tmp_path_factory.mktemp("model") / "data", create=True) as store:
        for step, (action, what) in enumerate(steps):
            text = b"%d" % step
            if action == "publish":
                assert isinstance(what, list)
                store.publish(publication(*what, text=text))
                new = current | {name: text + b" of " + name.encode() for name in what}
                current, previous, number = new, current if number else None, number + 1
            elif action == "remove" and what in current:
                store.publish(Publication(bundles={}, removed=(str(what),)))
                new = {name: bundle for name, bundle in current.items() if name != what}
                current, previous, number = new, current, number + 1
            elif action == "rollback" and previous is not None:
                store.rollback()
                current, previous, number = previous, current, number + 1
            assert bundles(store) == current
            assert store.generation() == number
