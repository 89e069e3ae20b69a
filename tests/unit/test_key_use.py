"""The hour of a key's last use: noted off the requests' path, merged by all workers, shown by `keys list`."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanion.auth.key_use import HOUR_S, KEPT_HOURS, NAME, SAVE_EVERY_S, KeyUse, read_key_use
from fanion.auth.keys import create_key
from fanion.model.api_key import hash_key
from fanion.store.publication import Publication
from fanion.store.reload import Reloader
from fanion.store.store import Store
from tests.unit.test_keys_commands import fanion


class Clock:
    now = 500_000.5 * HOUR_S

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "shared").mkdir()
    return tmp_path


def note(use: KeyUse) -> bool:
    due = use.due()
    if due is not None:
        use.save(*due)
    return due is not None


def test_what_was_used_is_noted_once_an_hour_and_key_and_found_after_a_restart(directory: Path) -> None:
    clock, seen, forgotten = Clock(), {"key_a"}, 0

    def take() -> set[str]:
        taken = seen.copy()
        seen.clear()
        return taken

    def forget() -> None:
        nonlocal forgotten
        forgotten += 1

    use = KeyUse(directory, take, forget, clock)
    clock.now += SAVE_EVERY_S + 1
    assert note(use)
    assert not note(use)
    assert read_key_use(directory) == {"key_a": 500_000}
    seen.add("key_b")
    clock.now += HOUR_S
    assert note(use)  # of the hour before: only now is it over
    assert (read_key_use(directory), forgotten) == ({"key_a": 500_000, "key_b": 500_000}, 1)
    seen.add("key_b")
    use.close()
    assert read_key_use(directory) == {"key_a": 500_000, "key_b": 500_001}
    assert sorted(path.name for path in (directory / "shared").iterdir()) == [NAME, f"{NAME}.lock"]


def test_a_clock_that_jumps_back_takes_no_hour_back_and_notes_go_on(directory: Path) -> None:
    clock, seen = Clock(), {"key_a"}
    use = KeyUse(directory, lambda: seen, lambda: None, clock)
    clock.now += SAVE_EVERY_S + 1
    assert note(use)
    clock.now -= 100 * HOUR_S
    assert note(use)
    clock.now += SAVE_EVERY_S + 1
    assert note(use)
    assert read_key_use(directory) == {"key_a": 500_000}


@pytest.mark.parametrize("damage", [b"", b"{", b'{"key_a": "x"}', b"[]", b"\xff" * 100])
def test_a_file_that_does_not_read_is_begun_anew(directory: Path, damage: bytes) -> None:
    (directory / "shared" / NAME).write_bytes(damage)
    assert read_key_use(directory) == {}
    KeyUse(directory, set, lambda: None).save({"key_a"}, 7)
    assert read_key_use(directory) == {"key_a": 7}


def test_keys_that_nobody_used_for_years_are_left_out(directory: Path) -> None:
    use = KeyUse(directory, set, lambda: None)
    use.save({"old"}, 10)
    use.save({"edge"}, 11)
    use.save({"new"}, 10 + KEPT_HOURS)
    assert read_key_use(directory) == {"edge": 11, "new": 10 + KEPT_HOURS}


def test_a_place_that_can_not_be_written_costs_the_note_and_nothing_else(tmp_path: Path) -> None:
    KeyUse(tmp_path / "none", set, lambda: None).save({"key_a"}, 7)
    assert read_key_use(tmp_path / "none") == {}


def test_only_keys_that_let_a_request_in_count_as_used(tmp_path: Path) -> None:
    raws = {}
    with Store.open(tmp_path, create=True) as store:
        for name, expires_at in (("good", None), ("ended", 5.0), ("idle", None)):
            raw, record = create_key(environment="e", organisation="o", kind="server", expires_at=expires_at)
            raws[name] = (raw, record)
        store.publish(
            Publication(
                bundles={"e": b"bundle"},
                keys={hash_key(raw.encode()): record for raw, record in raws.values()},
            )
        )
        reloader: Reloader[bytes] = Reloader(
            store, store.word, lambda name, buffer, key: b"", now=lambda: 10.0
        )
        for _ in range(2):
            for name in ("good", "ended"):
                reloader.current().known_key(raws[name][0].encode())
            reloader.current().known_key(b"sk_unknown")
        assert reloader.take_used() == {raws["good"][1].id}
        reloader.current().known_key(raws["good"][0].encode())
        assert reloader.take_used() == set()
        reloader.forget_keys()
        assert reloader.current().known_key(raws["good"][0].encode()) is not None
        assert reloader.take_used() == {raws["good"][1].id}
        reloader.close()


def test_keys_list_shows_the_hour_and_nothing_for_what_was_never_used(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Store.open(data, create=True) as store:
        store.publish(Publication(bundles={"e": b"bundle"}, keys={}))
        records = []
        for name in ("used", "other"):
            raw, record = create_key(environment="e", organisation="o", kind="server", name=name)
            store.add_key(hash_key(raw.encode()), record)
            records.append(record)
    (data / "shared").mkdir(exist_ok=True)
    KeyUse(data, set, lambda: None).save({records[0].id}, 500_000)
    lines = fanion("keys", "list", "--data", data).stdout.splitlines()
    assert "last use" in "".join(lines)
    assert "2027-01-15T08:00Z" in next(line for line in lines if records[0].id in line)
    assert ":00Z" not in next(line for line in lines if records[1].id in line)
