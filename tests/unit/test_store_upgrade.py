"""A server of a new bundle format makes its own bundles from the sources that the store keeps."""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion import app
from fanion.app import publishing
from fanion.bundle.format import VERSION
from fanion.config import Config
from fanion.definitions import DEMO, load
from fanion.dialects import vocabulary
from fanion.errors import StoreError, StoreVersionError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store import upgrade as module
from fanion.store.database import older_path
from fanion.store.publication import Publication
from fanion.store.store import Store
from fanion.store.upgrade import upgrade


def bundle(text: bytes, version: int = VERSION) -> bytes:
    return b"\x89FANION\n" + struct.pack("<I", version) + text


def record(environment: str) -> KeyRecord:
    return KeyRecord(id="key_1", environment=environment, organisation="o", kind="server")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", create=True) as opened:
        yield opened


def contents(store: Store) -> dict[str, bytes]:
    with store.pin() as pinned:
        return {name: bytes(pinned.bundle(name) or b"") for name in pinned.environments()}


def test_store_of_this_format_is_left_alone(store: Store) -> None:
    store.publish(Publication(bundles={"a": bundle(b"x")}))
    assert upgrade(store, lambda sources: {}) is None
    assert store.generation() == 1


def test_outdated_bundles_are_made_again_with_their_own_sources_keys_and_lists(store: Store) -> None:
    old = VERSION - 1
    store.publish(
        Publication(
            bundles={"a": bundle(b"a", old), "b": bundle(b"b", old)},
            keys={hash_key(b"k"): record("a")},
            definitions={"flags.yaml": b"first"},
            lists={"a": {"l": [b"member"]}},
        )
    )
    store.publish(Publication(bundles={"b": bundle(b"b", old)}, definitions={"flags.yaml": b"second"}))
    store.publish(Publication(bundles={"c": bundle(b"c")}, definitions={"flags.yaml": b"third"}))

    def recompile(sources: dict[str, bytes]) -> dict[str, bytes]:
        return {name: bundle(b"new " + sources["flags.yaml"]) for name in "abc"}

    assert upgrade(store, recompile) == 5
    assert contents(store) == {"a": bundle(b"new first"), "b": bundle(b"new second"), "c": bundle(b"c")}
    pinned = store.pin()
    assert pinned.key(hash_key(b"k")) is not None
    assert pinned.member("a", "l", b"member")
    assert pinned.definitions("a") == {"flags.yaml": b"first"}
    assert pinned.definitions("b") == {"flags.yaml": b"second"}
    pinned.release()
    assert upgrade(store, recompile) is None
    store.publish(Publication(bundles={"a": bundle(b"later")}))
    pinned = store.pin()
    assert pinned.key(hash_key(b"k")) is None
    pinned.release()


def test_bundle_of_a_newer_format_is_refused_with_advice(store: Store) -> None:
    store.publish(Publication(bundles={"a": bundle(b"a", VERSION + 1)}))
    with pytest.raises(StoreVersionError, match="run the newer Fanion"):
        upgrade(store, lambda sources: {})


def test_environment_that_the_sources_do_not_give_is_named(store: Store) -> None:
    store.publish(Publication(bundles={"a": bundle(b"a", VERSION - 1)}))
    with pytest.raises(StoreError, match="environment a can't be compiled"):
        upgrade(store, lambda sources: {})
    assert store.generation() == 1


def test_demo_is_compiled_again_to_the_same_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app.publish(tmp_path / "data", load([DEMO], vocabulary()), Config())
    with Store.open(tmp_path / "data", write=True) as store:
        before = contents(store)
        monkeypatch.setattr(module, "outdated", lambda pinned: list(pinned.environments()))
        assert app.upgrade_bundles(store) == 2
        assert contents(store) == before


def test_store_is_kept_as_it_was_and_goes_on_where_it_cannot_be(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.publish(Publication(bundles={"a": bundle(b"x", VERSION - 1)}, definitions={"f.yaml": b"source"}))
    monkeypatch.setattr(publishing, "compile_stored", lambda sources: {"a": bundle(b"y")})
    assert app.upgrade_bundles(store) == 2
    kept = older_path(tmp_path / "data")
    before = kept.read_bytes()
    assert bundle(b"x", VERSION - 1) in before
    assert bundle(b"y") not in before
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    store.publish(Publication(bundles={"a": bundle(b"z", VERSION - 1)}, definitions={"f.yaml": b"source"}))
    assert kept.read_bytes() == before

    def full(self: Store) -> None:
        raise StoreError("no room")

    monkeypatch.setattr(Store, "keep_older", full)
    assert app.upgrade_bundles(store) == 4
    assert contents(store) == {"a": bundle(b"y")}
    assert kept.read_bytes() == before
