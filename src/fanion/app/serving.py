"""The server: the parts that it is made of, in the order in which they start and stop; the demo."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from fanion.app.beside import asked_for, beside
from fanion.app.overriding import lay_overrides
from fanion.app.publishing import publish, upgrade_bundles
from fanion.config import MIB, Config
from fanion.dialects import served, vocabulary
from fanion.errors import ConfigError
from fanion.model.collector import freeze
from fanion.process.directory import DirectoryLock, check_directory, remove_drafts
from fanion.process.machine import connections_within, raise_file_limit, usable_cores

if TYPE_CHECKING:
    from fanion.console.site import Console
    from fanion.process.supervisor import Place
    from fanion.telemetry.exposition import Exposition


def serve(data: Path, config: Config, *, demo: bool = False, notes: Sequence[str] = ()) -> None:
    """Runs the server until it is told to stop. Raises ServeError, StoreError.

    `notes`: lines printed once the server answers; `{url}` in them is its address.
    """
    from fanion.app.following import catch_up, left_alone
    from fanion.auth.limiter import Limiter
    from fanion.console import missing_library
    from fanion.journal.replicas import Board
    from fanion.journal.window import IDS, REPLAYS, EventWindow
    from fanion.process import operations
    from fanion.process.aside import Beside
    from fanion.process.exposures import Exposures
    from fanion.process.lane import LaneLoop
    from fanion.process.sockets import operations_socket, pick_port, url_host
    from fanion.process.supervisor import Supervisor
    from fanion.process.worker import Worker  # before the fork: workers share what is imported
    from fanion.shipping import missing_library as missing_for_shipping
    from fanion.store.recovery import open_verified
    from fanion.telemetry import spans
    from fanion.telemetry.heartbeats import Heartbeats
    from fanion.telemetry.metrics import Metrics

    if config.tracing.url and (lacks := spans.missing_library()):
        raise ConfigError(f"tracing.url is set, and {lacks} isn't installed; pip install 'fanion[otel]'")
    replicated = config.journal.ack == "replicated"
    if replicated and (lacks := missing_for_shipping()):
        raise ConfigError(
            f"journal.ack is \"replicated\", and {lacks} isn't installed; pip install 'fanion[machines]'"
        )
    spoken = served()  # before the fork, as every import
    if config.places.follow:  # which brings a store with it
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
    odd = check_directory(data, memory_allowed=demo or config.journal.ack == "buffered")
    if odd:
        print(f"warning: {odd}", file=sys.stderr, flush=True)
    lock = DirectoryLock(data)
    try:
        remove_drafts(data)
        if config.places.follow:
            catch_up(data, config)
        store, problem = open_verified(
            data, write=True, map_bytes=config.store.map_bytes
        )  # before others open it
        if not config.places.follow and (alone := left_alone(store)):
            print(f"warning: {alone}", file=sys.stderr, flush=True)
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
        board = Board(workers) if replicated else None
        others = asked_for(data, config, board)
        heartbeats = Heartbeats(workers + 1 + len(others))
        rows, own = heartbeats.rows[:workers], heartbeats.rows[workers]
        rows_of_others = list(zip(others, heartbeats.rows[workers + 1 :], strict=True))

        def make_application(place: Place) -> Any:
            listening.close()  # probes wait on it for nobody when the supervisor is gone
            return Worker(data, config, spoken, place, lock, board).application()

        def run_operations() -> None:
            import asyncio

            from fanion.app.console import open_console  # all here, as only this process needs them
            from fanion.app.describing import documents

            named = [(other.name, row, other.still_s / 4) for other, row in rows_of_others]
            names = operations.HostNames(config.server.operations_host, config.server.operations_names)
            told = documents(config, port)

            def open_site(probes: operations.Operations, exposition: Exposition) -> Console | None:
                return open_console(data, config, operations_at[0], names.know_host, probes, exposition)

            asyncio.run(operations.run(listening, rows, named, own, data, names, told, open_site))

        def on_ready() -> None:
            print(f"fanion serves generation {generation} of {data} on {url}")
            asked_at = f"http://{url_host(operations_at[0])}:{operations_at[1]}"
            print(f"operations on {asked_at}: /healthz, /readyz, /metrics, /openapi/API.json", flush=True)
            if config.server.console != "off":
                missing = missing_library()
                needs = f" (needs {missing}: pip install 'fanion[console]')" if missing else ""
                print(f"console on {asked_at}/console{needs}", flush=True)
            for line in notes:
                print(line.replace("{url}", url), flush=True)

        processes = [Beside("operations", run_operations)]
        for other, row in rows_of_others:
            processes += beside(other, data, row, listening)
        freeze()  # the collector's marks would copy pages that the workers share
        Supervisor(
            config.server,
            host=keeper.getsockname()[0],
            port=port,
            workers=workers,
            log_level=config.log.level,
            make_application=make_application,
            on_ready=on_ready,
            heartbeats=heartbeats,
            beside=processes,
            make_loop=LaneLoop if config.server.interface == "rsgi" and not config.tracing.url else None,
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
        if not config.pipeline.enabled:
            told = []
        elif not all(map(find_spec, ("pyarrow", "duckdb", "scipy"))):
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
