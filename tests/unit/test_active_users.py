"""Active-user sets: exactly the cap, over processes, months, restarts and power cuts."""

from __future__ import annotations

import multiprocessing
import random
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fanion._core.members import FIRST_PART, MemberSet
from fanion.auth import active_users
from fanion.auth.active_users import ActiveUsers
from fanion.errors import ServeError, StoreError

SPAWN = multiprocessing.get_context("spawn")
KEY = bytes(16)


def at(year: int, month: int, day: int = 1, hour: int = 0) -> float:
    return datetime(year, month, day, hour, tzinfo=UTC).timestamp()


NOW = at(2026, 11, 5)


@pytest.fixture
def users(tmp_path: Path) -> ActiveUsers:
    return ActiveUsers.open(tmp_path, now=lambda: NOW)


@pytest.mark.parametrize("cap", [0, 1, 1000, FIRST_PART, FIRST_PART + 1, 5000])
def test_cap_lets_in_exactly_so_many_and_known_ones_ever_after(users: ActiveUsers, cap: int) -> None:
    names = [f"user-{number}" for number in range(cap + 500)]
    assert [users.admit("acme", name, cap) for name in names] == [True] * cap + [False] * 500
    assert [users.admit("acme", name, cap) for name in names] == [True] * cap + [False] * 500
    assert users.count("acme") == cap


def test_organisations_and_users_do_not_run_into_each_other(users: ActiveUsers) -> None:
    assert users.admit("a", "x", 1)
    assert users.admit("b", "y", 1)
    assert not users.admit("a", "y", 1)
    assert users.admit("b", "y", 1)


def test_no_cap_means_no_set(tmp_path: Path, users: ActiveUsers) -> None:
    assert all(users.admit("acme", f"user-{number}", None) for number in range(100))
    assert [path.name for path in (tmp_path / "shared" / "active").iterdir()] == ["key"]


def test_cap_may_be_raised_and_lowered_within_the_month(users: ActiveUsers) -> None:
    assert [users.admit("acme", name, 2) for name in "abc"] == [True, True, False]
    assert users.admit("acme", "c", 3)
    assert [users.admit("acme", name, 1) for name in "abcd"] == [True, True, True, False]


def test_user_of_a_part_made_elsewhere_is_known_under_a_lowered_cap(tmp_path: Path) -> None:
    one, other = MemberSet(str(tmp_path / "set-"), KEY), MemberSet(str(tmp_path / "set-"), KEY)
    for number in range(FIRST_PART + 1):
        assert one.admit(f"user-{number}", 10_000)
    assert other.admit(f"user-{FIRST_PART}", 10)
    assert not other.admit("new", 10)


def test_month_begins_anew_at_midnight_utc_and_old_sets_go(tmp_path: Path) -> None:
    users = ActiveUsers.open(tmp_path)
    assert users.admit("acme", "a", 1, at(2026, 12, 31, 23) + 3599.9)
    assert not users.admit("acme", "b", 1, at(2026, 12, 31, 23) + 3599.9)
    assert users.admit("acme", "b", 1, at(2027, 1, 1))
    assert users.admit("acme", "a", 1, at(2026, 12, 31, 23))
    assert not users.admit("acme", "a", 1, at(2027, 1, 1))
    assert users.admit("acme", "a", 1, at(2027, 2, 1))
    months = {path.name[:6] for path in (tmp_path / "shared" / "active").iterdir() if path.name != "key"}
    assert months == {"202701", "202702"}


def test_sets_outlive_restarts_and_are_private(tmp_path: Path, users: ActiveUsers) -> None:
    assert users.admit("acme", "a", 1)
    users.close()
    again = ActiveUsers.open(tmp_path, now=lambda: NOW)
    assert again.admit("acme", "a", 1)
    assert not again.admit("acme", "b", 1)
    folder = tmp_path / "shared" / "active"
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir())
    assert not any(b"acme" in path.read_bytes() for path in folder.iterdir())


def test_more_organisations_than_are_kept_mapped_are_counted_all_the_same(
    users: ActiveUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(active_users, "SETS_OPEN_MAX", 2)
    for _ in range(3):
        for organisation in "abcde":
            assert users.admit(organisation, "x", 1)
            assert not users.admit(organisation, "y", 1)


def test_lone_surrogate_is_a_user_like_any_other(users: ActiveUsers) -> None:
    assert users.admit("\ud800", "\ud800", 1)
    assert not users.admit("\ud800", "\ud801", 1)


def test_damaged_key_and_set_are_told(tmp_path: Path) -> None:
    ActiveUsers.open(tmp_path).close()
    folder = tmp_path / "shared" / "active"
    (folder / "key").write_bytes(b"short")
    with pytest.raises(ServeError, match="5 bytes, 16 are a key"):
        ActiveUsers.open(tmp_path)
    (folder / "key").unlink()
    users = ActiveUsers.open(tmp_path, now=lambda: NOW)
    assert users.admit("acme", "a", 1)
    users.close()
    [path] = [path for path in folder.iterdir() if path.name != "key"]
    path.write_bytes(b"")
    with pytest.raises(StoreError, match="acme"):
        users.admit("acme", "a", 1)


def test_words_lost_in_a_power_cut_are_mended_and_may_be_filled_again(tmp_path: Path) -> None:
    chosen = random.Random(5)
    members = MemberSet(str(tmp_path / "set-"), KEY)
    names = [f"user-{number}" for number in range(1000)]
    assert all(members.admit(name, 1000) for name in names)
    members.close()
    content = bytearray((tmp_path / "set-0").read_bytes())
    lost = set(chosen.sample(range(1000), 100))
    for number in lost:
        start = 4096 + 128 + number * 8
        content[start : start + 8] = bytes(8)
    content[32:48] = bytes(16)  # another boot
    (tmp_path / "set-0").write_bytes(content)
    members = MemberSet(str(tmp_path / "set-"), KEY)
    assert len(members) == 900
    assert all(members.admit(name, 900) == (number not in lost) for number, name in enumerate(names))
    assert sum(members.admit(f"new-{number}", 1000) for number in range(500)) == 100


def admit_in_child(
    directory: str, seed: int, start: object, results: multiprocessing.Queue[list[int]]
) -> None:
    users = ActiveUsers.open(Path(directory), now=lambda: NOW)
    numbers = list(range(100_000))
    random.Random(seed).shuffle(numbers)
    start.wait()  # type: ignore[attr-defined]
    results.put([number for number in numbers if users.admit("acme", f"user-{number}", 1000)])


def test_hundred_thousand_users_from_several_processes_let_exactly_a_thousand_in(tmp_path: Path) -> None:
    results: multiprocessing.Queue[list[int]] = SPAWN.Queue()
    start = SPAWN.Barrier(4)
    children = [
        SPAWN.Process(target=admit_in_child, args=(str(tmp_path), seed, start, results)) for seed in range(4)
    ]
    for child in children:
        child.start()
    admitted = [set(results.get(timeout=60)) for _ in children]
    for child in children:
        child.join()
    assert len(set().union(*admitted)) == 1000
    users = ActiveUsers.open(tmp_path, now=lambda: NOW)
    assert users.count("acme") == 1000
    known = {number for number in range(100_000) if users.admit("acme", f"user-{number}", 1000)}
    assert known == set().union(*admitted)
