"""What an id stands for, kept from change to change: the same as going through all rows finds, whoever wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store.key_ids import KeyIds
from fanion.store.layout import Origin
from fanion.store.publication import Publication
from fanion.store.store import Store
from tests.rounds import rounds

ROUNDS = rounds(20, 60)
IDS = ("key_a", "key_b", "key_c")


def record(key_id: str) -> KeyRecord:
    return KeyRecord(id=key_id, environment="env", organisation="org_1", kind="server", prefix="sk_x")


def publication(*ids: str) -> Publication:
    keys = {hash_key(f"defined {key_id}".encode()): record(key_id) for key_id in ids}
    return Publication(bundles={"env": b"bundle"}, keys=keys, definitions={"flags.yaml": b""})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", create=True) as opened:
        opened.publish(publication())
        yield opened


def rowsthrough_rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each look-up that went through rows did it: the letters that it looked for."""
    read: list[str] = []
    through = KeyIds.through_rows

    def noted(self: KeyIds, transaction: object, key_id: str, letters: bytes) -> object:
        read.append(letters.decode())
        return through(self, transaction, key_id, letters)  # type: ignore[arg-type]

    monkeypatch.setattr(KeyIds, "through_rows", noted)
    return read


def test_one_change_after_the_other_goes_through_no_rows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = rowsthrough_rows(monkeypatch)
    for key_id in IDS:
        store.add_key(hash_key(key_id.encode()), record(key_id))
        assert store.revoke_key(key_id)[1] == record(key_id)
    assert read == []


def test_a_change_by_another_is_looked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    read = rowsthrough_rows(monkeypatch)
    store.add_key(hash_key(b"1"), record("key_a"))
    with Store.open(store.directory, write=True) as other:
        other.add_key(hash_key(b"2"), record("key_a"))
    store.revoke_key("key_a")
    assert read == ['"key_a"']
    assert {key.origin for key in store.stored_keys()} == {Origin.REVOKED}


def test_all_keys_of_an_id_are_revoked(store: Store) -> None:
    store.add_key(hash_key(b"0"), record("key_b"))
    store.revoke_key("key_b")  # from here on ids are gathered
    for raw in (b"1", b"2"):
        store.add_key(hash_key(raw), record("key_a"))
    store.revoke_key("key_a")
    assert {key.origin for key in store.stored_keys()} == {Origin.REVOKED}
    with pytest.raises(StoreError, match="revoked already"):
        store.revoke_key("key_a")
    with pytest.raises(StoreError, match="there is no key"):
        store.revoke_key("key_c")


def test_a_damaged_row_is_told_as_without(store: Store) -> None:
    for key_id in IDS[:2]:
        store.add_key(hash_key(key_id.encode()), record(key_id))
    store.revoke_key("key_a")
    with store.transactions.writing() as transaction:
        row = transaction.get(hash_key(b"key_b"), db=store.transactions.databases["api_keys"])
        assert row is not None
        store.transactions.put(transaction, "api_keys", hash_key(b"key_b"), bytes(row)[:-1] + b"\0")
    for key_id in ("key_b", "key_c"):
        with pytest.raises(StoreError, match="key table is damaged"):
            store.revoke_key(key_id)


Change = tuple[str, int, str]
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(("add", "revoke", "publish", "rollback")), st.integers(0, 1), st.sampled_from(IDS)
    ),
    max_size=25,
)


@settings(max_examples=ROUNDS)
@given(changes=CHANGES)
def test_whoever_changes_what_an_id_stands_for_the_same(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Change]
) -> None:
    """Two that have the store open, in random order, beside one that remembers nothing."""
    folder = tmp_path_factory.mktemp("ids")
    with Store.open(folder / "data", create=True) as first, Store.open(folder / "data", write=True) as second:
        first.publish(publication())
        for number, (what, who, key_id) in enumerate(changes):
            apply((first, second)[who], what, key_id, number)


def apply(store: Store, what: str, key_id: str, number: int) -> None:
    if what == "add":
        store.add_key(hash_key(b"%d" % number), record(key_id))
    elif what == "publish":
        store.publish(publication(key_id))
    elif what == "rollback":
        with contextlib.suppress(StoreError):  # before there are two
            store.rollback()
    else:
        before = store.stored_keys()
        live = [key for key in before if key.record.id == key_id and key.origin is not Origin.REVOKED]
        if not live:
            with pytest.raises(StoreError, match=r"revoked already|there is no key"):
                store.revoke_key(key_id)
            return
        store.revoke_key(key_id)
        hashes = {key.hash for key in live}
        expected = [
            msgspec.structs.replace(key, origin=Origin.REVOKED) if key.hash in hashes else key
            for key in before
        ]
        assert store.stored_keys() == expected
