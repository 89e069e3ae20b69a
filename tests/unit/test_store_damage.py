"""A damaged store: told before it kills, and replaced by its verified copy."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import msgspec
import pytest

from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store.publication import Publication
from fanion.store.recovery import open_verified
from fanion.store.store import Store
from fanion.store.verify import verify


def record(environment: str) -> KeyRecord:
    return KeyRecord(id="key_1", environment=environment, organisation="org_1", kind="server")


def opens(store: Store, raw: bytes) -> bool:
    with store.pin() as pinned:
        return pinned.key(hash_key(raw)) is not None


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


def make_store(data: Path) -> Path:
    with Store.open(data, create=True) as store:
        store.publish(Publication(bundles={"a": os.urandom(50_000)}, keys={hash_key(b"k"): record("a")}))
        store.publish(Publication(bundles={"a": os.urandom(50_000)}, keys={hash_key(b"k"): record("a")}))
        store.keep_copy()
    return data / "store" / "data.mdb"


@pytest.mark.parametrize("kept", [0, 1, 151, 4_096, 8_191, 8_192, 20_000, 60_000])
def test_truncated_file_is_a_clear_error_and_never_the_end_of_the_process(data: Path, kept: int) -> None:
    os.truncate(make_store(data), kept)
    with pytest.raises(StoreError, match=r"cut off|not a store's file"):
        Store.open(data)


def test_damaged_store_is_replaced_by_its_copy_under_a_higher_number(data: Path) -> None:
    path = make_store(data)
    os.truncate(path, 20_000)
    store, problem = open_verified(data)
    assert problem is not None
    assert "cut off" in problem or "status" in problem
    assert store.generation() == 3
    assert opens(store, b"k")
    store.close()
    assert list(path.parent.glob("damaged-*.mdb"))
    store, problem = open_verified(data)
    assert problem is None
    store.close()


def test_store_and_copy_both_damaged_is_said_of_both(data: Path) -> None:
    path = make_store(data)
    os.truncate(path, 20_000)
    os.truncate(path.parent / "copy" / "data.mdb", 10_000)
    with pytest.raises(StoreError, match=r"can't be used: .*; nor can its copy: "):
        open_verified(data)


def test_flipped_byte_in_a_bundle_is_found(data: Path) -> None:
    path = make_store(data)
    with Store.open(data) as store:
        pinned = store.pin()
        bundle = bytes(pinned.bundle("a") or b"")
        pinned.release()
    raw = bytearray(path.read_bytes())
    raw[raw.index(bundle[:64]) + 1_000] ^= 1
    path.write_bytes(raw)
    assert verify(data / "store") == "the bundle of environment a is damaged"


def test_flipped_byte_in_a_key_record_is_overload_and_no_refusal(data: Path) -> None:
    path = make_store(data)
    raw = path.read_bytes().replace(b'"organisation":"org_1"', b'"organisation":"org_2"')
    path.write_bytes(raw)
    with Store.open(data) as store:
        pinned = store.pin()
        with pytest.raises(StoreError, match="key table is damaged"):
            pinned.key(hash_key(b"k"))
        pinned.release()


def test_damaged_key_record_hinders_no_other_keys_revocation_and_its_own_is_told(data: Path) -> None:
    path = make_store(data)
    other = msgspec.structs.replace(record("a"), id="key_2", organisation="org_8")
    with Store.open(data, write=True) as store:
        store.add_key(hash_key(b"other"), other)
    raw = path.read_bytes().replace(b'"id":"key_2"', b'"id":"key_3"')
    path.write_bytes(raw)
    with Store.open(data, write=True) as store:
        assert store.revoke_key("key_1")[1] == record("a")
        assert not opens(store, b"k")
        for key_id in ("key_2", "key_3"):  # the one that it had, and the one that it seems to have
            with pytest.raises(StoreError, match="key table is damaged"):
                store.revoke_key(key_id)


def test_both_header_pages_damaged_is_a_clear_error(data: Path) -> None:
    path = make_store(data)
    raw = bytearray(path.read_bytes())
    for page in (0, 4096):
        struct.pack_into("<I", raw, page + 16, 0)
    path.write_bytes(raw)
    with pytest.raises(StoreError, match="both header pages"):
        Store.open(data)


def test_copy_that_does_not_verify_leaves_the_one_before(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_store(data).parent / "copy" / "data.mdb"
    before = path.read_bytes()
    monkeypatch.setattr("fanion.store.database.verify", lambda *_, **__: "no good")
    with Store.open(data, write=True) as store:
        store.publish(Publication(bundles={"a": b"new"}))
        with pytest.raises(StoreError, match="the one before stays: no good"):
            store.keep_copy()
    assert path.read_bytes() == before
