"""Processes beside the workers that the settings ask for: what follows a place, the pipeline, each sink, shipping,
the archiver.

Each imports its own."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fanion.app.archiving import make_archiver
from fanion.config import Config
from fanion.dialects import canonical_forms
from fanion.sinks import missing_libraries, wanted
from fanion.telemetry.heartbeats import BEAT_S

if TYPE_CHECKING:
    import socket

    from fanion.journal.replicas import Board
    from fanion.pipeline.manifest import Manifest
    from fanion.pipeline.pace import Pace
    from fanion.pipeline.pipeline import Pipeline
    from fanion.pipeline.service import Ending
    from fanion.pipeline.source import Source
    from fanion.process.aside import Beside
    from fanion.shipping.shipper import Shipper
    from fanion.sinks.sink import Sink
    from fanion.telemetry.heartbeats import Heartbeat
    from fanion.telemetry.metrics import Metrics

STILL_S = 60.0
"""How long one may stand still before it is killed, besides what a sink's receiver may take and how seldom one that
waits beats: it runs behind everything else on a busy machine."""


class Other(NamedTuple):
    """`name`: in words; `process`: as processes are listed. `lacks`: why it isn't started; "": it is."""

    name: str
    process: str
    setting: str
    lacks: str
    still_s: float
    run: Callable[[Heartbeat, Metrics, Ending], None]
    late: bool = False
    """It ends after the workers."""


def draining(data: Path, config: Config) -> Callable[[], None]:
    """For what may run without a server, whose workers do it: has the journal drain what killed ones left. Raises
    ConfigError."""
    from fanion.journal.session import adopt_all
    from fanion.journal.settings import JournalSettings
    from fanion.journal.storage import Storage

    return partial(adopt_all, Storage(), data / "journal", JournalSettings.taken_from(config.journal).check())


def make_pipeline(
    data: Path,
    config: Config,
    pace: Pace,
    opens: Callable[[Manifest], Source] | None = None,
    drain: Callable[[], None] | None = None,
) -> Pipeline:
    """`opens`: what it reads in place of the directory's journal. Raises RowsError, JournalError."""
    from fanion.journal.settings import JournalSettings
    from fanion.pipeline.pipeline import Pipeline

    return Pipeline(
        data,
        canonical_forms(),
        map_bytes=config.store.map_bytes,
        settings=JournalSettings.taken_from(config.journal),
        keep_days=config.pipeline.keep_days,
        pace=pace,
        opens=opens,
        drain=drain,
    )


def make_rows_of(url: str, data: Path, config: Config, pace: Pace) -> Pipeline:
    """A pipeline over a stream of many machines' records in place of the directory's journal. Raises RowsError,
    ShippingError, StoreMissingError."""
    from msgspec.structs import replace

    from fanion.places.nats import access_of
    from fanion.shipping.downstream import Downstream
    from fanion.store.store import Store

    Store.open(data, map_bytes=config.store.map_bytes).close()  # or rows would lack flags, and keyed digests
    settings, access = replace(config.shipping, url=url), access_of(config.places)
    return make_pipeline(
        data, config, pace, lambda manifest: Downstream(settings, access, manifest, pace.turn)
    )


def make_sink(
    name: str, data: Path, config: Config, turn: Callable[[], None], drain: Callable[[], None] | None = None
) -> Sink:
    """Raises SinkError, JournalError."""
    from fanion.sinks.sink import Sink

    canonical = canonical_forms()
    return Sink(data, name, config.sinks, canonical, map_bytes=config.store.map_bytes, turn=turn, drain=drain)


def make_shipper(
    data: Path,
    config: Config,
    turn: Callable[[], None],
    board: Board | None = None,
    drain: Callable[[], None] | None = None,
) -> Shipper:
    """Raises ShippingError, JournalError."""
    from fanion.places.nats import access_of
    from fanion.shipping.shipper import Shipper

    access = access_of(config.places)
    return Shipper(data, config.shipping, access, turn=turn, board=board, drain=drain)


def asked_for(data: Path, config: Config, board: Board | None = None) -> list[Other]:
    """All of them. Those that lack something come last: the supervisor gives rows to processes in their order.
    `board`: where workers wait for what the stream has."""
    found = [_follower(data, config)] if config.places.follow else []
    found += [_pipeline(data, config)] if config.pipeline.enabled else []
    found += [_sink(name, data, config) for name in wanted(config.sinks)]
    found += [_shipping(data, config, board)] if config.shipping.url else []
    found += [_archive(data, config)] if config.archive.url else []
    return sorted(found, key=lambda other: bool(other.lacks))


def _follower(data: Path, config: Config) -> Other:
    from fanion.app.following import COPY_S, follow

    def run(row: Heartbeat, metrics: Metrics, ending: Ending) -> None:
        follow(data, config, row, metrics, ending)

    return Other("follow", "follow", "places.follow", "", COPY_S + 3 * config.places.timeout_s, run)


def make_rows(url: str, data: Path, config: Config, row: Heartbeat, metrics: Metrics, ending: Ending) -> None:
    """Of a stream, until it is ended."""
    from fanion.shipping.rows import Service

    Service(config.shipping, lambda pace: make_rows_of(url, data, config, pace), row, metrics).run(ending)


def still_s_of(config: Config) -> float:
    """How long one that makes rows of a stream may stand still."""
    return 3 * config.shipping.timeout_s + STILL_S + BEAT_S


def _pipeline(data: Path, config: Config) -> Other:
    from fanion.pipeline import missing_library
    from fanion.shipping import missing_library as missing_of_streams

    url = config.pipeline.url

    def run(row: Heartbeat, metrics: Metrics, ending: Ending) -> None:
        from fanion.pipeline.service import Service

        if url:
            make_rows(url, data, config, row, metrics, ending)
        else:
            Service(lambda pace: make_pipeline(data, config, pace), row, metrics).run(ending)

    missing, extra = missing_library(), "results"
    if url and not missing:
        missing, extra = missing_of_streams(), "machines"
    lacks = f"no rows are made: {missing} is not installed; pip install 'fanion[{extra}]'" if missing else ""
    still_s = still_s_of(config) if url else STILL_S
    return Other("pipeline", "pipeline", "pipeline.enabled", lacks, still_s, run)


def _sink(name: str, data: Path, config: Config) -> Other:
    def run(row: Heartbeat, metrics: Metrics, ending: Ending) -> None:
        from fanion.sinks.service import Service

        Service(name, config.sinks, lambda turn: make_sink(name, data, config, turn), row, metrics).run(
            ending
        )

    missing = " and ".join(missing_libraries(name))
    lacks = f"nothing is sent: {missing} not installed; pip install 'fanion[sinks]'" if missing else ""
    still_s = 2 * config.sinks.timeout_s + STILL_S + BEAT_S
    return Other(f"sink {name}", f"sink-{name}", f"sink {name}", lacks, still_s, run)


def _shipping(data: Path, config: Config, board: Board | None) -> Other:
    from fanion.shipping import missing_library

    def run(row: Heartbeat, metrics: Metrics, ending: Ending) -> None:
        from fanion.shipping.service import Service

        Service(
            config.shipping, lambda turn: make_shipper(data, config, turn, board), row, metrics, board=board
        ).run(ending)

    missing = missing_library()
    lacks = f"nothing is sent: {missing} not installed; pip install 'fanion[machines]'" if missing else ""
    still_s = 3 * config.shipping.timeout_s + STILL_S + BEAT_S
    return Other("shipping", "shipping", "shipping.url", lacks, still_s, run, late=board is not None)


def _archive(data: Path, config: Config) -> Other:
    from fanion.archive import missing_library

    def run(row: Heartbeat, metrics: Metrics, ending: Ending) -> None:
        from fanion.archive.service import Service

        Service(config.archive, lambda turn: make_archiver(data, config, turn), row, metrics).run(ending)

    missing = missing_library()
    lacks = f"nothing is archived: {missing} not installed; pip install 'fanion[machines]'" if missing else ""
    still_s = 3 * config.archive.timeout_s + STILL_S + BEAT_S
    return Other("archive", "archive", "archive.url", lacks, still_s, run)


def beside(other: Other, data: Path, row: Heartbeat, listening: socket.socket) -> list[Beside]:
    """The process; none, and said why, where it lacks something. `listening`: inherited and not used."""
    from fanion.process.aside import Beside
    from fanion.telemetry.heartbeats import Standing

    if other.lacks:
        print(f"warning: {other.setting}: {other.lacks}", file=sys.stderr, flush=True)
        row.say(Standing(reasons=(other.lacks,)))
        return []

    def run() -> None:
        from fanion.pipeline.service import Ending
        from fanion.telemetry.metrics import Metrics

        ending = Ending()
        listening.close()
        metrics = Metrics.open(data, worker=False)
        other.run(row, metrics, ending)
        metrics.close()

    return [Beside(other.process, run, still_s=other.still_s, gentle=True, late=other.late)]
