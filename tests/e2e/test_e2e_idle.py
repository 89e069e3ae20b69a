"""Connections that wait: idle ones are kept for a pool's time, slow heads are ended, what is served is not."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.server import SERVER_KEY, WORLD, Running, publish, start

HEAD_S, IDLE_S = 1.0, 12.0
GIVE_UP_S, LONG_S = 300.0, 600.0
"""Of a machine that has other things to do, on which looks that came late count for nothing; and the idle time of a
server that ends no idle connection before."""
REQUEST = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b'{"user_id": "u", "flag_keys": ["checkout"]}'
pytestmark = pytest.mark.timeout(GIVE_UP_S + 100)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from serving(tmp_path_factory.mktemp("idle"), LONG_S)


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Its requests aren't tasks of the event loop from the first."""
    yield from serving(tmp_path_factory.mktemp("direct"), LONG_S, "--interface", "rsgi")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    yield from serving(tmp_path_factory.mktemp("hasty"), IDLE_S)


def serving(directory: Path, idle_s: float, *more: str) -> Iterator[Running]:
    publish(directory / "data", WORLD)
    environment = {
        "FANION_SERVER_HEADER_TIMEOUT_S": str(HEAD_S),
        "FANION_SERVER_IDLE_TIMEOUT_S": str(idle_s),
    }
    arguments = ("--workers", "1", "--ack", "buffered", *more)
    running = start(directory / "log", *arguments, data=directory / "data", environment=environment)
    yield running
    assert running.stop() == 0


def wait_for_end(connection: socket.socket, trickle: bytes = b"", every_s: float = 0.1) -> None:
    """Until the other side ends it. `trickle`: what goes on being sent, a byte at a time."""
    began = time.monotonic()
    connection.settimeout(every_s)
    sending = iter(trickle)
    while time.monotonic() - began < GIVE_UP_S:
        try:
            if not connection.recv(4096):
                return
        except TimeoutError:
            with contextlib.suppress(StopIteration):
                connection.sendall(bytes([next(sending)]))
        except ConnectionError:
            return
    raise AssertionError("it was left open")


def answered(connection: socket.socket) -> bytes:
    connection.settimeout(60)
    connection.sendall(REQUEST)
    return connection.recv(4096)


def kept(server: Running, connections: contextlib.ExitStack) -> socket.socket:
    """A connection that was answered once; one that never asked has a head's time, which may be over first."""
    while True:
        connection = connections.enter_context(server.connect())
        with contextlib.suppress(ConnectionError):
            if answer := answered(connection):
                assert answer.startswith(b"HTTP/1.1 200")
                return connection


@pytest.mark.heavy
def test_an_idle_connection_lives_for_the_idle_time_and_not_for_a_heads(hasty: Running) -> None:
    with contextlib.ExitStack() as connections:
        connection = kept(hasty, connections)
        time.sleep(2 * HEAD_S)
        began = time.monotonic()
        assert answered(connection).startswith(b"HTTP/1.1 200")
        wait_for_end(connection)
        assert time.monotonic() - began > (HEAD_S + IDLE_S) / 2


@pytest.mark.parametrize("first", [b"", REQUEST], ids=["new", "kept"])
@pytest.mark.parametrize("trickle", [b"", REQUEST[:-2] + b"X-A: " + b"a" * 500], ids=["still", "trickled"])
def test_a_head_that_does_not_come_ends_its_connection(server: Running, first: bytes, trickle: bytes) -> None:
    began = time.monotonic()
    with contextlib.ExitStack() as connections:
        connection = kept(server, connections) if first else connections.enter_context(server.connect())
        if first:
            time.sleep(0.1)  # the kernel tells what came after the answer by its clock's ticks
            began = time.monotonic()
        connection.sendall(b"G")
        wait_for_end(connection, trickle[1:])
        assert time.monotonic() - began > HEAD_S * 0.7


@pytest.mark.parametrize("name", ["server", "direct"])
def test_a_slow_body_is_read_to_its_end_however_slow_heads_are_ended(
    name: str, request: pytest.FixtureRequest
) -> None:
    server: Running = request.getfixturevalue(name)
    head = b"POST /v1/evaluate/bulk HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer %b\r\nContent-Length: %d\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head % (SERVER_KEY.encode(), len(BODY)))
        began = time.monotonic()
        time.sleep(0.5)  # by then it has been looked at who waits for a first byte
        for byte in BODY:
            connection.sendall(bytes([byte]))
            time.sleep(2.2 * HEAD_S / len(BODY))
        connection.settimeout(60)
        assert connection.recv(4096).startswith(b"HTTP/1.1 ")
        assert time.monotonic() - began > 2 * HEAD_S


@pytest.mark.slow
def test_a_thousand_trickled_heads_are_ended_and_a_thousand_idle_ones_kept(server: Running) -> None:
    with contextlib.ExitStack() as connections:
        idle = [kept(server, connections) for _ in range(500)]
        slow = [connections.enter_context(server.connect()) for _ in range(1_000)]
        trickle(server, idle, slow)


def trickle(server: Running, idle: list[socket.socket], slow: list[socket.socket]) -> None:
    watched = selectors.DefaultSelector()
    for connection in slow:
        connection.setblocking(False)
        watched.register(connection, selectors.EVENT_READ)
    began, left, refused, asked = time.monotonic(), set(slow), 0, time.monotonic()
    while left and time.monotonic() - began < GIVE_UP_S:
        for connection in list(left):
            with contextlib.suppress(OSError):
                connection.send(b"X")
        refused += server.ask("GET", "/healthz").status != 200
        for key, _ in watched.select(timeout=0.2):
            with contextlib.suppress(ConnectionError, BlockingIOError):
                if key.fileobj.recv(4096):  # type: ignore[union-attr]
                    continue
            watched.unregister(key.fileobj)
            left.discard(key.fileobj)  # type: ignore[arg-type]
        if time.monotonic() - asked > 1.5:
            asked = time.monotonic()
            for connection in idle:
                assert answered(connection).startswith(b"HTTP/1.1 200")
    print(f"1,000 trickled heads ended within {time.monotonic() - began:.1f} s")
    assert not left
    assert refused == 0
    for connection in idle:
        assert answered(connection).startswith(b"HTTP/1.1 200")
