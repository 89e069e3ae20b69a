"""N-2: a stream that is away for a day, hour by hour, over a disk that holds half of one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import pytest

from fanion.config.shipping import Shipping
from fanion.errors import ShippingError
from fanion.journal.gaps import load_gaps
from fanion.journal.retention import let_go_below, room_bytes, run_pass
from fanion.journal.settings import KIB, JournalSettings
from fanion.journal.storage import Storage
from fanion.shipping import READER
from tests.crash.receivers import NatsServers
from tests.unit.shipping_world import Records, World

HOURS = 24
RECORDS = 40
"""An hour's, which fill a segment."""
SEGMENT = 64 * KIB
DISK_SEGMENTS, KEPT_SEGMENTS = 12, 4
SETTINGS = JournalSettings(
    segment_bytes=SEGMENT,
    ring_bytes=4 * SEGMENT,
    reserve_bytes=0,
    retention_hours=0,
    retention_bytes=KEPT_SEGMENTS * SEGMENT,
    compress=False,
    pool_segments=0,
)


class Disk(Storage):
    """That has room for so many segments until readers that yield are waited for no more."""

    def free_bytes(self, path: Path) -> int:
        used = sum(each.stat().st_size for each in path.glob("*.log"))
        return max(0, let_go_below(SETTINGS) + DISK_SEGMENTS * SEGMENT - used)


class Outage(NamedTuple):
    """`taken`: what was acknowledged. `held`: what isn't shipped, of what the disk has for it, after each hour."""

    taken: Records
    refused: int
    held: list[float]


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("nats")


def without_a_stream(world: World, journal: Path) -> Outage:
    """A day. Events are refused where the disk has no room for them, as the writer does before it is full."""
    storage, taken, refused, held = Disk(), Records(), 0, []
    for _ in range(HOURS):
        if room_bytes(storage, journal, SETTINGS) < SEGMENT:
            refused += RECORDS
        else:
            world.journal.append(0, RECORDS, size=1_500)
            taken |= world.journal.records()
            world.journal.begin(0)
        with pytest.raises(ShippingError):
            world.ship()
        run_pass(storage, journal, SETTINGS)
        finished = sum(each.stat().st_size for each in journal.glob("*.log"))
        held.append(finished / (finished + room_bytes(storage, journal, SETTINGS)))
    return Outage(taken, refused, held)


def outage(nats: NatsServers, directory: Path, when_full: Literal["refuse", "drop"]) -> tuple[World, Outage]:
    world = World(directory, nats, when_full=when_full)
    there = world.settings
    away: Any = {"url": "nats://127.0.0.1:1/none", "timeout_s": 1}
    world.settings = msgspec.structs.replace(there, **away)
    assert isinstance(there, Shipping)
    found = without_a_stream(world, directory / "journal")
    world.settings = there
    return world, found


def test_a_full_disk_refuses_events_and_each_that_was_taken_is_shipped(
    nats: NatsServers, tmp_path: Path
) -> None:
    """The default."""
    journal = tmp_path / "data" / "journal"
    world, found = outage(nats, tmp_path / "data", "refuse")
    assert found.held == sorted(found.held)
    alarm = next(hour for hour, share in enumerate(found.held, 1) if share > 0.5)
    assert alarm < HOURS
    assert found.refused == RECORDS * (HOURS - len(found.taken) // RECORDS) > 0
    assert load_gaps(Storage(), journal, READER).records == 0

    world.ship()
    assert world.downstream() == found.taken
    run_pass(Disk(), journal, SETTINGS)
    assert sum(each.stat().st_size for each in journal.glob("*.log")) <= KEPT_SEGMENTS * SEGMENT
    print(
        f"refuse: alarm after hour {alarm}, {found.refused} of {HOURS * RECORDS} requests refused; "
        f"{len(found.taken)} acknowledged, lost 0"
    )


def test_a_full_disk_lets_the_oldest_go_where_it_is_told_to_and_counts_them(
    nats: NatsServers, tmp_path: Path
) -> None:
    journal = tmp_path / "data" / "journal"
    world, found = outage(nats, tmp_path / "data", "drop")
    gaps = load_gaps(Storage(), journal, READER)
    assert found.refused == 0
    assert len(found.taken) == HOURS * RECORDS
    assert max(found.held) > 0.5
    assert 0 < gaps.records < len(found.taken)

    with world.shipper() as shipper:
        shipper.run_once()
        assert shipper.stands().gap_records == gaps.records
    left = world.downstream()
    assert left == {key: found.taken[key] for key in sorted(found.taken)[gaps.records :]}
    print(f"drop: none refused; {gaps.records} of {len(found.taken)} left and were counted, lost besides 0")
