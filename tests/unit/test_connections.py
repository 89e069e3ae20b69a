"""Which connections owe the rest of a head, as the kernel tells; and that no other is ever ended."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import select
import socket
from collections.abc import Iterator

import pytest
from granian.http import HTTP1Settings

from fanion._core.connections import Connections
from fanion.process.heads import PIECE, HeadWatch, port_of, ports_served

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
TURN_S = 0.02
"""More than one tick of the kernel's coarse clock, so that it can tell what came first."""


class Pairs:
    """Connections to a listening socket of this process."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        self.made: list[socket.socket] = [self.listening]

    def make(self) -> tuple[socket.socket, socket.socket]:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=100)
        server, _ = self.listening.accept()
        self.made += [client, server]
        return client, server

    def asked(self) -> tuple[socket.socket, socket.socket]:
        """One whose first request was answered."""
        client, server = self.make()
        client.sendall(REQUEST)
        server.recv(100)
        pause()
        server.sendall(ANSWER)
        client.recv(100)
        return client, server


def pause() -> None:
    select.select([], [], [], TURN_S)


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    made = Pairs()
    yield made
    for one in made.made:
        one.close()


def owing(connections: Connections, looks: int = 1) -> set[int]:
    return {fd for fd, _, _ in connections.look(looks)}


def test_idle_after_an_answer_owes_nothing_and_what_began_a_head_does(pairs: Pairs) -> None:
    connections = Connections(pairs.port)
    _, silent = pairs.make()
    _, idle = pairs.asked()
    trickling, began = pairs.asked()
    pause()
    trickling.sendall(b"GET")
    pause()
    assert owing(connections) == {silent.fileno(), began.fileno()}
    assert idle.fileno() not in owing(connections)


def test_only_what_owed_in_every_look_without_an_answer_in_between_is_told(pairs: Pairs) -> None:
    connections = Connections(pairs.port)
    client, server = pairs.make()
    for looks in range(1, 5):
        client.sendall(b"G")
        assert owing(connections, 4) == ({server.fileno()} if looks == 4 else set())
    server.sendall(ANSWER)
    pause()
    client.sendall(b"GET")
    pause()
    for looks in range(1, 5):
        assert owing(connections, 4) == ({server.fileno()} if looks == 4 else set())
    connections.forget_looks()
    assert owing(connections, 2) == set()


def test_connections_of_other_ports_and_other_files_are_passed_over(pairs: Pairs) -> None:
    client, server = pairs.make()
    others = os.pipe()
    assert owing(Connections(pairs.port + 1 if pairs.port < 65_535 else 1)) == set()
    assert owing(Connections(pairs.port)) == {server.fileno()}
    assert client.fileno() not in owing(Connections(pairs.port))
    for other in others:
        os.close(other)


def test_another_connection_under_the_same_descriptor_is_not_ended(pairs: Pairs) -> None:
    connections = Connections(pairs.port)
    _, server = pairs.make()
    ((fd, cookie, sent),) = connections.look(1)
    client, other = pairs.make()
    os.dup2(other.fileno(), fd)  # the server closed it, and the next one got its number
    assert not connections.end(fd, cookie, sent)
    server.sendall(ANSWER)
    assert client.recv(100) == ANSWER
    assert not connections.end(10_000, cookie, sent)


def test_one_that_was_answered_meanwhile_is_not_ended_and_one_that_was_not_is(pairs: Pairs) -> None:
    connections = Connections(pairs.port)
    client, server = pairs.make()
    ((fd, cookie, sent),) = connections.look(1)
    server.sendall(ANSWER)
    assert not connections.end(fd, cookie, sent)
    assert client.recv(100) == ANSWER
    pause()
    client.sendall(b"GET")
    pause()
    connections.look(1)
    ((fd, cookie, sent),) = connections.look(1)
    assert connections.end(fd, cookie, sent)
    assert client.recv(100) == b""


def test_the_one_that_is_served_is_spared_and_the_one_that_trickles_is_not(pairs: Pairs) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        served, _ = pairs.make()
        slow, _ = pairs.make()
        gone = asyncio.Event()

        async def handle(scope: dict[str, object]) -> None:
            await gone.wait()

        async def watcher() -> None:
            await handle({"client": served.getsockname()})

        task = loop.create_task(watcher())
        await asyncio.sleep(0)
        assert await ports_served(loop) == {None, served.getsockname()[1]}
        watch = HeadWatch(loop, pairs.port, 0.25)
        watch.start()
        slow.setblocking(False)
        served.setblocking(False)
        ended = False
        while not ended:
            await asyncio.sleep(0.02)
            with contextlib.suppress(BlockingIOError):
                ended = slow.recv(1) == b""
                assert ended
        assert watch.ended == 1
        with pytest.raises(BlockingIOError):
            served.recv(1)
        watch.stop()
        gone.set()
        await task

    asyncio.run(run())


def test_thousands_of_streams_are_asked_in_pieces_and_who_came_meanwhile_is_spared() -> None:
    """A stretch of 10 ms and more at 5,000 streams was every other connection's, once a look."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        gone = asyncio.Event()

        async def handle(scope: dict[str, object]) -> None:
            await gone.wait()

        tasks = [loop.create_task(handle({"client": ("::1", port)})) for port in range(1, 5_001)]
        await asyncio.sleep(0)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while not gone.is_set():
                turns += 1
                tasks.append(loop.create_task(handle({"client": ("::1", 10_000 + turns)})))
                await asyncio.sleep(0)

        other = loop.create_task(others())
        found = await ports_served(loop)
        assert turns >= 5_000 // PIECE
        assert found >= {None, *range(1, 5_001), *range(10_001, 10_001 + turns - 1)}
        gone.set()
        await asyncio.gather(other, *tasks)

    asyncio.run(run())


def test_the_other_end_of_a_descriptor_that_is_none_is_nobody() -> None:
    assert port_of(10_000) is None


def test_the_table_reaches_as_far_as_descriptors_do(pairs: Pairs) -> None:
    connections = Connections(pairs.port)
    _, server = pairs.make()
    high = os.dup(server.fileno())
    os.dup2(server.fileno(), 3_000)
    assert owing(connections) == {server.fileno(), high, 3_000}
    for fd in (high, 3_000):
        os.close(fd)


def test_the_http_server_has_no_setting_for_half_closed_peers_yet() -> None:
    """Once this fails, README's limit on them can go."""
    names = {field.name for field in dataclasses.fields(HTTP1Settings)}
    assert names == {"header_read_timeout", "keep_alive", "max_buffer_size", "pipeline_flush"}
