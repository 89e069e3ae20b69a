"""The do-nothing app that targets are measured against: reads the body, sends fixed bytes. With `--stream` the
answer stays open after them, until the peer leaves. It speaks what `server.interface` says.

It runs on Granian with the very settings of `fanion serve`, also those of FANION_ variables, on uvloop and with the
threads that suit tasks on these cores, by either interface: so a ratio to it is what our own code costs, and by
RSGI what it saves. Its RSGI awaits the body and asks for no header.
`python -m bench.nothing --port P --answer FILE [--workers N]` prints `ready` once it listens.
"""

from __future__ import annotations

import argparse
import os
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from fanion.config.loading import load_config
from fanion.dialects import vocabulary
from fanion.process.machine import cores_to_run_on
from fanion.process.runtimes import runtimes_of
from fanion.process.sockets import pick_port
from fanion.process.supervisor import Notice, Place, Supervisor
from fanion.telemetry.heartbeats import Heartbeats

HEADERS = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]


def make_application(answer: bytes, status: int, stream: bool = False) -> Callable[..., Awaitable[None]]:
    """An ASGI app that answers every request with these bytes."""
    length = [] if stream else [(b"content-length", b"%d" % len(answer))]
    start = {"type": "http.response.start", "status": status, "headers": [*HEADERS, *length]}
    body = {"type": "http.response.body", "body": answer, "more_body": stream}

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            while True:
                message = await receive()
                await send({"type": f"{message['type']}.complete"})
                if message["type"] == "lifespan.shutdown":
                    return
        message = await receive()
        while message.get("more_body"):
            message = await receive()
        await send(start)
        await send(body)
        while stream and (await receive())["type"] != "http.disconnect":
            pass

    return application


def make_rsgi(answer: bytes, status: int) -> Callable[..., Awaitable[None]]:
    """The same for RSGI."""
    headers = [(name.decode(), value.decode()) for name, value in HEADERS]

    async def application(scope: Any, proto: Any) -> None:
        await proto()
        proto.response_bytes(status, headers, answer)

    return application


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--answer", type=Path, required=True, help="file whose bytes are the answer")
    parser.add_argument("--status", type=int, default=200)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--stream", action="store_true", help="leave each answer open")
    arguments = parser.parse_args()
    answer = arguments.answer.read_bytes()
    settings = load_config(vocabulary()).server
    if not settings.runtime_threads:  # RSGI's default is the lane's
        by_tasks = msgspec.structs.replace(settings, interface="asgi")
        threads = runtimes_of(by_tasks, arguments.workers, cores_to_run_on()).threads
        settings = msgspec.structs.replace(settings, runtime_threads=threads)
    keeper, port = pick_port("127.0.0.1", arguments.port)

    def load(place: Place) -> Any:
        place.listen()
        threading.Timer(0.2, place.notify, [Notice(os.getpid())]).start()
        if settings.interface == "rsgi":
            return make_rsgi(answer, arguments.status)
        return make_application(answer, arguments.status, arguments.stream)

    with keeper:
        Supervisor(
            settings,
            host="127.0.0.1",
            port=port,
            workers=arguments.workers,
            log_level="warning",
            make_application=load,
            on_ready=lambda: print("ready", flush=True),
            heartbeats=Heartbeats(arguments.workers),
        ).run()


if __name__ == "__main__":
    main()
