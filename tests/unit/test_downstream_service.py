"""Making rows of a stream as a process: what it says and counts while the stream is there, away, and back."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from fanion.errors import ShippingError
from fanion.nats.connection import Access
from fanion.pipeline.manifest import Manifest
from fanion.pipeline.pace import Pace
from fanion.pipeline.pipeline import Pipeline
from fanion.shipping import downstream as downstream_module
from fanion.shipping.downstream import Downstream
from fanion.shipping.rows import Service
from fanion.shipping.stream import Extent, Stream
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.heartbeats import Heartbeat, Heartbeats, Standing
from fanion.telemetry.metrics import Metrics
from tests.crash.receivers import NatsServers
from tests.unit.downstream_world import Machines
from tests.unit.test_pipeline_service import Asked

AWAY = "Connect call failed"
BEGAN_S = 1_000_000.0


@pytest.fixture(autouse=True)
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nats")
    pytest.importorskip("pyarrow")
    monkeypatch.setattr("fanion.pipeline.loop.give_way", lambda: None)


@pytest.fixture
def machines(nats: NatsServers, tmp_path: Path) -> Machines:
    made = Machines(tmp_path, nats)
    draw = random.Random(1)
    for machine in made.all:
        machine.fill(draw, 5)
    made.ship()
    return made


@contextmanager
def counting(directory: Path) -> Iterator[tuple[Heartbeat, Metrics, Callable[[str], float]]]:
    """A row, metrics, and a number of them by its name's end."""
    with closing(Metrics.open(directory, worker=False)) as metrics:

        def number(name: str) -> float:
            lines = Exposition(directory).text().decode().splitlines()
            (found,) = (line for line in lines if line.startswith(f"fanion_pipeline_{name} "))
            return float(found.split()[1])

        yield Heartbeats(1).rows[0], metrics, number


def said(row: Heartbeat) -> Standing:
    standing = row.standing()
    assert standing is not None
    return standing


def test_what_was_read_and_what_is_not_read_yet_is_counted(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downstream_module.time, "time", lambda: BEGAN_S + 7)
    with counting(tmp_path) as (row, metrics, number):
        service = Service(
            machines.settings,
            lambda pace: machines.downstream(pace=pace),
            row,
            metrics,
            unix_s=lambda: BEGAN_S + 9,
        )
        service.run(Asked(2))  # type: ignore[arg-type]
        assert number("starts_total") == 1
        assert number("records_total") == 15
        assert number("rows_total") == 30
        assert number("failing") == number("faults_total") == 0
        assert number("lag_messages") == number("lag_records") == number("missing_records") == 0
        assert number("contact_timestamp_seconds") == BEGAN_S + 7
        assert number("lag_seconds") == 0  # from when the service began, which is later than its clock says
        assert (said(row).reasons, said(row).notes) == ((), ())
    assert machines.made() == machines.beside()


def test_how_late_rows_are_grows_while_the_stream_is_away_and_ends_when_it_is_read(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [BEGAN_S]
    late: list[float] = []
    monkeypatch.setattr(downstream_module.time, "time", lambda: now[0])
    with counting(tmp_path) as (row, metrics, number):

        def make(pace: Pace) -> Pipeline:
            if now[0] > BEGAN_S:
                late.append(number("lag_seconds"))
                assert number("failing") == 1
                assert said(row).reasons == (AWAY,)
            now[0] += 50
            if now[0] < BEGAN_S + 200:
                raise ShippingError(AWAY)
            return machines.downstream(pace=pace)

        Service(machines.settings, make, row, metrics, unix_s=lambda: now[0]).run(Asked(5))  # type: ignore[arg-type]
        assert late == [50, 100, 150]
        assert number("faults_total") == 3
        assert number("failing") == number("lag_seconds") == 0
        assert (said(row).reasons, said(row).notes) == ((), ())


def test_messages_that_wait_and_requests_that_lack_are_said(
    machines: Machines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machines.all[0]
    ends = []
    for _ in range(3):
        first.journal.append(0, 2)
        first.ship()
        with closing(Stream(machines.settings, Access())) as stream:
            ends.append(stream.extent().last)
    extent, hidden = Stream.extent, range(ends[0] + 1, ends[1] + 1)

    def lacking(stream: Stream) -> Extent:
        found = extent(stream)
        return found._replace(gone=found.gone | set(hidden))

    monkeypatch.setattr(Stream, "extent", lacking)
    monkeypatch.setattr(downstream_module, "AT_ONCE_FIRST", 1)
    with closing(Downstream(machines.settings, Access(), Manifest())) as source:
        heard, waiting = [], source.read_batches()
        for _ in waiting:
            heard.append(source.heard())
            assert source.lag().records >= heard[-1].messages
        assert source.heard().missing == 2
    counts = [each.messages for each in heard]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] == 0
    assert heard[0].whole_unix_s == 0
    with counting(tmp_path) as (row, metrics, number):
        service = Service(machines.settings, lambda pace: machines.downstream(pace=pace), row, metrics)
        service.run(Asked(2))  # type: ignore[arg-type]
        assert number("missing_records") == 2
        assert said(row).notes == ("2 requests between those that came have not come",)
