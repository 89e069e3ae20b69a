"""Keyed digests: by which key, where it stands, and that exposures and events of one unit meet by them alone."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.app import publish
from fanion.config import Config
from fanion.dialects import canonical_forms, vocabulary
from fanion.errors import RowsError, StoreError
from fanion.journal.batch import Record
from fanion.journal.rows import Row, expand_rows
from fanion.model.forgotten import Forms
from fanion.model.units import UnitKeys, keyed_unit
from fanion.pipeline.published import Published
from fanion.process.exposures import Exposures
from fanion.store.forgetting import read_unit_keys
from fanion.store.layout import OVERRIDES
from fanion.store.publication import Publication
from fanion.store.signing import ROW as SIGNING_ROW
from fanion.store.store import Store
from fanion.store.unit_keys import ROW, decode_unit_keys
from fanion.store.verify import verify
from fanion.store.weights import weights_key
from tests.unit.native_files import flag, writer
from tests.unit.test_experiment_definitions import TEXTS
from tests.unit.test_exposure_definitions import rollout
from tests.unit.test_exposures import World, said

KEY = bytes(range(32))


def keyed(id: str, key: bytes = KEY) -> str:
    """By the standard library, written apart from ours."""
    return hmac.new(key, hashlib.sha256(id.encode()).digest(), "sha256").hexdigest()


def keys_of(data: Path) -> dict[str, bytes]:
    with Store.open(data) as store, store.pin() as pinned:
        return decode_unit_keys(pinned.meta(ROW)).keys


def publish_keyed(folder: Path, **exposures: Any) -> None:
    flags = {"checkout": flag(**TEXTS, rules=[rollout()])}
    path = writer(folder)(
        environments={"e": {"id": "e", "exposures": exposures}, "f": {"id": "f", "rows": {"keep_days": 30}}},
        flags=flags,
    )
    publish(folder / "data", definitions.load([path], vocabulary()), Config())


def test_an_environments_key_is_made_once_and_no_publication_or_rollback_takes_it(tmp_path: Path) -> None:
    publish_keyed(tmp_path)
    assert keys_of(tmp_path / "data") == {}
    publish_keyed(tmp_path, keyed=True)
    first = keys_of(tmp_path / "data")
    assert list(first) == ["e"], "the other environment's aren't keyed"
    assert len(first["e"]) == 32
    publish_keyed(tmp_path)
    publish_keyed(tmp_path, keyed=True, record="splits")
    with Store.open(tmp_path / "data", write=True) as store:
        store.rollback()
        store.publish(Publication(bundles={"g": b"1"}, keyed=("g",)))
    found = keys_of(tmp_path / "data")
    assert found["e"] == first["e"] != found["g"]


def test_keys_of_units_never_show_in_text() -> None:
    keys = UnitKeys({"e": KEY})
    assert KEY.hex() not in repr(keys)
    assert str(KEY) not in f"{keys!r}{keys}"


def test_keys_that_are_broken_are_said(tmp_path: Path) -> None:
    publish_keyed(tmp_path, keyed=True)
    with pytest.raises(StoreError, match="unit keys"):
        decode_unit_keys(b"\0" * 40)


def test_exposures_and_events_of_a_unit_meet_by_keyed_digests_alone(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.expose(key=KEY)
    world.ask("half", userId="u1")
    world.expose()
    world.ask("half", userId="u1")  # as it was recorded before digests were keyed
    records = list(world.records())

    def key_of(environment: str) -> bytes | None:
        return KEY if environment == "e" else None

    def events(environment: str = "e") -> list[Row]:
        digest = hashlib.sha256(b"u1").hexdigest()
        made: list[Row] = []
        for dialect, event in (
            ("feather", {"flagKey": "half", "userIdHash": digest}),
            ("neutral", {"type": "metric", "id": "1", "unit": {"kind": "userId", "id": "u1"}, "metric": "m"}),
            (
                "neutral",
                {"type": "metric", "id": "2", "unit": {"kind": "userId", "sha256": digest}, "metric": "m"},
            ),
            ("traffical", {"type": "track", "event": "m", "unitKey": "u1"}),
            ("stitchd", {"context_type": "user", "context_key": "u1", "metric_key": "m"}),
        ):
            body = json.dumps([event]).encode()
            record = Record(1, 1, 1, 0, dialect, environment, b"", b"", False, body)
            made += expand_rows(record, "m", canonical_forms(), key_of=key_of)
        return made

    rows = [row for record in records for row in expand_rows(record, "m", canonical_forms(), key_of=key_of)]
    assert len(rows) == 2
    units = said([*rows, *events()], "unit", "unit_hashed")
    assert set(units) == {(keyed("u1"), True)}
    assert keyed("u1") not in {row.unit for row in events("other")}


def test_a_digest_that_is_none_is_taken_for_an_id() -> None:
    digest = hashlib.sha256(b"u1").hexdigest()
    assert keyed_unit(KEY, digest, hashed=True) == keyed("u1")
    for sent in (digest.upper(), digest[:9].upper() + digest[9:]):
        assert keyed_unit(KEY, sent, hashed=True) == keyed("u1")
    for other in (digest[:-1], digest + "0", "g" + digest[1:], "@" + digest[1:], ""):
        assert keyed_unit(KEY, other, hashed=True) == keyed(other)
    assert keyed_unit(KEY, digest, hashed=False) == keyed(digest)


def test_a_unit_is_recorded_anew_once_its_digest_is_keyed(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.ask("half", userId="u1")
    world.expose(key=KEY)
    world.ask("half", userId="u1")
    world.ask("half", userId="u1")
    assert world.counts("served", "repeated") == [2, 1]
    assert [row.unit for row in world.rows()] == [hashlib.sha256(b"u1").hexdigest(), keyed("u1")]


def test_a_key_of_another_length_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(ValueError, match="32 are needed"):
        world.expose(key=b"short")
    world.close()


def test_the_pipeline_keys_by_what_is_published_and_stops_where_a_key_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_keyed(tmp_path, keyed=True)
    data = tmp_path / "data"
    published = Published(data, 1 << 30, canonical_forms())
    assert published.key_of("e") == keys_of(data)["e"]
    assert published.key_of("f") is published.key_of("gone") is None
    assert [published.terms_of(name).keep_days for name in "ef"] == [None, 30]
    publish_keyed(tmp_path)
    assert published.key_of("e") is not None, "it looks once between two steps"
    published.refresh()
    assert published.key_of("e") is None
    publish_keyed(tmp_path, keyed=True)
    published.refresh()
    with Store.open(data, write=True) as store:
        store.publish(Publication(bundles={}, removed=("e",)))
    published.refresh()
    assert published.key_of("e") == keys_of(data)["e"], "what it left unread is keyed as it was"
    publish_keyed(tmp_path, keyed=True)
    published.refresh()
    monkeypatch.setattr("fanion.pipeline.published.decode_unit_keys", lambda _: UnitKeys())
    with pytest.raises(RowsError, match="no key for the units of e; publish again"):
        published.key_of("e")


def test_who_is_forgotten_is_found_by_keyed_digests_too(tmp_path: Path) -> None:
    publish_keyed(tmp_path, keyed=True)
    keys = read_unit_keys(tmp_path / "data", 1 << 30)
    assert keys == tuple(keys_of(tmp_path / "data").values())
    assert read_unit_keys(tmp_path, 1 << 30) == ()
    forms = Forms(["alice@example.org"], keys)
    for text in (keyed("alice@example.org", keys[0]), hashlib.sha256(b"alice@example.org").hexdigest()):
        assert forms.is_unit(text)
        assert bytes.fromhex(text) in forms.digests
    assert not Forms(["alice@example.org"]).is_unit(keyed("alice@example.org", keys[0]))


def test_a_bundle_without_its_key_records_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class KeyedBundle:
        environment = "e"

        def document(self, name: str) -> bytes:
            return b'{"keyed":true}'

    exposures = Exposures.open(tmp_path, 4096)
    exposures.attach(KeyedBundle(), [])  # type: ignore[arg-type]  # it is asked for nothing else
    assert caplog.records[-1].reason.endswith("publish again")  # type: ignore[attr-defined]

    def damaged() -> bytes:
        raise StoreError("the store's unit keys are damaged")

    exposures.attach(KeyedBundle(), [], damaged)  # type: ignore[arg-type]
    assert caplog.records[-1].reason == "the store's unit keys are damaged"  # type: ignore[attr-defined]
    exposures.close()


@pytest.mark.parametrize("row", [ROW, SIGNING_ROW, OVERRIDES, weights_key("e")])
def test_a_damaged_row_of_meta_is_a_damaged_store(tmp_path: Path, row: bytes) -> None:
    """Also where only the generation that is served has the environment."""
    publish_keyed(tmp_path)
    with Store.open(tmp_path / "data", write=True) as store:
        store.publish(Publication(bundles={}, removed=("e",)))
    publish_keyed(tmp_path, keyed=True)
    assert verify(tmp_path / "data" / "store", deep=False) is None
    with Store.open(tmp_path / "data", write=True) as store, store.transactions.writing() as transaction:
        transaction.put(row, b"0123456789", db=store.transactions.databases["meta"])
    assert "damaged" in (verify(tmp_path / "data" / "store", deep=False) or "")
