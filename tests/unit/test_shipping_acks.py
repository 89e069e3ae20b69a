"""What the shipper tells workers: what the stream acknowledged, and nothing else, over epochs, gaps, kills and
streams that are made anew."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.errors import ShippingError
from fanion.journal.replicas import AWAY, NOTHING, OPENING, TAKES, Board, Taken, heard
from fanion.journal.storage import Storage
from fanion.shipping.acks import Acks, unbroken_since
from fanion.shipping.block import Block, Span
from fanion.shipping.chain import Entry
from fanion.shipping.ledger import Ledger
from fanion.shipping.service import Service
from fanion.shipping.shipper import Shipper
from fanion.shipping.stream import Stream
from tests.crash.receivers import NatsServers
from tests.unit.shipping_world import MACHINE, World
from tests.unit.test_shipping import administer


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board(1)
    yield made
    made.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(Storage(), tmp_path / "ledger", MACHINE)
    yield made
    made.close()


def block(first: int, behind: int, epoch: int = 1, part: int = 0, parts: int = 1) -> Block:
    return Block(MACHINE, epoch, Span(3, first, behind, part, parts), b"")


def entry(first: int, behind: int, place: int = 1, part: int = 0, parts: int = 1) -> Entry:
    return Entry(Span(3, first, behind, part, parts), place, 0, 5.0)


ENDS = {3: 50, 8: 50}
"""Of the journal."""


def acks_of(board: Board, ledger: Ledger, before: dict[int, tuple[int, int]] | None = None) -> Acks:
    return Acks(board, MACHINE, ledger, before or {})


def row(epoch: int, first: int, behind: int, since: int = 0, until: int = 0) -> Taken:
    return Taken(MACHINE, epoch, first, behind, since, until)


def test_blocks_in_sequence_go_on_and_another_epoch_begins_anew(board: Board, ledger: Ledger) -> None:
    acks = acks_of(board, ledger)
    acks.took(block(1, 5), 1)
    assert board.row(3) == row(1, 1, 5, 1, 5)
    acks.took(block(5, 9), 2)
    assert board.row(3) == row(1, 1, 9, 1, 9)
    acks.took(block(9, 12, epoch=4), 3)
    assert board.row(3) == row(4, 9, 12, 1, 12)


def test_what_the_journal_could_not_read_is_a_gap(board: Board, ledger: Ledger) -> None:
    acks = acks_of(board, ledger)
    acks.looked(0, ENDS)
    acks.took(block(1, 5), 1)
    acks.took(block(7, 9), 2)
    assert board.row(3) == row(1, 7, 9, 7, 9)


def test_a_record_in_parts_counts_with_its_last(board: Board, ledger: Ledger) -> None:
    acks = acks_of(board, ledger)
    acks.looked(0, ENDS)
    acks.took(block(1, 5), 1)
    for part in range(3):
        assert board.row(3) == row(1, 1, 5, 1, 5)
        acks.took(block(5, 6, part=part, parts=3), 2 + part)
    assert board.row(3) == row(1, 1, 6, 1, 6)


def test_what_the_ledger_says_counts_once_it_was_looked_for(board: Board, ledger: Ledger) -> None:
    ledger.add([entry(1, 5), entry(5, 6, 2, 0, 2), entry(5, 6, 3, 1, 2), entry(6, 9, 4)])
    acks = acks_of(board, ledger)
    assert acks.doubtful
    assert board.row(3) == row(0, 0, 0)
    acks.took(block(9, 10, epoch=2), 5)
    assert board.row(3) == row(2, 9, 10)
    acks.looked(0, ENDS)
    assert board.row(3) == row(2, 9, 10, 1, 10)
    acks.lacks(3, 6)
    assert board.row(3) == row(2, 9, 10, 6, 10)


@pytest.mark.parametrize(
    ("entries", "since"),
    [
        ([entry(1, 5), entry(5, 8, 2)], 1),
        ([entry(1, 5), entry(5, 7, 0), entry(7, 8, 3)], 7),
        ([entry(1, 5), entry(5, 8, 0)], 8),
        ([entry(4, 5), entry(5, 8, 2, 0, 2), entry(5, 8, 3, 1, 2)], 4),
        ([entry(4, 8), entry(8, 9, 2, 0, 2)], 4),  # a part is lacking
    ],
)
def test_the_ledger_counts_from_its_last_gap_on(ledger: Ledger, entries: list[Entry], since: int) -> None:
    ledger.add(entries)
    assert ledger.ends[3] == 8
    assert unbroken_since(ledger.chains[3], 8) == since


def test_a_ledger_that_is_ahead_of_the_journal_is_of_other_records(board: Board, ledger: Ledger) -> None:
    """They are lost, and their sequences are given again, in an epoch of their own."""
    ledger.add([entry(1, 9)])
    acks = acks_of(board, ledger)
    acks.looked(0, {})
    assert acks.doubtful, "nobody knows before the dead worker's ring was drained"
    assert board.row(3) == row(0, 0, 0)
    acks.looked(0, {3: 7})
    assert board.row(3) == row(0, 0, 0, 9, 9)
    acks.took(block(9, 12, epoch=2), 2)
    assert board.row(3) == row(2, 9, 12, 9, 12)


@pytest.mark.parametrize(
    ("before", "since"),
    [
        ((2, 5), 2),
        ((2, 9), 2),
        ((2, 4), 5),  # what came between isn't known
        ((7, 9), 5),
    ],
)
def test_what_has_left_the_journal_counts_as_it_was_kept(
    board: Board, ledger: Ledger, before: tuple[int, int], since: int
) -> None:
    ledger.add([entry(5, 9, 30)])
    acks = acks_of(board, ledger, {3: before, 8: (1, 40)})
    assert acks.ranges == {}
    acks.looked(0, ENDS)
    assert board.row(3) == row(0, 0, 0, since, 9)
    assert board.row(8) == row(0, 0, 0, 1, 40)
    assert acks.ranges == {3: (since, 9), 8: (1, 40)}
    acks.looked(0, ENDS, another=True)
    assert acks.ranges == {3: (5 if since == 2 else since, 9), 8: (40, 40)}


def test_what_was_kept_and_has_a_gap_behind_it_counts_from_the_gap_on(board: Board, ledger: Ledger) -> None:
    ledger.add([entry(5, 9, 30), entry(9, 10, 0), entry(10, 12, 31)])
    assert acks_of(board, ledger, {3: (1, 9)}).ranges == {}
    acks = acks_of(board, ledger, {3: (1, 9)})
    acks.looked(0, ENDS)
    assert acks.ranges == {3: (10, 12)}


def test_who_is_killed_before_the_ledger_has_it_leaves_the_row_and_the_next_sends_it_again(
    board: Board, ledger: Ledger
) -> None:
    acks = acks_of(board, ledger)
    acks.took(block(1, 5), 1)
    ledger.add([entry(1, 5)])
    acks.took(block(5, 8), 2)
    again = acks_of(board, ledger)
    assert board.row(3) == row(1, 1, 8)
    again.took(block(5, 7), 2)  # in another cut
    assert board.row(3) == row(1, 1, 8)
    again.took(block(7, 11), 3)
    again.looked(0, ENDS)
    assert board.row(3) == row(1, 1, 11, 1, 11)


def test_a_row_that_was_left_damaged_or_is_of_another_journal_begins_anew(
    board: Board, ledger: Ledger
) -> None:
    ledger.add([entry(1, 5)])
    board.put(3, Taken(bytes(16), 1, 1, 5, 1, 5))
    acks = acks_of(board, ledger)
    assert board.row(3) == row(0, 0, 0)
    acks.took(block(5, 8), 2)
    assert board.row(3) == row(1, 5, 8)
    board._map[4 * 64] ^= 1
    assert board.row(3) == NOTHING
    acks_of(board, ledger)
    assert board.row(3) == row(0, 0, 0)


def test_a_place_that_goes_back_puts_all_in_doubt_until_the_next_look(board: Board, ledger: Ledger) -> None:
    acks = acks_of(board, ledger)
    acks.looked(0, ENDS)
    acks.took(block(1, 5), 7)
    acks.took(block(5, 6), 7)
    assert acks.doubtful
    assert board.row(3) == row(1, 5, 6)
    acks.looked(0, ENDS)  # it began before
    assert acks.doubtful
    acks.looked(acks.doubts, ENDS)
    assert board.row(3) == row(1, 1, 6, 1, 6)


def test_a_stream_made_anew_while_nothing_ran_is_noticed(board: Board, ledger: Ledger) -> None:
    ledger.add([entry(1, 5, 40)])
    acks = acks_of(board, ledger)
    acks.took(block(5, 6), 2)
    assert acks.doubts == 1


class TestWithNats:
    @pytest.fixture(autouse=True)
    def libraries(self) -> None:
        pytest.importorskip("nats")

    @pytest.fixture
    def world(self, nats: NatsServers, tmp_path: Path) -> World:
        return World(tmp_path / "data", nats)

    def test_what_the_stream_took_stands_on_the_board_before_workers_are_rung(
        self, world: World, board: Board
    ) -> None:
        world.journal.append(0, 7)
        world.journal.append(1, 2)
        with world.shipper(board=board) as shipper:
            assert board.state == OPENING
            shipper.run_once()
            assert board.state == TAKES
            assert heard(board.bells[0])
            assert board.row(0) == Taken(MACHINE, 1, 1, 8, 1, 8)
            assert board.row(1) == Taken(MACHINE, 1, 1, 3, 1, 3)
            world.journal.append(0, 1)
            shipper.ship()
            assert heard(board.bells[0])
            assert board.row(0).next == board.row(0).until == 9
        assert world.downstream() == world.journal.records()

    def test_a_full_stream_acknowledges_nothing_and_is_away(self, world: World, board: Board) -> None:
        world.journal.append(0, 1)
        world.ship()
        administer(
            world,
            lambda streams, name: streams.update_stream(
                name=name,
                subjects=[f"fanion.events.{name}.>"],
                max_msgs=1,
                discard="new",
                max_age=604_800,
                allow_direct=True,
            ),
        )
        world.journal.append(0, 1)
        with world.shipper(board=board) as shipper:
            with pytest.raises(ShippingError):
                shipper.run_once()
            Service(world.settings, lambda turn: shipper, board=board).tell_failed("full", again=False)
        assert board.state == AWAY
        assert board.row(0) == Taken(MACHINE)

    def test_a_stream_that_is_made_anew_gets_all_before_any_of_it_counts_again(
        self, world: World, board: Board, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counted: list[Taken] = []
        begin = Stream.begin

        def noted(self: Stream, block: Block, again: bool) -> Any:
            counted.append(board.row(0))
            return begin(self, block, again)

        for _ in range(3):
            world.journal.append(0, 2)
            world.ship()
        with world.shipper(board=board) as shipper:
            shipper.run_once()
            assert board.row(0) == Taken(MACHINE, 0, 0, 0, 1, 7)
            world.journal.append(0, 1)
            shipper.ship()
            administer(world, lambda streams, name: streams.delete_stream(name))
            Stream(shipper._settings, shipper._access).close()
            world.journal.append(0, 1)
            shipper.ship()
            assert board.row(0) == Taken(MACHINE, 1, 8, 9), "only what the new one has"
            monkeypatch.setattr(Stream, "begin", noted)
            shipper.run_once()
            assert counted
            assert {each.until for each in counted} == {0}
            assert board.row(0) == Taken(MACHINE, 1, 7, 9, 1, 9)
        assert world.downstream() == world.journal.records()

    def test_what_retention_took_counts_for_the_next_shipper_too(self, world: World, board: Board) -> None:
        for _ in range(2):
            world.journal.append(0, 4)
            world.journal.begin(0)
        world.journal.append(0, 1)
        with world.shipper(board=board) as shipper:
            shipper.run_once()
            world.journal.append(0, 1)
            shipper.ship()
            shipper.run_once()
        world.journal.path(0, 1).unlink()
        for _ in range(2):  # the ledger forgets it, and is made anew
            (world.journal.directory / "shipping" / "ledger").unlink(missing_ok=True)
            with world.shipper(board=board) as shipper:
                shipper.run_once()
                assert board.row(0) == Taken(MACHINE, 1, 1, 11, 1, 11)

    def test_what_is_sent_while_the_stream_is_looked_through_is_not_taken_for_lost(
        self, world: World, board: Board, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for _ in range(2):
            world.journal.append(0, 3)
            world.journal.begin(0)
        with world.shipper(board=board) as shipper:
            between = Shipper._between

            def busy(self: Shipper) -> None:
                world.journal.append(0, 1)
                between(self)

            shipper._reconciler._turn = lambda: busy(shipper)
            shipper.run_once()
            assert shipper.stands().resent_blocks == 0
            assert board.row(0).until == shipper.sent().next_sequence[0] > 7
        assert world.downstream() == world.journal.records()
