"""Sinks of a server: what one is made of, and the process that each is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from fanion.config import Config
from fanion.dialects import canonical_forms
from fanion.sinks import missing_libraries

if TYPE_CHECKING:
    import socket

    from fanion.process.aside import Beside
    from fanion.sinks.sink import Sink
    from fanion.telemetry.heartbeats import Heartbeat

STILL_S = 60.0
"""How long a sink may stand still besides what its receiver may take: it runs behind everything else."""


def still_s(config: Config) -> float:
    """Until a sink that says nothing is killed."""
    return 2 * config.sinks.timeout_s + STILL_S


def make_sink(name: str, data: Path, config: Config, turn: Callable[[], None]) -> Sink:
    """Raises SinkError, JournalError."""
    from fanion.sinks.sink import Sink

    return Sink(data, name, config.sinks, canonical_forms(), map_bytes=config.store.map_bytes, turn=turn)


def sink_beside(
    name: str, data: Path, config: Config, row: Heartbeat, listening: socket.socket
) -> list[Beside]:
    """The process; none, and said why, where a library is missing. `listening`: inherited and not used."""
    from fanion.process.aside import Beside
    from fanion.telemetry.heartbeats import Standing

    if missing := missing_libraries(name):
        reason = f"nothing is sent: {' and '.join(missing)} not installed; pip install 'fanion[sinks]'"
        print(f"warning: sink {name}: {reason}", file=sys.stderr, flush=True)
        row.say(Standing(reasons=(reason,)))
        return []

    def run() -> None:
        from fanion.pipeline.service import Ending  # libraries of receivers are this process's alone
        from fanion.sinks.service import Service
        from fanion.telemetry.metrics import Metrics

        ending = Ending()
        listening.close()
        metrics = Metrics.open(data, worker=False)
        Service(name, config.sinks, lambda turn: make_sink(name, data, config, turn), row, metrics).run(
            ending
        )
        metrics.close()

    return [Beside(f"sink-{name}", run, still_s=still_s(config), gentle=True)]
