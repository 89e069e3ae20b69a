"""The sliding window: told is always what the stream has of the first ones that were sent, whatever is acknowledged
when; never more are on their way than may be; and what fails is sent again by the next."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.errors import ShippingError
from fanion.journal.replicas import Board, Taken
from fanion.shipping.block import Block, Span
from fanion.shipping.flight import AT_ONCE, AT_ONCE_FIRST, QUICK_S, SLOW_S, Flight, Pace
from fanion.shipping.ledger import Ledger
from fanion.shipping.shipper import Shipper
from tests.crash.receivers import NatsServers
from tests.unit.shipping_world import MACHINE, World


def block(number: int) -> Block:
    return Block(MACHINE, 1, Span(0, number, number + 1), b"")


class FakeWay:
    """Answers in the order that `draw` gives: what is sent last may be acknowledged first. `refuses`: the block
    that is refused. `clock`: goes on while something is waited for."""

    def __init__(self, draw: random.Random | None = None, refuses: int = 0) -> None:
        self.draw = draw or random.Random(0)
        self.refuses = refuses
        self.loop = asyncio.new_event_loop()
        self.open: dict[int, asyncio.Future[int]] = {}
        self.sent: list[int] = []
        self.most = 0
        self.clock, self.takes_s = 0.0, 0.0

    def begin(self, block: Block, again: bool) -> asyncio.Future[int]:
        number = block.span.first
        self.sent.append(number)
        self.open[number] = future = self.loop.create_future()
        self.most = max(self.most, len(self.open))
        while self.open and self.draw.random() < 0.3:
            self._answer()
        return future

    def wait(self, sent: asyncio.Future[int]) -> int:
        self.clock += self.takes_s
        while not sent.done():
            self._answer()
        return sent.result()

    def _answer(self) -> None:
        number = self.draw.choice(sorted(self.open))
        future = self.open.pop(number)
        if future.cancelled():
            return
        if number == self.refuses:
            future.set_exception(ShippingError(f"no {number}"))
        else:
            future.set_result(100 + number)


@pytest.fixture
def way() -> Iterator[FakeWay]:
    made = FakeWay()
    yield made
    made.loop.close()


def fly(way: FakeWay, pace: Pace, count: int, told: list[tuple[int, int]]) -> None:
    def took(taken: list[tuple[Block, int]]) -> None:
        assert taken
        told.extend((each.span.first, place) for each, place in taken)

    with Flight(way, pace, took, now=lambda: way.clock) as flight:
        for number in range(1, count + 1):
            flight.put(block(number))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_acknowledged_first_they_are_told_in_order_and_bounded(seed: int, way: FakeWay) -> None:
    way.draw, pace, told = random.Random(seed), Pace(), list[tuple[int, int]]()
    pace.at_once = most = 1 + seed % 7
    way.takes_s = QUICK_S  # so that the pace stays
    fly(way, pace, 60, told)
    assert told == [(number, 100 + number) for number in range(1, 61)]
    assert way.sent == list(range(1, 61))
    assert way.most <= most


@pytest.mark.parametrize("seed", range(20))
def test_what_is_refused_ends_the_prefix_and_the_next_sends_from_there(seed: int, way: FakeWay) -> None:
    way.draw, way.refuses, told = random.Random(seed), 1 + seed, list[tuple[int, int]]()
    with pytest.raises(ShippingError, match=f"no {way.refuses}"):
        fly(way, Pace(), 60, told)
    assert told == [(number, 100 + number) for number in range(1, way.refuses)]
    assert all(future.cancelled() for future in way.open.values())


def test_the_next_leaves_as_soon_as_the_oldest_is_acknowledged(way: FakeWay) -> None:
    """And not once all of them are."""
    way.draw, pace, landed = random.Random(1), Pace(), list[int]()
    way.draw.random = lambda: 1.0  # type: ignore[method-assign]  # nothing is acknowledged but what is waited for
    way.draw.choice = lambda of: of[0]  # type: ignore[method-assign, assignment, return-value]
    way.takes_s = QUICK_S
    with Flight(way, pace, lambda taken: landed.append(len(taken)), now=lambda: way.clock) as flight:
        for number in range(1, AT_ONCE_FIRST + 1):
            flight.put(block(number))
        assert landed == []
        flight.put(block(AT_ONCE_FIRST + 1))
        assert landed == [1]
        assert len(way.open) == AT_ONCE_FIRST
    assert sum(landed) == AT_ONCE_FIRST + 1


class KilledError(BaseException):
    """As a process that was killed."""


@pytest.mark.parametrize("error", [ValueError, KilledError])
def test_an_error_of_who_puts_them_lands_what_is_on_its_way_and_an_end_does_not(
    way: FakeWay, error: type[BaseException]
) -> None:
    told: list[int] = []
    way.draw.random = lambda: 1.0  # type: ignore[method-assign]
    way.takes_s = QUICK_S

    def put() -> None:
        with Flight(way, Pace(), lambda taken: told.append(len(taken))) as flight:
            flight.put(block(1))
            flight.put(block(2))
            raise error

    with pytest.raises(error):
        put()
    assert sum(told) == (2 if error is ValueError else 0)
    assert way.open or error is ValueError


def test_an_error_of_who_is_told_gives_up_what_is_on_its_way(way: FakeWay) -> None:
    """A full disk, say, which the ledger meets."""

    def full(taken: Any) -> None:
        raise OSError("disk full")

    def put() -> None:
        with Flight(way, Pace(), full) as flight:
            for number in itertools.count(1):
                flight.put(block(number))

    way.draw.random = lambda: 1.0  # type: ignore[method-assign]
    with pytest.raises(OSError, match="disk full"):
        put()
    assert len(way.sent) <= AT_ONCE_FIRST
    assert all(future.cancelled() for future in way.open.values())


def test_a_quick_way_gets_more_at_once_and_a_slow_one_less() -> None:
    pace = Pace()
    pace.took(0.0, QUICK_S / 2, full=False)
    assert pace.at_once == AT_ONCE_FIRST
    for _ in range(AT_ONCE):
        pace.took(0.0, QUICK_S / 2, full=True)
    assert pace.at_once == AT_ONCE
    pace.took(0.0, SLOW_S / 2, full=True)
    assert pace.at_once == AT_ONCE
    for began in (0.0, 0.1, 0.2):  # one window
        pace.took(began, 1.0 + SLOW_S, full=True)
    assert pace.at_once == AT_ONCE // 2
    for began in range(10, 100, 10):
        pace.took(began, began + SLOW_S + 1, full=True)
    assert pace.at_once == 1


class TestWithNats:
    @pytest.fixture(autouse=True)
    def libraries(self) -> None:
        pytest.importorskip("nats")

    @pytest.fixture
    def world(self, nats: NatsServers, tmp_path: Path) -> World:
        return World(tmp_path / "data", nats)

    def test_an_acknowledgement_that_was_lost_sends_the_block_again_and_it_is_there_once(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The stream has it; its answer never comes."""
        world.journal.append(0, 40, size=100_000)
        with world.shipper() as shipper:
            connection, wait = shipper.stream._connection, shipper.stream.wait
            calls, waits, there = itertools.count(1), itertools.count(1), asyncio.Event()
            publish = connection.streams.publish

            async def lost(*given: Any, **named: Any) -> Any:
                third = next(calls) == 3
                answered = await publish(*given, **named)
                if third:
                    there.set()
                    await asyncio.get_running_loop().create_future()
                return answered

            def waited(sent: asyncio.Future[int]) -> int:
                if next(waits) == 3:  # those before it were answered
                    connection.until(connection.begin(there.wait()), 60)
                    shipper.stream._timeout_s = 0.2
                return wait(sent)

            monkeypatch.setattr(connection.streams, "publish", lost)
            monkeypatch.setattr(shipper.stream, "wait", waited)
            with pytest.raises(ShippingError, match=r"no answer within 0\.2 s"):
                shipper.run_once()
            taken = shipper.sent().next_sequence[0]
        stored = world.downstream()
        assert max(sequence for _, sequence in stored) >= taken, "it has more than was acknowledged"
        assert world.ship() == 41 - taken
        assert world.downstream() == world.journal.records()
        spans = [each.span for each in world.blocks()]
        assert len(spans) == len(set(spans)), "its id was the same"

    def test_answers_that_come_out_of_order_move_the_place_in_order(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first answer comes behind the third: until then the ledger has none of the three."""
        world.journal.append(0, 40, size=100_000)
        seen: list[list[int]] = []
        add = Ledger.add
        monkeypatch.setattr(
            Ledger,
            "add",
            lambda self, entries: (seen.append([each.place for each in entries]), add(self, entries)),
        )
        with world.shipper() as shipper:
            streams, calls = shipper.stream._connection.streams, itertools.count(1)
            publish, third = streams.publish, asyncio.Event()

            async def late(*given: Any, **named: Any) -> Any:
                number = next(calls)
                answered = await publish(*given, **named)
                if number == 1:
                    assert not seen
                    await third.wait()
                    assert not seen
                if number == 3:
                    third.set()
                return answered

            monkeypatch.setattr(streams, "publish", late)
            assert shipper.run_once() == 40
        places = [place for each in seen for place in each]
        assert places == sorted(places)
        assert world.downstream() == world.journal.records()

    def test_a_refusal_within_a_window_leaves_what_came_behind_it_for_once(
        self, world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The stream refuses the second block and takes the third and fourth: they are sent again, are there once,
        and nobody is left with an error that nobody asked for."""
        world.journal.append(0, 40, size=100_000)
        with world.shipper() as shipper:
            begin, calls = shipper.stream._connection.begin, itertools.count(1)
            streams = shipper.stream._connection.streams

            def wrong(call: Any) -> Any:
                if next(calls) == 2:
                    call.close()
                    return begin(streams.publish("fanion.events.x", b"", stream="another", timeout=60))
                return begin(call)

            monkeypatch.setattr(shipper.stream._connection, "begin", wrong)
            with pytest.raises(ShippingError):
                shipper.run_once()
            assert shipper.ledger.chains[0].ends_from(1) == shipper.sent().next_sequence[0]
            taken = shipper.sent().next_sequence[0]
        assert 1 < taken < 41
        assert world.ship() == 41 - taken
        assert world.downstream() == world.journal.records()
        assert "never retrieved" not in caplog.text

    def test_who_waits_is_told_before_the_window_is_through(self, world: World) -> None:
        """Under `ack = "replicated"`, of each block once it and those before it are acknowledged."""
        world.journal.append(0, 60, size=100_000)
        board = Board(1)
        rows: list[Taken] = []
        try:
            with world.shipper(board=board) as shipper:
                took = shipper._took

                def noted(taken: Any) -> None:
                    took(taken)
                    rows.append(board.row(0))
                    assert board.row(0).next == taken[-1][0].span.next
                    assert shipper.sent().next_sequence.get(0, 1) <= board.row(0).next  # the ledger is behind

                shipper._took = noted  # type: ignore[method-assign]
                shipper.run_once()
                assert shipper.sent().next_sequence[0] == board.row(0).next == 61
        finally:
            board.close()
        assert len(rows) > 1

    def test_what_waits_for_a_record_that_cannot_be_read_is_shipped_up_to_it(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.journal.append(0, 40, size=100_000)
        turns = itertools.count(1)

        def turn() -> None:
            if next(turns) == 3:
                raise ShippingError("the journal can't be read on")

        monkeypatch.setattr(Shipper, "reconcile", lambda *_: 0)
        with world.shipper(turn=turn) as shipper:
            with pytest.raises(ShippingError, match="read on"):
                shipper.run_once()
            taken = shipper.sent().next_sequence[0]
        assert set(world.downstream()) == {(0, sequence) for sequence in range(1, taken)}
        world.ship()
        assert world.downstream() == world.journal.records()
