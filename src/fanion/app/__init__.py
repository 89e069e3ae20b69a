"""The composition root: what a server is made of, in which order it starts and stops; publishing.

Supervisor: data directory checked and locked -> store read through in a child and closed again -> port -> fork.
What a worker is made of stands in `fanion.process.worker`. Nothing that LMDB or the journal opens crosses a fork.

`compiling` makes bundles of definitions, `publishing` stores them, `overriding` lays overrides and weights over
them, `weighing` puts weights into bundles. This package and the command line alone may import every part. What APIs
there are is found in `fanion.dialects`.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fanion.app.compiling import renderers, shown
from fanion.app.overriding import lay_overrides
from fanion.app.publishing import publish, standing_overrides, standing_weights, upgrade_bundles
from fanion.app.sinks import make_sink, sink_beside, still_s
from fanion.config import MIB, Config
from fanion.dialects import canonical_forms, served, vocabulary
from fanion.process.directory import DirectoryLock, check_directory, remove_drafts
from fanion.process.machine import connections_within, raise_file_limit, usable_cores
from fanion.sinks import missing_libraries, wanted

if TYPE_CHECKING:
    import socket

    from fanion.pipeline.pace import Pace
    from fanion.pipeline.pipeline import Pipeline
    from fanion.process.aside import Beside
    from fanion.process.supervisor import Place
    from fanion.telemetry.heartbeats import Heartbeat

__all__ = [
    "demo_notes",
    "demo_settings",
    "lay_overrides",
    "make_pipeline",
    "make_sink",
    "publish",
    "renderers",
    "serve",
    "serve_demo",
    "shown",
    "standing_overrides",
    "standing_weights",
    "upgrade_bundles",
]

PIPELINE = "pipeline"
PIPELINE_STILL_S = 60.0
"""How long the pipeline may stand still before it is killed: it runs behind everything else on a busy machine."""


def make_pipeline(data: Path, config: Config, pace: Pace) -> Pipeline:
    """Raises RowsError, JournalError."""
    from fanion.journal.settings import JournalSettings
    from fanion.pipeline.pipeline import Pipeline

    return Pipeline(
        data,
        canonical_forms(),
        map_bytes=config.store.map_bytes,
        settings=JournalSettings.taken_from(config.journal),
        keep_days=config.pipeline.keep_days,
        pace=pace,
    )


def _pipeline_beside(data: Path, config: Config, row: Heartbeat, listening: socket.socket) -> list[Beside]:
    """The process that makes rows; none, and said why, where its library is missing. `listening`: what the process
    inherits and doesn't use."""
    from fanion.pipeline import missing_library
    from fanion.process.aside import Beside
    from fanion.telemetry.heartbeats import Standing

    if missing := missing_library():
        reason = f"no rows are made: {missing} is not installed; pip install 'fanion[results]'"
        print(f"warning: pipeline.enabled: {reason}", file=sys.stderr, flush=True)
        row.say(Standing(reasons=(reason,)))
        return []

    def run() -> None:
        from fanion.pipeline.service import Ending, Service  # Arrow is this process's alone
        from fanion.telemetry.metrics import Metrics

        ending = Ending()
        listening.close()
        metrics = Metrics.open(data, worker=False)
        Service(lambda pace: make_pipeline(data, config, pace), row, metrics).run(ending)
        metrics.close()

    return [Beside("pipeline", run, still_s=PIPELINE_STILL_S, gentle=True)]


def _others(config: Config) -> dict[str, str]:
    """What is asked for beside the workers, by the name that it has in words; the value is a sink's own. Those
    whose library is missing come last: the supervisor gives its rows to processes in their order."""
    from fanion.pipeline import missing_library

    missing = {PIPELINE: missing_library()} if config.pipeline.enabled else {}
    sinks = {f"sink {name}": name for name in wanted(config.sinks)}
    missing |= {shown: " ".join(missing_libraries(name)) for shown, name in sinks.items()}
    return {shown: sinks.get(shown, "") for shown in sorted(missing, key=lambda shown: bool(missing[shown]))}


def serve(data: Path, config: Config, *, demo: bool = False, notes: Sequence[str] = ()) -> None:
    """Runs the server until it is told to stop. Raises ServeError, StoreError.

    `notes`: lines printed once the server answers; `{url}` in them is its address.
    """
    from fanion.auth.limiter import Limiter
    from fanion.journal.window import IDS, REPLAYS, EventWindow
    from fanion.process import operations
    from fanion.process.aside import Beside
    from fanion.process.exposures import Exposures
    from fanion.process.sockets import operations_socket, pick_port, url_host
    from fanion.process.supervisor import Supervisor
    from fanion.process.worker import Worker  # before the fork: workers share what is imported
    from fanion.store.recovery import open_verified
    from fanion.telemetry.heartbeats import Heartbeats
    from fanion.telemetry.metrics import Metrics

    spoken = served()  # before the fork, as every import
    odd = check_directory(data, memory_allowed=demo or config.journal.ack == "buffered")
    if odd:
        print(f"warning: {odd}", file=sys.stderr, flush=True)
    lock = DirectoryLock(data)
    try:
        remove_drafts(data)
        store, problem = open_verified(data, write=True, map_bytes=config.store.map_bytes)
        if upgrade_bundles(store) is not None:
            print("the store's bundles had an older format and were compiled again", flush=True)
        lay_overrides(store)
        generation = store.generation()
        store.close()
        Limiter.prepare(data, config.limiter.slots)
        Exposures.prepare(data, config.exposures.marks)
        EventWindow.open(data, config.journal.event_ids, name=IDS, replace=True).close()
        EventWindow.open(data, config.journal.used_traces, name=REPLAYS, replace=True).close()
        Metrics.prepare(data)
        if problem is not None:
            print(f"the store was damaged ({problem}); serving its copy", flush=True)
        keeper, port = pick_port(config.server.host, config.server.port)
        url = f"http://{url_host(keeper.getsockname()[0])}:{port}"
        config = _within_files(config)
        listening = operations_socket(config.server.operations_host, config.server.operations_port)
        operations_at = listening.getsockname()
        workers = config.server.workers or usable_cores()
        others = _others(config)
        heartbeats = Heartbeats(workers + 1 + len(others))
        rows, own = heartbeats.rows[:workers], heartbeats.rows[workers]
        other_rows = dict(zip(others, heartbeats.rows[workers + 1 :], strict=True))

        def make_application(place: Place) -> Any:
            listening.close()  # probes wait on it for nobody when the supervisor is gone
            return Worker(data, config, spoken, place, lock).application()

        def run_operations() -> None:
            silent_s = {PIPELINE: PIPELINE_STILL_S / 4}
            named = [(name, row, silent_s.get(name, still_s(config) / 4)) for name, row in other_rows.items()]
            names = operations.HostNames(config.server.operations_host, config.server.operations_names)
            asyncio.run(operations.run(listening, rows, named, own, data, names))

        def on_ready() -> None:
            print(f"fanion serves generation {generation} of {data} on {url}")
            asked_at = f"http://{url_host(operations_at[0])}:{operations_at[1]}"
            print(f"operations on {asked_at}: /healthz, /readyz, /metrics", flush=True)
            for line in notes:
                print(line.replace("{url}", url), flush=True)

        beside = [Beside("operations", run_operations)]
        for name, row in other_rows.items():
            if name == PIPELINE:
                beside += _pipeline_beside(data, config, row, listening)
            else:
                beside += sink_beside(others[name], data, config, row, listening)
        gc.collect()
        gc.freeze()  # the collector's marks would copy pages that the workers share
        Supervisor(
            config.server,
            host=keeper.getsockname()[0],
            port=port,
            workers=workers,
            log_level=config.log.level,
            make_application=make_application,
            on_ready=on_ready,
            heartbeats=heartbeats,
            beside=beside,
        ).run()
        keeper.close()
        listening.close()
    finally:
        lock.close()


def _within_files(config: Config) -> Config:
    """With fewer connections a worker where the system allows fewer open files, and a word about it."""
    files, wanted = raise_file_limit(), config.server.backpressure
    taken = connections_within(files, wanted)
    if taken == wanted:
        return config
    print(
        f"warning: a worker takes {taken} connections, not {wanted} (server.backpressure): "
        f"{files} open files are allowed (ulimit -n)",
        file=sys.stderr,
        flush=True,
    )
    server = msgspec.structs.replace(config.server, backpressure=taken)
    return msgspec.structs.replace(config, server=server)


def serve_demo(config: Config) -> None:
    """Publishes the demo world into a temporary data directory and serves it."""
    from fanion.definitions import DEMO, load

    config = demo_settings(config)
    with tempfile.TemporaryDirectory(prefix="fanion-demo-", ignore_cleanup_errors=True) as name:
        publish(Path(name), load([DEMO], vocabulary()), config)
        told = [
            "What came of it, some seconds later:",
            *(f"  fanion {verb} --data {name}" for verb in ("results", "usage")),
        ]
        if not all(map(find_spec, ("pyarrow", "duckdb", "scipy"))):
            told = ["What came of it is said with pip install '.[results]', and another start of this."]
        serve(Path(name), config, demo=True, notes=[*demo_notes(), *told])


def demo_settings(config: Config) -> Config:
    """What the demo takes less of where nothing else was set: its directory is in memory on many machines."""
    small: dict[str, dict[str, Any]] = {
        "server": {"workers": min(2, usable_cores())},
        "limits": {"ingest_body_bytes_max": MIB},
        "journal": {
            "ring_bytes": 8 * MIB,
            "segment_bytes": 8 * MIB,
            "event_ids": 65_536,
            "used_traces": 65_536,
        },
    }
    if config.limits.ingest_body_bytes_max != Config().limits.ingest_body_bytes_max:
        del small["journal"]["ring_bytes"]  # a ring has room for four bodies
    groups = {}
    for name, fields in small.items():
        group: Any = getattr(config, name)
        plain = getattr(Config(), name)
        unset = {key: value for key, value in fields.items() if getattr(group, key) == getattr(plain, key)}
        groups[name] = msgspec.structs.replace(group, **unset)
    return msgspec.structs.replace(config, **groups)


def demo_notes() -> list[str]:
    """A ready-to-paste line per dialect; `{url}` is the server's address."""
    return ["Try it:", *(f"  {dialect.demo}" for dialect in served() if dialect.demo)]
