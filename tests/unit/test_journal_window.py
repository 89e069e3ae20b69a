"""The event window on a real journal: reserve, append, settle; restarts, kills and reboots in between."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from fanion._core.window import FIRST_IDS
from fanion.errors import JournalError, JournalFullError, JournalOpeningError, ServeError
from fanion.journal.reader import JournalReader
from fanion.journal.settings import JournalSettings
from fanion.journal.window import IDS, REPLAYS, EventWindow
from fanion.journal.writer import JournalWriter

SPAWN = multiprocessing.get_context("spawn")
SETTINGS = JournalSettings(
    ring_bytes=1 << 20,
    segment_bytes=1 << 20,
    reserve_bytes=0,
    raise_priority=False,
    compress=False,
    stall_ms=60_000.0,
)
CAPACITY = 4096


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a test on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        async def main() -> None:
            await test(*args, **kwargs)

        asyncio.run(main())

    return run


@contextlib.asynccontextmanager
async def worker(
    directory: Path,
    settings: JournalSettings = SETTINGS,
    capacity: int = CAPACITY,
    first: int = FIRST_IDS,
) -> AsyncIterator[tuple[JournalWriter, EventWindow]]:
    journal = JournalWriter.open(directory, settings, asyncio.get_running_loop())
    window = EventWindow.open(directory, capacity, settings=settings, first=first)
    await window.prepare(journal)
    try:
        yield journal, window
    finally:
        journal.close()
        window.close()


async def send(
    journal: JournalWriter, window: EventWindow, ids: list[str | bytes | None], scope: bytes = b"project"
) -> bytes:
    """What a dialect does with one request; the dispositions."""
    reservation = window.reserve(scope, ids)
    if reservation.duplicates == len(ids):
        reservation.release()
    else:
        sequence = journal.append(
            dialect="traffical",
            environment="e",
            received_ns=1,
            body=b"[]",
            whole=False,
            dispositions=reservation.dispositions,
            ids=reservation.hashes,
        )
        reservation.commit(sequence)
        await journal.durable(sequence)
    await window.settle(reservation)
    return reservation.dispositions


def kept(directory: Path) -> list[bytes]:
    """The id hashes that the journal holds as kept."""
    found = []
    for record in JournalReader(directory).read():
        hashes = [record.ids[at : at + 16] for at in range(0, len(record.ids), 16)]
        found += [hash for hash, is_repeat in zip(hashes, record.dispositions, strict=False) if not is_repeat]
    return found


def run_worker(path: str, then: Callable[[JournalWriter, EventWindow], Awaitable[None]]) -> None:
    async def main() -> None:
        async with worker(Path(path)) as (journal, window):
            await then(journal, window)

    asyncio.run(main())


def in_child(directory: Path, then: Callable[..., Awaitable[None]]) -> int | None:
    child = SPAWN.Process(target=run_worker, args=(str(directory), then))
    child.start()
    child.join()
    return child.exitcode


@in_loop
async def test_repeated_events_are_told_apart_across_requests_and_restarts(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window):
        assert await send(journal, window, ["a", "b", None, "a"]) == b"\0\0\0\2"
        assert await send(journal, window, ["b", "c"]) == b"\2\0"
    async with worker(tmp_path) as (journal, window):
        assert await send(journal, window, ["a", "c", "d"]) == b"\2\2\0"
    assert len(set(kept(tmp_path))) == len(kept(tmp_path)) == 5


@in_loop
async def test_safe_records_are_seen_as_safe_by_other_workers(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window), worker(tmp_path) as (other_journal, other):
        reservation = window.reserve(b"project", ["a"])
        sequence = journal.append(
            dialect="t", environment="e", received_ns=1, body=b"[]", whole=False, ids=reservation.hashes
        )
        reservation.commit(sequence)
        repeat = asyncio.create_task(send(other_journal, other, ["a", "b"]))
        assert await repeat == b"\2\0"
        assert journal.durable(sequence).done()


@in_loop
async def test_full_journal_leaves_no_id_behind(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window):
        reservation = window.reserve(b"project", ["a"])
        with pytest.raises(JournalFullError):
            journal.append(dialect="t", environment="e", received_ns=1, body=bytes(1 << 20), whole=False)
        reservation.release()
        assert await send(journal, window, ["a"]) == b"\0"


@in_loop
async def test_ids_are_refused_while_the_window_is_not_ready(tmp_path: Path) -> None:
    window = EventWindow.open(tmp_path, CAPACITY)
    with pytest.raises(JournalOpeningError, match="rebuilt"):
        window.reserve(b"project", ["a"])
    window.rebuild()
    with pytest.raises(JournalFullError, match="not open"):
        window.reserve(b"project", ["a"])


@in_loop
async def test_window_that_is_lost_is_put_together_from_the_journal(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window), worker(tmp_path) as (other_journal, other):
        for number in range(50):
            await send(journal, window, [f"one-{number}-{item}" for item in range(20)])
            await send(other_journal, other, [f"two-{number}-{item}" for item in range(20)])
    (tmp_path / "shared" / f"window-{IDS}").unlink()
    async with worker(tmp_path) as (journal, window):
        for name in ("one", "two"):
            for number in (0, 49):
                assert (
                    await send(journal, window, [f"{name}-{number}-{item}" for item in range(20)])
                    == b"\2" * 20
                )
        assert await send(journal, window, ["new"]) == b"\0"


async def die_while_others_repeat(journal: JournalWriter, window: EventWindow) -> None:
    """Another worker repeats an id and keeps one of its own, before the first one's record is published."""
    async with worker(window.directory) as (other_journal, other):
        reservation = window.reserve(b"project", ["a"])
        repeat = other.reserve(b"project", ["a", "b"])
        assert (reservation.dispositions, repeat.dispositions) == (b"\0", b"\2\0")
        sequence = other_journal.append(
            dialect="t",
            environment="e",
            received_ns=1,
            body=b"[]",
            whole=False,
            dispositions=repeat.dispositions,
            ids=repeat.hashes,
        )
        repeat.commit(sequence)
        kill_self()


@pytest.mark.parametrize("lose_window", [False, True], ids=["kept", "lost"])
@in_loop
async def test_repeat_of_a_record_that_was_lost_does_not_stand_for_it(
    tmp_path: Path, lose_window: bool
) -> None:
    assert in_child(tmp_path, die_while_others_repeat) == -signal.SIGKILL
    if lose_window:
        (tmp_path / "shared" / f"window-{IDS}").unlink()
    async with worker(tmp_path) as (journal, window), worker(tmp_path) as _:
        assert await send(journal, window, ["a", "b"]) == b"\0\2"


@in_loop
async def test_window_closed_during_its_rebuild_lets_go_and_the_next_one_does_it(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window):
        for number in range(100):
            await send(journal, window, [f"{number}-{item}" for item in range(20)])
    (tmp_path / "shared" / f"window-{IDS}").unlink()
    for _ in range(20):
        window = EventWindow.open(tmp_path, CAPACITY)
        rebuilding = asyncio.create_task(asyncio.to_thread(window.rebuild))
        await asyncio.sleep(0)
        window.close()
        with contextlib.suppress(JournalError):
            await rebuilding
    with pytest.raises(JournalError, match="closed"):
        window.rebuild()
    async with worker(tmp_path) as (journal, window):
        assert await send(journal, window, ["0-0", "99-19", "new"]) == b"\2\2\0"


@in_loop
async def test_rebuilt_window_holds_the_newest_ids(tmp_path: Path) -> None:
    small = JournalSettings(
        ring_bytes=1 << 16,
        segment_bytes=1 << 16,
        group_bytes=1 << 14,
        reserve_bytes=0,
        raise_priority=False,
        compress=False,
        stall_ms=60_000.0,
    )
    async with worker(tmp_path, small, 1024) as (journal, window):
        for number in range(200):
            await send(journal, window, [f"{number}-{item}" for item in range(100)])
    (tmp_path / "shared" / f"window-{IDS}").unlink()
    async with worker(tmp_path, small, 1024) as (journal, window):
        for number in range(190, 200):
            assert await send(journal, window, [f"{number}-{item}" for item in range(100)]) == b"\2" * 100
        assert await send(journal, window, ["0-0"]) == b"\0"


@in_loop
async def test_tokens_are_kept_apart_from_event_ids_and_put_together_again(tmp_path: Path) -> None:
    async def use(
        journal: JournalWriter, ids: EventWindow, tokens: EventWindow, number: int
    ) -> tuple[bytes, bytes]:
        events, traces = ids.reserve(b"e", [f"id-{number}"]), tokens.reserve(b"e", ["token\0click"])
        sequence = journal.append(
            dialect="redpennon",
            environment="e",
            received_ns=1,
            body=b"[]",
            whole=False,
            dispositions=b"\0" if traces.duplicates else b"\1",
            ids=events.hashes + traces.hashes,
        )
        events.commit(sequence)
        traces.commit(sequence)
        await journal.durable(sequence)
        await ids.settle(events)
        await tokens.settle(traces)
        return events.dispositions, traces.dispositions

    for expected in (b"\0", b"\2", b"\2"):
        async with worker(tmp_path) as (journal, ids):
            tokens = EventWindow.open(tmp_path, CAPACITY, name=REPLAYS)
            await tokens.prepare(journal)
            assert await use(journal, ids, tokens, int.from_bytes(os.urandom(8))) == (b"\0", expected)
            assert await use(journal, ids, tokens, int.from_bytes(os.urandom(8))) == (b"\0", b"\2")
            tokens.close()
        if expected == b"\2":
            for name in (IDS, REPLAYS):
                (tmp_path / "shared" / f"window-{name}").unlink()


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def die_after_reserve(journal: JournalWriter, window: EventWindow) -> None:
    await send(journal, window, ["before"])
    reservation = window.reserve(b"project", ["a", "b", "a"])
    assert reservation.dispositions[2] == 2
    kill_self()


async def die_after_append(journal: JournalWriter, window: EventWindow) -> None:
    await send(journal, window, ["before"])
    reservation = window.reserve(b"project", ["a", "b", "a"])
    journal.append(
        dialect="t",
        environment="e",
        received_ns=1,
        body=b"[]",
        whole=False,
        dispositions=reservation.dispositions,
        ids=reservation.hashes,
    )
    kill_self()


async def die_after_durable(journal: JournalWriter, window: EventWindow) -> None:
    await send(journal, window, ["before"])
    reservation = window.reserve(b"project", ["a", "b", "a"])
    sequence = journal.append(
        dialect="t",
        environment="e",
        received_ns=1,
        body=b"[]",
        whole=False,
        dispositions=reservation.dispositions,
        ids=reservation.hashes,
    )
    reservation.commit(sequence)
    await journal.durable(sequence)
    kill_self()


@pytest.mark.parametrize("lose_window", [False, True], ids=["kept", "lost"])
@pytest.mark.parametrize(
    ("die", "expected"),
    [
        (die_after_reserve, b"\0\0\2\2"),
        (die_after_append, b"\2\2\2\2"),
        (die_after_durable, b"\2\2\2\2"),
    ],
)
@in_loop
async def test_killed_worker_and_a_client_that_sends_again_count_once(
    tmp_path: Path, die: Callable[..., Awaitable[None]], expected: bytes, lose_window: bool
) -> None:
    assert in_child(tmp_path, die) == -signal.SIGKILL
    if lose_window:
        (tmp_path / "shared" / f"window-{IDS}").unlink()
    async with worker(tmp_path) as (journal, window):
        assert await send(journal, window, ["a", "b", "a", "before"]) == expected
        assert await send(journal, window, ["a", "b", "a", "before"]) == b"\2\2\2\2"
    assert len(kept(tmp_path)) == len(set(kept(tmp_path))) == 3


@in_loop
async def test_other_worker_answers_for_a_dead_one_once_its_ring_is_drained(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window):
        assert in_child(tmp_path, die_after_reserve) == -signal.SIGKILL
        with pytest.raises(JournalError):
            await send(journal, window, ["a", "b"])
        assert await send(journal, window, ["a", "b", "before"]) == b"\0\0\2"
        assert in_child(tmp_path, die_after_append) == -signal.SIGKILL


def test_key_that_is_no_key_is_told(tmp_path: Path) -> None:
    EventWindow.open(tmp_path, CAPACITY).close()
    (tmp_path / "journal" / "window.key").write_bytes(b"short")
    with pytest.raises(ServeError, match="5 bytes, 16 are a key"):
        EventWindow.open(tmp_path, CAPACITY)


@in_loop
async def test_other_journal_means_another_window(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window):
        await send(journal, window, ["a"])
    (tmp_path / "journal" / "machine").unlink()
    with pytest.raises(ServeError, match="other settings"):
        EventWindow.open(tmp_path, CAPACITY)
    assert EventWindow.open(tmp_path, CAPACITY, replace=True).ready is False


class FullDisk:
    """An `IdWindow` that gets no more blocks."""

    def __init__(self, window: object) -> None:
        self._window = window

    def __getattr__(self, name: str) -> object:
        return getattr(self._window, name)

    def grow(self) -> bool:
        raise OSError(28, "No space left on device")


@in_loop
async def test_window_grows_beside_the_event_loop_and_refuses_only_what_finds_no_room(tmp_path: Path) -> None:
    path = tmp_path / "shared" / f"window-{IDS}"
    async with worker(tmp_path, capacity=16_384, first=1024) as (journal, window):
        small = path.stat().st_blocks
        native = window._window
        window._window = FullDisk(native)  # type: ignore[assignment]
        taken, refused = 0, ""
        while not refused:
            try:
                await send(journal, window, [f"id-{number}" for number in range(taken, taken + 100)])
                taken += 100
            except JournalFullError as error:
                refused = str(error)
        assert "more of the disk" in refused
        assert taken >= 1024
        assert await send(journal, window, ["id-0", f"id-{taken - 1}"]) == b"\2\2"
        assert path.stat().st_blocks < small + 64
        window._window, window._grow_at = native, 0.0

        async def taken_once_there_is_room(*ids: str) -> bytes:
            while True:
                with contextlib.suppress(JournalFullError):
                    return await send(journal, window, [*ids])
                await asyncio.sleep(0.01)

        assert await taken_once_there_is_room("after") == b"\0"
        while path.stat().st_blocks <= small + 64:  # one id alone may have found room before it was larger
            await asyncio.sleep(0.01)
        # the file is larger a moment before the window is
        assert await taken_once_there_is_room("id-0", "after", "next") == b"\2\2\0"


@in_loop
async def test_a_flood_of_one_tenant_does_not_make_another_s_retry_count_twice(tmp_path: Path) -> None:
    async with worker(tmp_path) as (journal, window):
        assert await send(journal, window, ["a", "b"], b"quiet") == b"\0\0"
        for start in range(0, 5 * CAPACITY, 1024):
            await send(journal, window, [f"id-{start + item}" for item in range(1024)], b"loud")
        assert await send(journal, window, ["a", "b"], b"quiet") == b"\2\2"


@pytest.mark.parametrize("lost", [False, True], ids=["kept", "put-together-again"])
def test_after_a_flood_and_a_restart_both_tenants_ids_are_known(tmp_path: Path, lost: bool) -> None:
    @in_loop
    async def run() -> None:
        async with worker(tmp_path) as (journal, window):
            await send(journal, window, ["a", "b"], b"quiet")
            for start in range(0, CAPACITY + 1024, 1024):
                await send(journal, window, [f"id-{start + item}" for item in range(1024)], b"loud")
        if lost:
            (tmp_path / "shared" / f"window-{IDS}").unlink()
        async with worker(tmp_path) as (journal, window):
            assert await send(journal, window, ["a", "b", "c"], b"quiet") == b"\2\2\0"
            assert await send(journal, window, [f"id-{CAPACITY}", "new"], b"loud") == b"\2\0"

    run()
