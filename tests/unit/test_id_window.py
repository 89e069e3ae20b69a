"""The window alone: what is new, what is repeated, what is forgotten, and what a dead owner leaves behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fanion._core.window import LANES, IdWindow, siphash
from fanion._core.window_rebuild import insert

KEY = bytes(range(16))


@pytest.fixture
def window(tmp_path: Path) -> IdWindow:
    made = IdWindow(str(tmp_path / "window"), 1024, KEY)
    made.attach(0, 0)
    return made


def keep(
    window: IdWindow, ids: list[str | bytes | None], sequence: int, writer: int = 0, scope: bytes = b"p"
) -> bytes:
    reservation = window.reserve(scope, ids, writer, sequence)
    reservation.commit(sequence)
    return reservation.dispositions


def test_siphash_is_the_published_one() -> None:
    assert siphash(KEY, bytes(range(15))).hex() == "e545be4961ca29a1"
    assert siphash(KEY, b"", wide=True).hex() == "a3817f04ba25a8e66df67214c7550293"
    assert siphash(KEY, bytes(range(15)), wide=True).hex() == "5493e99933b0a8117e08ec0f97cfc3d9"


def test_repeated_id_is_told_apart_by_scope_and_not_by_type(window: IdWindow) -> None:
    assert keep(window, ["a", "b", "é", ""], 1) == b"\0\0\0\0"
    assert keep(window, ["b", "c", b"a", "é".encode(), ""], 2) == b"\2\0\2\2\2"
    assert keep(window, ["a", "b"], 3, scope=b"q") == b"\0\0"


def test_same_id_twice_in_one_request_is_kept_once_and_waits_for_nothing(window: IdWindow) -> None:
    reservation = window.reserve(b"p", ["a", "b", "a", None, None], 0, 1)
    assert reservation.dispositions == b"\0\0\2\0\0"
    assert reservation.hashes[:16] != bytes(16) != reservation.hashes[16:32]
    assert reservation.hashes[32:] == bytes(48)
    assert (reservation.waits, reservation.check(), reservation.duplicates) == ([], True, 1)
    reservation.commit(1)


def test_id_with_a_lone_surrogate_is_an_id_like_any_other(window: IdWindow) -> None:
    assert keep(window, ["\ud800"], 1) == b"\0"
    assert keep(window, ["\ud800", "\ud801"], 2) == b"\2\0"


def test_refused_request_leaves_nothing_behind(window: IdWindow) -> None:
    for _ in range(50):
        window.reserve(b"p", ["a", "b"], 0, 1).release()
    assert window.counters()["claims"] == 2
    assert keep(window, ["a", "b"], 1) == b"\0\0"


def test_dropped_reservation_is_released_and_counted(window: IdWindow) -> None:
    window.reserve(b"p", ["a"], 0, 1)
    assert (window.open_reservations, window.leaked) == (0, 1)
    assert keep(window, ["a"], 1) == b"\0"


def test_duplicate_waits_until_its_record_is_safe(window: IdWindow) -> None:
    keep(window, ["a", "b"], 7)
    reservation = window.reserve(b"p", ["a", "b", "c"], 0, 8)
    reservation.commit(8)
    assert (reservation.waits, reservation.check()) == ([(0, 7)], False)
    window.settle(0, 6)
    assert reservation.check() is False
    window.settle(0, 7)
    assert (reservation.waits, reservation.check()) == ([], True)


def test_dead_owner_leaves_only_what_its_journal_holds(tmp_path: Path, window: IdWindow) -> None:
    keep(window, ["a"], 1)
    keep(window, ["b"], 2)
    other = IdWindow(str(tmp_path / "window"), 1024, KEY)
    other.attach(5, 0)
    retry = other.reserve(b"p", ["a", "b"], 5, 1)
    retry.release()
    assert retry.check() is False
    assert other.attach(0, 1) == 1
    assert retry.check() is None
    assert keep(other, ["a", "b"], 1, writer=5) == b"\2\0"


def test_clean_owner_is_not_looked_for(window: IdWindow) -> None:
    keep(window, ["a"], 1)
    window.detach(0, 1)
    assert not window.is_attached(0)
    assert window.attach(0, 1) == 0
    assert keep(window, ["a"], 2) == b"\2"


def test_journal_that_went_back_takes_its_ids_along(window: IdWindow) -> None:
    keep(window, ["a"], 1)
    keep(window, ["b"], 2)
    window.detach(0, 2)
    assert window.attach(0, 1) == 1
    assert keep(window, ["a", "b"], 2) == b"\2\0"


def test_window_remembers_its_size_and_forgets_at_most_as_much_again(window: IdWindow) -> None:
    for number in range(10_240):
        assert keep(window, [f"id-{number}"], number + 1) == b"\0"
        if number >= 1023:
            probe = window.reserve(b"p", [f"id-{number - 1022}"], 0, number + 2)
            assert probe.dispositions == b"\2", number
            probe.release()
    assert keep(window, ["id-0"], 20_000) == b"\0"
    assert window.counters() == {"claims": 10_241, "evicted": 9 * 1024, "early_turns": 0, "leaked": 0}


def test_request_as_large_as_the_window_is_told_apart_and_a_larger_one_refused(tmp_path: Path) -> None:
    window = IdWindow(str(tmp_path / "small"), 1024, KEY)
    window.attach(0, 0)
    for round in range(1, 700):
        ids: list[str | bytes | None] = [f"{round}-{number}" for number in range(1019)]
        assert keep(window, ids + ids[-5:], round) == b"\0" * 1019 + b"\2" * 5
    assert window.counters()["early_turns"] == 0
    with pytest.raises(ValueError, match="1025 ids"):
        window.reserve(b"p", [None] * 1025, 0, 700)


def test_second_record_is_refused_while_a_reservation_is_open(window: IdWindow) -> None:
    first = window.reserve(b"p", ["a"], 0, 1)
    window.reserve(b"q", ["a"], 0, 1).commit(1)
    with pytest.raises(RuntimeError, match="before anything is awaited"):
        window.reserve(b"p", ["b"], 0, 2)
    with pytest.raises(RuntimeError, match="appended as 3"):
        first.commit(3)
    with pytest.raises(RuntimeError, match="committed or released before"):
        first.release()


def test_window_of_another_size_key_or_journal_is_refused_or_made_anew(tmp_path: Path) -> None:
    path = str(tmp_path / "window")
    window = IdWindow(path, 1024, KEY, 1)
    assert not window.ready
    window.mark_ready()
    assert IdWindow(path, 1024, KEY, 1).ready
    for capacity, fingerprint in ((1025, 1), (1024, 2)):
        with pytest.raises(ValueError, match="other settings"):
            IdWindow(path, capacity, KEY, fingerprint)
    assert not IdWindow(path, 1024, KEY, 2, replace=True).ready


def test_window_of_another_boot_is_empty_and_not_ready(tmp_path: Path) -> None:
    path = tmp_path / "window"
    window = IdWindow(str(path), 1024, KEY)
    window.attach(0, 0)
    window.mark_ready()
    keep(window, ["a"], 1)
    window.close()
    with path.open("r+b") as file:
        file.seek(32)
        file.write(bytes(16))
    window = IdWindow(str(path), 1024, KEY)
    assert (window.fresh, window.ready) == (True, False)
    assert keep(window, ["a"], 1) == b"\0"
    assert path.stat().st_blocks * 512 >= 2 * 1024 * 24 * 4 // 3
    assert path.stat().st_size == window.body_bytes + 4096


@pytest.mark.parametrize("capacity", [0, 1023, 1 << 33])
def test_impossible_sizes_are_refused(tmp_path: Path, capacity: int) -> None:
    with pytest.raises(ValueError, match="are allowed"):
        IdWindow(str(tmp_path / "window"), capacity, KEY)
    assert list(tmp_path.iterdir()) == []


def test_bounds_of_writer_batch_and_key_are_told(tmp_path: Path, window: IdWindow) -> None:
    with pytest.raises(ValueError, match="writer 1023"):
        window.reserve(b"p", ["a"], 1023, 1)
    large = IdWindow(str(tmp_path / "large"), 100_000, KEY)
    with pytest.raises(ValueError, match="65537 ids"):
        large.reserve(b"p", [None] * 65_537, 0, 1)
    assert keep(large, [None] * 65_536, 1) == bytes(65_536)
    with pytest.raises(ValueError, match="16 are needed"):
        IdWindow(str(tmp_path / "other"), 1024, b"short")
    with pytest.raises(ValueError, match="16 each"):
        insert(window, bytes(15), 0, 1)


def test_inserted_hashes_are_the_ids_of_later_requests(window: IdWindow) -> None:
    reservation = window.reserve(b"p", ["a", None, "b"], 0, 1)
    reservation.release()
    assert insert(window, reservation.hashes, 3, 9) == 2
    assert insert(window, reservation.hashes, 3, 9) == 0
    again = window.reserve(b"p", ["b"], 0, 1)
    assert (again.dispositions, again.waits) == (b"\2", [(3, 9)])
    again.release()


def test_sequences_near_their_end_are_compared_as_they_are(window: IdWindow) -> None:
    for start in (2**31 - 2, 2**32 - 2, 2**46 - 2, 2**63 - 8):
        window.attach(0, start)
        keep(window, [f"{start}"], start + 4)
        reservation = window.reserve(b"p", [f"{start}"], 0, start + 5)
        reservation.release()
        assert reservation.waits == [(0, start + 4)]
        window.settle(0, start + 4)
        assert reservation.check() is True


def test_closed_window_says_so_and_a_reservation_may_outlive_it(tmp_path: Path) -> None:
    window = IdWindow(str(tmp_path / "window"), 1024, KEY)
    reservation = window.reserve(b"p", [os.urandom(8)], 0, 1)
    window.close()
    for call in (
        reservation.check,
        reservation.release,
        lambda: reservation.waits,
        lambda: window.settled(0),
    ):
        with pytest.raises(ValueError, match="is closed"):
            call()


def blocks(path: Path) -> int:
    return path.stat().st_blocks * 512


def test_a_large_window_begins_small_and_grows_and_forgets_nothing_before_its_time(tmp_path: Path) -> None:
    path = tmp_path / "window"
    window = IdWindow(str(path), 16_384, KEY, first=1024)
    window.attach(0, 0)
    sizes = [blocks(path)]
    assert sizes[0] < 256 * 1024 < window.usage()[1]
    for number in range(80_000):
        assert keep(window, [f"id-{number}"], number + 1) == b"\0"
        if window.wants_growth:
            assert window.grow()
            sizes.append(blocks(path))
        if number % 7 == 0:
            oldest = max(0, number - 16_383 + 1)
            for back in (oldest, (oldest + number) // 2):
                probe = window.reserve(b"p", [f"id-{back}"], 0, number + 2)
                assert probe is not None
                assert probe.dispositions == b"\2", (number, back)
                probe.release()
    assert len(sizes) == 4
    assert sizes == sorted(set(sizes))
    assert window.usage() == (sizes[-1], window.body_bytes + 4096)
    assert sizes[-1] >= window.body_bytes // LANES
    assert not window.wants_growth
    assert not window.grow()
    assert window.counters()["early_turns"] == 0


def test_a_window_that_can_not_grow_takes_nothing_more_and_keeps_what_it_has(tmp_path: Path) -> None:
    window = IdWindow(str(tmp_path / "window"), 16_384, KEY, first=1024)
    window.attach(0, 0)
    number = 0
    while window.reserve(b"p", [f"id-{number}", f"id-{number + 1}"], 0, 1) is not None:
        number += 2
    assert number > 1024
    assert window.open_reservations == 0
    assert window.reserve(b"p", ["id-0", None], 0, 1).dispositions == b"\0\0"  # each was dropped: given back
    kept_of: list[str | bytes | None] = [f"id-{back}" for back in range(number)]
    assert keep(window, kept_of, 2) == bytes(number)
    assert window.reserve(b"p", [f"other-{item}" for item in range(1500)], 0, 3) is None
    assert keep(window, kept_of, 3) == b"\2" * number  # repeats need no room
    assert window.grow()
    assert keep(window, ["new-1", "new-2", *kept_of], 4) == b"\0\0" + b"\2" * number


def test_a_window_is_grown_by_one_at_a_time_and_seen_by_all(tmp_path: Path) -> None:
    path = str(tmp_path / "window")
    window, other = (IdWindow(path, 16_384, KEY, first=1024) for _ in range(2))
    window.attach(0, 0)
    keep(window, [f"id-{number}" for number in range(512)], 1)
    assert window.wants_growth
    assert other.wants_growth
    assert other.try_lock(1)
    assert not window.grow()
    other.unlock(1)
    assert window.grow()
    assert not other.wants_growth
    assert not other.grow()


def test_ids_put_back_from_the_journal_make_the_window_grow(tmp_path: Path) -> None:
    path = tmp_path / "window"
    window = IdWindow(str(path), 16_384, KEY, first=1024)
    assert insert(window, os.urandom(16 * 16_000), 0, 1) == 16_000
    assert blocks(path) > 16_000 * 24
    assert window.counters()["evicted"] == 0


def test_a_copied_window_has_its_blocks_before_it_is_used(tmp_path: Path) -> None:
    path, copy = tmp_path / "window", tmp_path / "copy"
    window = IdWindow(str(path), 16_384, KEY, first=1024)
    window.attach(0, 0)
    keep(window, [f"id-{number}" for number in range(700)], 1)
    assert window.grow()
    with copy.open("wb") as file:  # as cp does it: what was never written is a hole
        whole = path.read_bytes()
        file.truncate(len(whole))
        for at in range(0, len(whole), 4096):
            if any(piece := whole[at : at + 4096]):
                file.seek(at)
                file.write(piece)
    assert blocks(copy) < blocks(path)
    again = IdWindow(str(copy), 16_384, KEY, first=1024, replace=True)
    assert blocks(copy) >= blocks(path)
    assert keep(again, ["id-0", "id-699", "new"], 2) == b"\2\2\0"


def flood(window: IdWindow, count: int, sequence: int, scope: bytes) -> None:
    for start in range(0, count, 1000):
        keep(window, [f"flood-{number}" for number in range(start, start + 1000)], sequence, scope=scope)


def test_a_flood_of_one_tenant_s_ids_pushes_out_nobody_else_s(window: IdWindow) -> None:
    assert keep(window, ["a", "b"], 1, scope=b"quiet") == b"\0\0"
    flood(window, 20_000, 2, b"loud")
    assert keep(window, ["a", "b", "c"], 3, scope=b"quiet") == b"\2\2\0"
    assert keep(window, ["flood-0", "flood-19999"], 4, scope=b"loud") == b"\0\2"
    assert [claims >= 20_000 for claims in window.lane_claims()] == [False, True]
    assert window.counters()["evicted"] == 18 * 1024


def test_each_of_as_many_tenants_as_there_are_lanes_has_one_and_later_ones_share(window: IdWindow) -> None:
    for tenant in range(LANES):
        assert keep(window, ["mine"], 1, scope=b"%d" % tenant) == b"\0"
    assert window.lane_claims() == [1] * LANES
    for tenant in range(LANES, 2 * LANES):
        assert keep(window, ["mine"], 1, scope=b"%d" % tenant) == b"\0"
        assert keep(window, ["mine"], 1, scope=b"%d" % tenant) == b"\2"
    assert (len(window.lane_claims()), sum(window.lane_claims())) == (LANES, 2 * LANES)
    flood(window, 20_000, 2, b"0")
    known = [keep(window, ["mine"], 3, scope=b"%d" % tenant) for tenant in range(1, LANES)]
    assert known == [b"\2"] * (LANES - 1)


def test_tenants_have_the_same_lanes_in_every_process_and_after_a_rebuild(tmp_path: Path) -> None:
    path = str(tmp_path / "window")
    window, other = IdWindow(path, 1024, KEY), IdWindow(path, 1024, KEY)
    made = []
    for number, tenant in enumerate((b"x", b"y", b"z")):
        reservation = (window, other, window)[number].reserve(tenant, ["a", None, "b"], 0, number + 1)
        reservation.commit(number + 1)
        made.append(reservation.hashes)
    for tenant in (b"z", b"y", b"x"):
        assert keep(other, ["b", "a"], 9, scope=tenant) == b"\2\2"
    again = IdWindow(str(tmp_path / "again"), 1024, KEY)
    for number, hashes in enumerate(reversed(made)):  # a rebuild has nothing but the hashes, in its own order
        assert insert(again, hashes, 3, number + 1) == 2
    for tenant in (b"x", b"y", b"z"):
        assert keep(again, ["b", "a", "c"], 9, scope=tenant) == b"\2\2\0"
    assert insert(again, b"".join(made), 3, 9) == 0


def test_the_lane_of_a_new_tenant_has_its_blocks_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "window"
    window = IdWindow(str(path), 16_384, KEY, first=1024)
    window.attach(0, 0)
    keep(window, ["a"], 1, scope=b"x")
    one = blocks(path)
    keep(window, ["a"], 1, scope=b"y")
    assert blocks(path) - one >= 1024 * 24
    for number in range(20_000):
        keep(window, [f"{number}"], number + 2, scope=b"y")
        if window.wants_growth:
            assert window.grow()
    assert keep(window, ["a"], 30_000, scope=b"x") == b"\2"
    assert blocks(path) >= 2 * 16_384 * 24


@pytest.mark.parametrize("word", [5, (1 << 24) + 1, 1 << 60])
def test_wild_words_in_the_list_of_tenants_are_seen(tmp_path: Path, word: int) -> None:
    path = tmp_path / "window"
    window = IdWindow(str(path), 1024, KEY)
    keep(window, ["a"], 1)
    assert window.is_plausible()
    window.close()
    with path.open("r+b") as file:
        file.seek(4096 + 2 * 128 + (8 if word < 1 << 24 else 16))
        file.write(word.to_bytes(8, "little"))
    assert not IdWindow(str(path), 1024, KEY).is_plausible()


def test_what_is_repeated_is_told_in_full_whether_it_is_safe_or_not(window: IdWindow) -> None:
    for start in (0, 2**31 - 2, 2**46 - 2, 2**63 - 8):
        window.attach(0, start)
        keep(window, [f"{start}", f"b{start}"], start + 4)
        for settled in (start, start + 4, start + 7):
            window.settle(0, settled)
            reservation = window.reserve(b"p", [f"{start}", f"b{start}", f"{start}", None], 0, start + 8)
            reservation.release()
            assert reservation.repeats == [(0, start + 4)], (start, settled)
    assert reservation.check() is True
    assert reservation.repeats == []
