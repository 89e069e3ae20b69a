"""What a worker acknowledges where answers wait for the stream: never what the stream hasn't acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from fanion.errors import JournalError, JournalFullError, JournalOpeningError
from fanion.journal import replicated
from fanion.journal.replicas import AWAY, TAKES, Board, Taken, heard
from fanion.journal.replicated import ReplicatedJournal, ReplicatedWindow
from tests.unit.journal_faults import until

pytestmark = pytest.mark.anyio

MACHINE, OTHER = bytes(range(16)), bytes(16)
EPOCH, FIRST = 5, 100
"""Of the claim."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class DiskJournal:
    """Writer 3's; `disk` is how far it is durable."""

    def __init__(self) -> None:
        self.identity, self.machine, self.first_sequence = (3, EPOCH), MACHINE, FIRST
        self.next_sequence, self.disk = FIRST, FIRST - 1
        self.error: Exception | None = None
        self.futures: list[tuple[int, asyncio.Future[None]]] = []

    def append(self, *_: Any, **record: Any) -> int:
        self.next_sequence += 1
        return self.next_sequence - 1

    def durable(self, sequence: int) -> asyncio.Future[None]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.futures.append((sequence, future))
        self.sync(self.disk)
        return future

    def sync(self, sequence: int) -> None:
        self.disk = sequence
        for wanted, future in self.futures:
            if wanted <= sequence and not future.done():
                future.set_result(None)

    def fail(self) -> None:
        for _, future in self.futures:
            if not future.done():
                future.set_exception(JournalError("EIO"))


class World:
    def __init__(self, board: Board) -> None:
        self.board, self.disk = board, DiskJournal()
        board.say(TAKES)
        self.futures: list[asyncio.Future[None]] = []
        self.journal = ReplicatedJournal(self.disk, board, board.bells[0], asyncio.get_running_loop())

    def append(self) -> tuple[int, asyncio.Future[None]]:
        sequence = self.journal.append(body=b"")
        self.futures.append(self.journal.durable(sequence))
        return sequence, self.futures[-1]

    async def tell(self, writer: int = 3, **fields: Any) -> None:
        """The shipper's row, and that the worker has looked at it."""
        row = {"machine": MACHINE, "epoch": EPOCH, "first": FIRST, "next": FIRST}
        self.board.put(writer, Taken(**{**row, **fields}))
        self.board.ring_workers()
        heard_of = asyncio.get_running_loop().create_future()
        self.journal._sleeping.add(heard_of)
        await heard_of

    async def confirmed(self, *records: tuple[int, int]) -> bool:
        """Whether it is without another word of the shipper."""
        asked = asyncio.ensure_future(self.journal.confirm(list(records)))
        await asyncio.sleep(0)
        if asked.done():
            return asked.exception() is None
        asked.cancel()
        return False


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(1)
    yield made
    made.close()


@pytest.fixture
async def world(board: Board) -> Any:
    made = World(board)
    yield made
    made.journal.close()
    await asyncio.gather(*made.futures, return_exceptions=True)


async def test_a_record_is_acknowledged_once_the_stream_has_it_and_the_shipper_rung_for_once_the_disk_has(
    world: World,
) -> None:
    (first, one), (_, two) = world.append(), world.append()
    assert not heard(world.board.shippers_bell)
    world.disk.sync(first + 1)
    await until(lambda: heard(world.board.shippers_bell))
    assert not one.done()
    await world.tell(next=first + 1)
    assert (one.done(), two.done()) == (True, False)
    await world.tell(next=first + 2)
    assert two.result() is None
    assert sum(world.journal.times_us) == 2


async def test_records_that_come_while_a_group_is_written_are_rung_for_too(world: World) -> None:
    first, _ = world.append()
    await asyncio.sleep(0)
    second, _ = world.append()
    world.disk.sync(first)
    await until(lambda: heard(world.board.shippers_bell))
    world.disk.sync(second)
    await until(lambda: heard(world.board.shippers_bell))


@pytest.mark.parametrize(
    "row",
    [
        {"epoch": EPOCH - 1, "first": 1, "next": FIRST + 10},  # an earlier claim's records of these sequences
        {"epoch": EPOCH + 1, "first": 1, "next": FIRST + 10},
        {"machine": OTHER, "next": FIRST + 10},
        {"epoch": EPOCH - 1, "since": 1, "until": FIRST + 10},  # what other workers may trust
        {"epoch": 0, "first": 0, "next": 0},
    ],
)
async def test_nothing_but_blocks_of_its_own_epoch_acknowledges_a_record(
    world: World, row: dict[str, Any]
) -> None:
    sequence, future = world.append()
    world.disk.sync(sequence)
    await world.tell(**row)
    assert not future.done()
    assert not await world.confirmed((3, sequence))
    await world.tell(next=sequence + 1)
    assert future.done()
    assert await world.confirmed((3, sequence))


async def test_a_record_that_the_shipper_could_not_read_is_told_at_once_and_the_next_ones_go_on(
    world: World,
) -> None:
    (sequence, one), (_, two), (_, three) = (world.append() for _ in range(3))
    world.disk.sync(sequence + 2)
    await world.tell(first=sequence + 1, next=sequence + 2)
    with pytest.raises(JournalError, match="could not be shipped"):
        one.result()
    assert (two.done(), three.done()) == (True, False)
    assert not await world.confirmed((3, sequence))
    three.cancel()
    sequence, four = world.append()
    world.disk.sync(sequence)
    await world.tell(first=sequence, next=sequence + 1)
    assert four.result() is None


async def test_a_damaged_row_acknowledges_nothing(world: World) -> None:
    sequence, future = world.append()
    world.disk.sync(sequence)
    await world.tell(next=sequence)
    world.board._map[4 * 64 + 40] ^= 1
    world.board.ring_workers()
    await asyncio.sleep(0.01)
    assert not future.done()


async def test_what_a_request_repeats_counts_by_what_the_stream_has_of_its_writer(world: World) -> None:
    await world.tell(writer=8, epoch=2, first=40, next=60, since=20, until=60)
    for sequence, has in ((19, False), (20, True), (59, True), (60, False)):
        assert await world.confirmed((8, sequence)) is has
    await world.tell(since=10, until=FIRST + 9)
    assert await world.confirmed((3, FIRST - 1), (8, 20))
    assert not await world.confirmed((3, FIRST - 1), (9, 20))
    assert not await world.confirmed((3, 9))
    assert not await world.confirmed((3, FIRST)), "a record of this claim, by what an earlier epoch sent"


async def test_who_waits_for_what_it_repeats_hears_of_it(world: World) -> None:
    asked = asyncio.ensure_future(world.journal.confirm([(8, 20)]))
    await world.tell(writer=8, since=1, until=20)
    await asyncio.sleep(0)
    assert not asked.done()
    await world.tell(writer=8, since=1, until=21)
    await asyncio.wait_for(asked, 100)
    assert world.journal.waiting == 0


async def test_nothing_is_taken_while_the_stream_is_away_or_was_not_reached_yet(
    board: Board, world: World
) -> None:
    board.say(AWAY)
    with pytest.raises(JournalFullError, match="doesn't acknowledge now"):
        world.append()
    assert world.journal.notes() == [
        "journal: events are refused: the stream doesn't acknowledge now, and answers wait for it (journal.ack)"
    ]
    with pytest.raises(JournalFullError):
        await world.journal.confirm([(8, 1)])
    board.say(0)
    with pytest.raises(JournalOpeningError):
        world.append()
    assert world.journal.refused == 3
    assert world.disk.next_sequence == FIRST
    board.say(TAKES)
    assert world.journal.notes() == []
    world.append()


async def test_as_many_wait_as_may_and_one_more_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replicated, "WAITING_MAX", 3)
    futures = [world.append()[1] for _ in range(3)]
    with pytest.raises(JournalFullError, match="3 requests wait for the stream, the most that may"):
        world.append()
    futures[0].cancel()  # its time was over
    world.append()


async def test_a_disk_that_fails_is_told_to_all_who_wait(world: World) -> None:
    _, one = world.append()
    two = asyncio.ensure_future(world.journal.confirm([(8, 1)]))
    await asyncio.sleep(0)
    world.disk.fail()
    for waiting in (one, two):
        with pytest.raises(JournalError, match="EIO"):
            await asyncio.wait_for(waiting, 100)
    sequence, again = world.append()
    world.disk.sync(sequence)
    await world.tell(first=FIRST, next=sequence + 1)
    assert again.done()


async def test_a_record_of_a_claim_that_is_over_is_not_acknowledged(world: World) -> None:
    sequence, future = world.append()
    world.disk.identity = (3, EPOCH + 1)
    await world.tell(epoch=EPOCH + 1, next=sequence + 1)
    with pytest.raises(JournalError, match="opened anew"):
        future.result()


async def test_a_journal_that_is_not_open_or_is_closed_says_so(world: World) -> None:
    world.disk.identity = (-1, 0)
    with pytest.raises(JournalError, match="not open"):
        await world.journal.durable(1)
    world.disk.identity = (3, EPOCH)
    _, future = world.append()
    world.journal.close()
    with pytest.raises(JournalError, match="ends"):
        future.result()


async def test_the_disk_is_waited_for_before_the_stream(world: World) -> None:
    """What is repeated is taken down before the window lets go of it."""
    order: list[object] = []

    class Reservation:
        @property
        def repeats(self) -> list[tuple[int, int]]:
            order.append("repeats")
            return [(8, 20)]

    class Window:
        ready = True

        def reserve(self, scope: bytes, ids: Any) -> Any:
            return scope, ids

        async def settle(self, reservation: Any) -> None:
            order.append("disk")

    async def confirm(records: list[tuple[int, int]]) -> None:
        order.append(records)

    window = ReplicatedWindow(Window(), confirm)
    assert window.ready
    assert window.reserve(b"s", ["a"]) == (b"s", ["a"])  # type: ignore[comparison-overlap]
    await window.settle(Reservation())  # type: ignore[arg-type]
    assert order == ["repeats", "disk", [(8, 20)]]
