"""A revocation waits for nobody's publish lock, and no older copy of the store takes it back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion.cli.keys import command as keys_command
from fanion.cli.lists import command as lists_command
from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store import spool as spool_module
from fanion.store.database import hold_lock
from fanion.store.layout import Origin
from fanion.store.list_writer import ListWriter
from fanion.store.publication import Publication
from fanion.store.recovery import open_verified
from fanion.store.revocations import noted_revocations
from fanion.store.spool import Spool
from fanion.store.store import Store


def record(name: str) -> KeyRecord:
    return KeyRecord(id=f"key_{name}", environment="e1", organisation="o", kind="server", prefix=name)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with Store.open(tmp_path / "data", create=True) as store:
        keys = {hash_key(b"defined"): record("defined")}
        store.publish(Publication(bundles={"e1": os.urandom(50_000)}, keys=keys, lists={"e1": {"l": [b"a"]}}))
        store.add_key(hash_key(b"created"), record("created"))
        store.keep_copy()
    return tmp_path / "data"


@pytest.fixture
def publishing(data: Path) -> Iterator[None]:
    """Somebody imports a list, or publishes, for as long as the test runs."""
    lock = hold_lock(data / "store" / "publish.lock", fcntl.LOCK_EX)
    yield
    os.close(lock)


def origins(store: Store) -> dict[str, Origin]:
    return {key.record.id: key.origin for key in store.stored_keys()}


@pytest.mark.usefixtures("publishing")
def test_keys_are_revoked_added_and_rotated_while_another_command_publishes(data: Path) -> None:
    with Store.open(data, write=True) as store:
        assert store.revoke_key("key_created")[0] == 3
        assert store.add_key(hash_key(b"new"), record("new")) == 4
        assert store.rotate_signing_key() == 5
        assert origins(store) == {
            "key_created": Origin.REVOKED,
            "key_defined": Origin.DEFINED,
            "key_new": Origin.CREATED,
        }


@pytest.mark.usefixtures("publishing")
def test_revoke_command_ends_while_another_command_publishes(data: Path) -> None:
    done = CliRunner().invoke(keys_command, ["revoke", "key_created", "--data", str(data)])
    assert (done.exit_code, done.stderr) == (0, "")
    assert "is revoked; generation 3" in done.stdout


@pytest.mark.parametrize("verb", ["add", "remove", "replace", "publish"])
def test_members_are_read_before_the_lock_is_taken(data: Path, verb: str) -> None:
    seen = []

    def members() -> Iterator[bytes]:
        os.close(hold_lock(data / "store" / "publish.lock", fcntl.LOCK_EX, 0.0))
        seen.append(True)
        yield b"b"

    with Store.open(data, write=True) as store:
        if verb == "publish":
            store.publish(Publication(bundles={"e1": b"x"}, lists={"e1": {"l": members()}}))
        else:
            getattr(ListWriter(store.transactions), verb)("e1", "l", members())
    assert seen == [True]


def test_list_whose_source_is_the_stored_one_is_not_read(data: Path) -> None:
    def unread() -> Iterator[bytes]:
        raise AssertionError
        yield b""

    with Store.open(data, write=True) as store:
        for members in ([b"b"], unread()):
            lists, sources = {"e1": {"l": members}}, {"e1": {"l": "digest"}}
            store.publish(Publication(bundles={"e1": b"x"}, lists=lists, list_sources=sources))


@pytest.mark.parametrize("verb", ["add", "remove", "replace"])
def test_file_that_breaks_in_its_middle_changes_nothing(data: Path, tmp_path: Path, verb: str) -> None:
    (tmp_path / "members").write_bytes(b"b\n" * 250_000 + b"\xff\n")
    arguments = ["e1", "l", "--file", str(tmp_path / "members"), "--data", str(data)]
    done = CliRunner().invoke(lists_command, [verb, *arguments])
    assert "not UTF-8" in str(done.exception)
    with Store.open(data) as store:
        assert store.generation() == 2


def test_spool_gives_back_what_it_read_however_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool_module, "MEMBERS_IN_MEMORY", 20)
    monkeypatch.setattr(spool_module, "MEMBERS_AT_ONCE", 10)
    (tmp_path / "store").mkdir()
    told: list[int] = []
    for count in (0, 1, 10, 19, 20, 21, 30, 95):
        members = [b"%d" % (n // 2) for n in range(count)]
        told.clear()
        with Spool(tmp_path, iter(members), lambda _, read: told.append(read)) as spool:
            assert list(spool) == list(spool) == members
        assert sum(told) == count


def damage(data: Path) -> None:
    os.truncate(data / "store" / "data.mdb", 20_000)


def test_copy_from_before_a_revocation_does_not_revive_the_key(data: Path) -> None:
    with Store.open(data, write=True) as store:
        store.add_key(hash_key(b"later"), record("later"))
        for name in ("defined", "created", "later"):
            store.revoke_key(f"key_{name}")
    damage(data)
    store, problem = open_verified(data, write=True)
    with store:
        assert problem is not None
        assert set(origins(store).values()) == {Origin.REVOKED}
        keys = {hash_key(b"later"): record("later")}
        store.publish(Publication(bundles={"e1": b"x"}, keys=keys))
        assert origins(store)["key_later"] == Origin.REVOKED


def test_line_that_was_cut_off_spoils_no_other(data: Path) -> None:
    path = data / "store" / "revoked"
    path.write_bytes(b"aa bb\n00\xff\n" + hash_key(b"x").hex().encode()[:40])
    with Store.open(data, write=True) as store:
        store.revoke_key("key_created")
    assert noted_revocations(data) == {hash_key(b"created"): record("created")}


def test_revocation_that_cannot_be_noted_is_not_made(data: Path) -> None:
    (data / "store" / "revoked").mkdir()
    with Store.open(data, write=True) as store, pytest.raises(StoreError, match="nothing is revoked"):
        store.revoke_key("key_created")
    with Store.open(data) as store:
        assert origins(store)["key_created"] == Origin.CREATED
