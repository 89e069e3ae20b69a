"""Rows of a stream without a server: `fanion pipeline --from`, and the address where it is asked how it stands.

It counts in the directory's own metrics, so a server that runs there shows its numbers with its own. Without one,
or besides, it answers /healthz, /readyz and /metrics itself, in a thread: as a server's operations process does,
but that /readyz is 503 while no rows can be made."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from fanion.app.beside import make_rows, still_s_of
from fanion.config import Config
from fanion.errors import ServeError
from fanion.process import operations
from fanion.process.directory import DirectoryLock
from fanion.process.sockets import operations_socket, url_host
from fanion.telemetry.heartbeats import Heartbeat, Heartbeats
from fanion.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from fanion.pipeline.service import Ending


def make_alone(url: str, data: Path, config: Config, ending: Ending, port: int | None) -> None:
    """Until it is ended. `port`: where it is asked, on `server.operations_host`; 0: a free one, None: nowhere.
    Raises ServeError."""
    with closing(_counting(data)) as metrics:
        row, own = Heartbeats(2).rows
        if port is not None:
            _answer(data, config, port, row, own)
        make_rows(url, data, config, row, metrics, ending)


def _counting(data: Path) -> Metrics:
    """A file of metrics that an earlier Fanion left is made anew, where no server has it open."""
    try:
        return Metrics.open(data, worker=False)
    except ServeError:
        with closing(DirectoryLock(data)):
            Metrics.prepare(data)
        return Metrics.open(data, worker=False)


def _answer(data: Path, config: Config, port: int, row: Heartbeat, own: Heartbeat) -> None:
    """From now on, until this process ends."""
    server = config.server
    listening = operations_socket(server.operations_host, port)
    names = operations.HostNames(server.operations_host, server.operations_names)
    others = [("pipeline", row, still_s_of(config) / 4)]

    def answer() -> None:
        asyncio.run(operations.run(listening, (), others, own, data, names, {}))

    threading.Thread(target=answer, name="operations", daemon=True).start()
    host, number = listening.getsockname()[:2]
    asked_at = f"http://{url_host(host)}:{number}"
    print(f"operations on {asked_at}: /healthz, /readyz, /metrics", file=sys.stderr, flush=True)
