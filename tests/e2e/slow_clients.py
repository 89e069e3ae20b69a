"""Many clients that are slow on purpose, in one process, and what becomes of them.

    python -m tests.e2e.slow_clients --port 8080 --clients 10000

Four kinds, in equal parts: says nothing; never ends its header; never ends its body; never reads its answers.
Prints how long each kind was left open, and how long good requests took meanwhile. Needs a server with the
demo's or the tests' keys (`--key`), and as many file descriptors as clients on both sides.
"""

from __future__ import annotations

import argparse
import http.client
import resource
import selectors
import socket
import time
from typing import NamedTuple

KINDS = ("silent", "header", "body", "reader")
ENDED = ("silent", "header", "body")
"""Those that the server ends in time; the last kind's connections are idle once all is answered."""
GIVE_UP_S = 60.0


class Outcome(NamedTuple):
    """What was seen. `open_s`: per kind, when the last client of it was closed (None: never)."""

    open_s: dict[str, float | None]
    first_answers: dict[str, bytes]
    good_ms: list[float]
    refused: int


def first_bytes(kind: str, key: str) -> bytes:
    head = f"POST /v1/evaluate/bulk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n".encode()
    return {
        "silent": b"",
        "header": head,
        "body": head + b"Content-Length: 100\r\n\r\n{",
        "reader": b"GET /v1/sdk/context HTTP/1.1\r\nHost: a\r\n\r\n" * 20,
    }[kind]


def run(port: int, clients: int, key: str, *, seconds: float = GIVE_UP_S) -> Outcome:
    """Opens the slow clients, then sends good requests until all that should be are closed, or the time is up."""
    watched = selectors.DefaultSelector()
    left = dict.fromkeys(KINDS, 0)
    open_s: dict[str, float | None] = dict.fromkeys(KINDS)
    answers: dict[str, bytes] = {}
    for number in range(clients):
        kind = KINDS[number % len(KINDS)]
        connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        connection.sendall(first_bytes(kind, key))
        connection.setblocking(False)
        watched.register(connection, selectors.EVENT_READ, kind)
        left[kind] += 1
    began = time.monotonic()
    good_ms: list[float] = []
    refused = 0
    while any(left[kind] for kind in ENDED) and time.monotonic() - began < seconds:
        sent = time.perf_counter()
        refused += not ask_well(port, key)
        good_ms.append((time.perf_counter() - sent) * 1000)
        for entry, _ in watched.select(timeout=0.02):
            connection = entry.fileobj
            assert isinstance(connection, socket.socket)
            try:
                piece = connection.recv(65_536)
            except BlockingIOError:
                continue
            except ConnectionError:
                piece = b""
            if piece:
                answers.setdefault(entry.data, piece)
                continue
            watched.unregister(connection)
            connection.close()
            left[entry.data] -= 1
            if not left[entry.data]:
                open_s[entry.data] = time.monotonic() - began
    for entry in list(watched.get_map().values()):
        assert isinstance(entry.fileobj, socket.socket)
        entry.fileobj.close()
    watched.close()
    return Outcome(open_s, answers, good_ms, refused)


def ask_well(port: int, key: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/v1/sdk/context", headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--key", default="sk_demo_server")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    outcome = run(options.port, options.clients, options.key)
    for kind, seconds in outcome.open_s.items():
        print(f"{kind:8} {'still open' if seconds is None else f'closed after {seconds:.1f} s'}")
    times = sorted(outcome.good_ms)
    print(
        f"good requests: {len(times)}, refused {outcome.refused}, "
        f"p50 {times[len(times) // 2]:.2f} ms, p99 {times[len(times) * 99 // 100]:.2f} ms"
    )


if __name__ == "__main__":
    main()
