"""Rows that are made of a stream are those made beside the journals, each once, whatever comes twice or late."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion.errors import RowsError, ShippingError, StreamMissingError
from fanion.journal.reader import JournalReader
from fanion.journal.storage import Storage
from fanion.nats.connection import Access
from fanion.pipeline.manifest import Manifest, load_manifest
from fanion.pipeline.pace import Pace
from fanion.pipeline.pipeline import Pipeline
from fanion.shipping import downstream as downstream_module
from fanion.shipping import flight as flight_module
from fanion.shipping.block import Block, Span, cut
from fanion.shipping.downstream import Downstream
from fanion.shipping.rows import Service
from fanion.shipping.stream import Extent, Stream
from fanion.shipping.taken import RANGES_MAX, Taken
from tests.crash.receivers import NatsServers
from tests.unit.downstream_world import Machines, rows_of
from tests.unit.pipeline_world import Dying, Killed, bury, kept, pipeline
from tests.unit.test_pipeline_service import Asked
from tests.unit.test_shipping import administer


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("nats")


@pytest.fixture
def machines(nats: NatsServers, tmp_path: Path) -> Machines:
    return Machines(tmp_path, nats)


def fill(machines: Machines, requests: int = 60, size: int = 200, seed: int = 1) -> None:
    draw = random.Random(seed)
    for machine in machines.all:
        machine.fill(draw, requests, size)


def source_of(made: Any) -> Downstream:
    source = made.source
    assert isinstance(source, Downstream)
    return source


def test_rows_of_all_machines_are_those_beside_their_journals(machines: Machines) -> None:
    fill(machines)
    machines.all[0].journal.append(0, 1, size=1 << 20)  # in parts
    machines.ship()
    first = machines.made()
    assert first == machines.beside()
    assert {row[0] for row in first} == {(bytes([number]) * 16).hex() for number in (1, 2, 3)}
    assert len(first) == 2 * (3 * 60 + 1)
    assert machines.made() == first
    fill(machines, 20, seed=2)
    machines.ship()
    with machines.downstream() as made:
        assert made.run_once() == 2 * 3 * 20
        assert made.run_once() == 0
        fill(machines, 5, seed=3)
        machines.ship()
        assert made.run_once() == 2 * 3 * 5
        assert kept(made, machines.directory) == machines.beside()
        assert source_of(made).missing() == 0
        assert made.take_problems() == []


def same(machines: Machines) -> None:
    """Compared by identity first: a difference of thousands of rows takes pytest minutes to draw."""
    made, beside = machines.made(), machines.beside()
    assert Counter(row[:6] for row in made) == Counter(row[:6] for row in beside)
    assert made == beside


def run_until_killed(machines: Machines, draw: random.Random) -> int:
    """In small steps; how many of them counted."""

    def run() -> None:
        storage = Dying(draw.randrange(1, 800), draw.random() < 0.5)
        with contextlib.suppress(Killed), machines.downstream(storage=storage, step_rows=3) as made:
            made.run_once()

    before = load_manifest(Storage(), machines.directory / "rows").step
    run()
    bury()
    return load_manifest(Storage(), machines.directory / "rows").step - before


@pytest.mark.heavy
def test_a_kill_at_any_change_of_its_files_makes_each_row_once(machines: Machines) -> None:
    draw = random.Random(4)
    steps = []
    for _ in range(10):
        for machine in machines.all:
            for _ in range(3):
                machine.fill(draw, draw.randrange(1, 4))
                machine.ship()
        steps += [run_until_killed(machines, draw) for _ in range(3)]
    assert {0, 1, 2} <= set(steps)
    same(machines)


def test_a_place_between_any_two_batches_goes_on_with_the_one_that_was_handed_out_last(
    machines: Machines,
) -> None:
    """It counts once the next one is asked for; so do the parts that it was made of."""
    draw = random.Random(5)
    for machine in machines.all:
        machine.fill(draw, 8, size=300)
    sent = blocks_of(machines, 1, 300)
    draw.shuffle(sent)
    send(machines, sent)

    def read(place: Manifest, count: int | None = None) -> tuple[list[tuple[bytes, int, int]], Manifest]:
        source = Downstream(machines.settings, Access(), place)
        with closing(source):
            batches = source.read_batches()
            found = [
                (batch.machine, batch.writer, sequence)
                for batch in itertools.islice(batches, count)
                for sequence in batch.table.sequence[: len(batch.table)]
            ]
            return found, source.placed(place)

    whole, _ = read(Manifest())
    assert len(whole) == len(set(whole)) == 24
    for count in range(1, 25):
        found, place = read(Manifest(), count)
        last, rest = found[-1], read(place)[0]
        assert last in rest
        assert {*found, *rest} == set(whole)
        assert len(rest) == len(set(rest))


def blocks_of(machines: Machines, block_bytes: int, part_bytes: int) -> list[Block]:
    return [
        block
        for machine in machines.all
        for batch in JournalReader(machine.journal.directory).read_batches()
        for block in cut(batch, part_bytes, block_bytes)
    ]


def send(machines: Machines, blocks: Iterable[Block]) -> None:
    stream = Stream(machines.settings, Access())
    try:
        with flight_module.Flight(stream, flight_module.Pace(), lambda taken: None, again=True) as flight:
            for block in blocks:
                flight.put(block)
    finally:
        stream.close()


@pytest.mark.heavy
def test_what_comes_twice_late_cut_otherwise_or_in_parts_is_taken_once(machines: Machines) -> None:
    draw = random.Random(6)
    fill(machines, 40, size=300)
    sent = [
        block
        for sizes in ((1_000, 1 << 20), (3_500, 1 << 20), (1, 300), (1, 300))  # the last two in parts
        for block in blocks_of(machines, *sizes)
    ]
    draw.shuffle(sent)
    for begin in range(0, len(sent), 40):
        send(machines, sent[begin : begin + 40])
        for _ in range(3):
            run_until_killed(machines, draw)
    same(machines)
    with machines.downstream() as made:
        assert source_of(made).missing() == 0
        stream = made.manifest.stream
        assert stream is not None
        assert stream.parts == []


def test_what_the_stream_lost_comes_again_behind(machines: Machines) -> None:
    fill(machines, 100, size=20_000)
    machines.ship()
    for place in (2, 4, 5):
        administer(machines.all[0], lambda streams, name: streams.delete_msg(name, place))  # noqa: B023 - at once
    assert len(machines.made()) < len(machines.beside())
    with machines.downstream() as made:
        assert source_of(made).missing() > 0
    machines.ship()  # which finds what is lacking, and sends it again
    assert machines.made() == machines.beside()


def test_what_a_server_cannot_read_is_asked_for_again_in_each_run(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(machines, 60, size=20_000)
    machines.all[0].journal.append(0, 1, size=1 << 20)
    machines.ship()
    bad = {2, 3, 5, 6, 7}
    messages = Stream.messages

    def damaged(self: Stream, places: Any) -> list[bytes | None]:
        found = messages(self, places)
        return [None if place in bad else one for place, one in zip(places, found, strict=True)]

    monkeypatch.setattr(Stream, "messages", damaged)
    assert len(machines.made()) < len(machines.beside())
    with machines.downstream() as made:
        made.run_once()
        stream = made.manifest.stream
        assert stream is not None
        assert sorted(stream.unread) == sorted(bad)
    bad.difference_update({2, 6})
    machines.made()
    bad.clear()
    assert machines.made() == machines.beside()
    with machines.downstream() as made:
        stream = made.manifest.stream
        assert stream is not None
        assert stream.unread == []


@pytest.mark.parametrize(
    "how",
    [
        "made anew",
        pytest.param("its end lost", marks=pytest.mark.heavy),
        pytest.param("its end lost and written again", marks=pytest.mark.heavy),
    ],
)
def test_a_stream_that_is_not_what_it_was_is_read_from_its_beginning(
    machines: Machines, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(machines, 60, size=20_000)
    machines.ship()
    assert machines.made() == machines.beside()
    before = len(machines.all[0].blocks())
    administer(machines.all[0], lambda streams, name: streams.delete_stream(name))
    if how != "made anew":  # as a server does whose file was cut: the same stream with other messages
        extent = Stream.extent
        stream = load_manifest(Storage(), machines.directory / "rows").stream
        assert stream is not None
        monkeypatch.setattr(Stream, "extent", lambda self: Extent(stream.made, *extent(self)[1:]))
    fill(machines, 60, size=20_000, seed=8)
    blocks = blocks_of(machines, 256 * 1024, 1 << 20)[::-1]
    if how == "its end lost":
        send(machines, blocks[: before - 1])
        machines.made()
    for begin in range(0, len(blocks), 16):
        send(machines, blocks[begin : begin + 16])
    assert len(machines.all[0].blocks()) >= before
    with machines.downstream() as made:
        made.run_once()
        if how != "its end lost":
            assert "read from its beginning" in made.take_problems()[0]
        assert kept(made, machines.directory) == machines.beside()


def test_a_failure_in_a_run_keeps_the_rows_of_what_came_before(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(machines, 60, size=20_000)
    machines.ship()
    monkeypatch.setattr(downstream_module, "AT_ONCE_FIRST", 1)
    monkeypatch.setattr(downstream_module, "AT_ONCE", 1)
    messages, asked = Stream.messages, []

    def failing(self: Stream, places: Any) -> list[bytes | None]:
        asked.append(places)
        if len(asked) % 3 == 0:
            raise ShippingError("no answer")
        return messages(self, places)

    monkeypatch.setattr(Stream, "messages", failing)
    steps = []
    for _ in range(60):
        with machines.downstream() as made:
            try:
                made.run_once()
                break
            except ShippingError:
                steps.append(made.manifest.rows)
    assert len(set(steps)) > 3
    monkeypatch.undo()
    assert machines.made() == machines.beside()


def test_a_stream_that_is_away_is_tried_again_and_said_once(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fanion.pipeline.loop.give_way", lambda: None)
    fill(machines, 5)
    machines.ship()
    ending, tries = Asked(9), []

    def make(pace: Pace) -> Pipeline:
        tries.append(pace)
        if len(tries) < 6:
            raise ShippingError("Connect call failed")
        return machines.downstream(pace=pace)

    Service(machines.settings, make).run(ending)  # type: ignore[arg-type]
    assert len(tries) == 6
    assert all(wait <= 0.1 * 2**number for number, wait in enumerate(ending.waits[:5]))
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert machines.made() == machines.beside()


def test_rows_have_one_source(machines: Machines, tmp_path: Path, nats: NatsServers) -> None:
    fill(machines, 5)
    with pytest.raises(StreamMissingError):
        machines.made()
    machines.ship()
    machines.made()
    beside = machines.all[0].journal.directory
    with pipeline(beside) as made:
        made.run_once()
    with pytest.raises(RowsError, match="this directory's own journal"):
        rows_of(beside, machines.settings)
    (machines.directory / "journal").mkdir()
    with pytest.raises(RowsError, match="made of the stream d-"):
        pipeline(machines.directory)
    other = Machines(tmp_path / "others", nats)
    fill(other, 1)
    other.ship()
    with pytest.raises(RowsError, match="made of the stream d-"):
        rows_of(machines.directory, other.settings)


def test_messages_that_are_no_blocks_are_named_and_passed(machines: Machines) -> None:
    fill(machines, 5)
    machines.ship()
    (block, *_) = blocks_of(machines, 1 << 20, 1 << 20)
    wrong = [block.pack()[:-1], b"FNANBLK1", Block(b"m" * 16, 1, block.span, b"x" * 100).pack()]
    spans = (1, 1 << 63), (1, 1 << 63, 0, 2), ((1 << 64) - 2, (1 << 64) - 1)
    for span in spans:  # not what it holds
        wrong.append(Block(b"m" * 16, 1, Span(0, *span), block.data).pack())

    def publish(message: bytes) -> Callable[[Any, str], Any]:
        return lambda streams, name: streams.publish(f"fanion.events.{name}.x", message)

    for message in wrong:
        administer(machines.all[0], publish(message))
    fill(machines, 5, seed=9)
    machines.ship()
    with machines.downstream() as made:
        made.run_once()
        assert len(made.take_problems()) == len(wrong)
        assert kept(made, machines.directory) == machines.beside()


def test_a_machine_takes_no_sequences_of_another(machines: Machines) -> None:
    """Which subjects a machine may send under is the server's to say; a block counts under its own only."""
    fill(machines, 5)
    victim, forger = machines.all[0].journal.machine, machines.all[1]
    forger.ship()
    own = [
        block for block in blocks_of(machines, 1 << 20, 1 << 20) if block.machine == forger.journal.machine
    ]
    # Before the victim has sent them.
    forged = [msgspec.structs.replace(block, machine=victim) for block in own]
    forged.append(Block(victim, 1, Span(0, 1, 2, 0, 2), b"x"))

    def publish(message: bytes, subject: str) -> Callable[[Any, str], Any]:
        return lambda streams, name: streams.publish(f"fanion.events.{name}.{subject}", message)

    for one in forged:
        administer(machines.all[1], publish(one.pack(), f"{'ee' * 16}.0"))
    fill(machines, 5, seed=9)
    machines.ship()
    with machines.downstream() as made:
        made.run_once()
        problems = made.take_problems()
        assert len(problems) == len(forged)
        assert all("was sent by another machine than it says" in one for one in problems)
        assert kept(made, machines.directory) == machines.beside()


def test_ranges_hold_what_was_added_and_nothing_else() -> None:
    draw = random.Random(7)
    for _ in range(300):
        taken, model = Taken(), set[int]()
        for _ in range(draw.randrange(1, 25)):
            first = draw.randrange(1, 60)
            behind = first + draw.randrange(1, 12)
            new = taken.new_of("m", 1, first, behind)
            assert [n for begin, end in new for n in range(begin, end)] == sorted(
                set(range(first, behind)) - model
            )
            taken.add("m", 1, first, behind)
            model |= set(range(first, behind))
            taken = Taken(taken.as_held())
            (edges,) = taken.as_held()["m"].values()
            assert edges == sorted(set(edges))
            assert taken.missing() == max(model) - min(model) + 1 - len(model)
    assert taken.new_of("other", 1, 5, 7) == [(5, 7)]


def test_a_writer_has_so_many_gaps_and_then_the_oldest_is_closed() -> None:
    taken = Taken()
    for number in range(RANGES_MAX):
        taken.add("m", 1, 10 * number, 10 * number + 5)
    assert taken.closed == 0
    assert taken.new_of("m", 1, 5, 10) == [(5, 10)]
    taken.add("m", 1, 10 * RANGES_MAX, 10 * RANGES_MAX + 1)
    assert taken.closed == 5
    assert taken.new_of("m", 1, 5, 10) == []
    assert taken.new_of("m", 1, 15, 20) == [(15, 20)]
