"""What a worker holds for its peers: unfinished bodies and answers that nobody reads yet."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest
import zstandard

from fanion.config import Config, Limits
from fanion.config.loading import load_config
from fanion.dialects import vocabulary
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import JSON_NO_STORE, Head
from fanion.errors import ConfigError
from fanion.http.answers import PIECE_BYTES, Outgoing
from fanion.http.app import make_handler
from fanion.http.encoding import undo_encoding
from fanion.http.request import BodyWatch, read_rest
from tests.unit.http_standins import DIALECT, SERVER_KEY, make_services

MIB = 1 << 20


def with_answer(payload: bytes) -> Dialect:
    """Feather's, with one route that gives this answer."""
    endpoint = Endpoint("large", lambda *_: (Head(200, JSON_NO_STORE), payload))
    return replace(DIALECT, routes=lambda services: [Route(b"/large", {"GET": endpoint})])


class Peer:
    """A connection that takes pieces while it reads, and can leave."""

    def __init__(self, *, reads: bool = True) -> None:
        self.reading = asyncio.Event()
        self.left = asyncio.Event()
        self.received: list[dict[str, Any]] = []
        if reads:
            self.reading.set()

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.received.append(message)
        await self.reading.wait()

    @property
    def status(self) -> int:
        found: int = self.received[0]["status"]
        return found

    @property
    def body(self) -> bytes:
        return b"".join(message["body"] for message in self.received[1:])


SCOPE: dict[str, Any] = {
    "http_version": "1.1",
    "method": "GET",
    "raw_path": b"/large",
    "query_string": b"",
    "client": ("127.0.0.1", 1),
    "headers": [(b"host", b"a"), (b"authorization", b"Bearer " + SERVER_KEY)],
}


def handler(size: int, budget: int) -> Any:
    config = msgspec.structs.replace(Config(), limits=Limits(answers_bytes_max=budget))
    services = make_services(config)
    watch = BodyWatch(asyncio.get_running_loop(), config.limits)
    return make_handler(services, [with_answer(bytes(size))], watch)


@pytest.mark.parametrize("size", [0, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES, 5 * PIECE_BYTES + 7])
def test_answer_arrives_whole_in_pieces_that_are_not_too_large(size: int) -> None:
    async def run() -> None:
        peer = Peer()
        await handler(size, MIB)(SCOPE, peer.receive, peer.send)
        assert peer.body == bytes(size)
        assert all(len(message["body"]) <= PIECE_BYTES for message in peer.received[1:])
        flags = [message.get("more_body", False) for message in peer.received[1:]]
        assert flags == [True] * (len(flags) - 1) + [False]

    asyncio.run(run())


def test_large_answers_that_nobody_reads_are_bounded_and_small_ones_go_on() -> None:
    async def run() -> None:
        handle = handler(600_000, MIB)
        slow = [Peer(reads=False) for _ in range(3)]
        tasks = [asyncio.ensure_future(handle(SCOPE, peer.receive, peer.send)) for peer in slow]
        for _ in range(5):
            await asyncio.sleep(0)
        assert [peer.status for peer in slow] == [200, 503, 503]
        assert b"retry-after" in dict(slow[1].received[0]["headers"])
        for peer in slow:
            peer.reading.set()
        await asyncio.gather(*tasks)
        assert len(slow[0].body) == 600_000
        after = Peer()
        await handle(SCOPE, after.receive, after.send)
        assert (after.status, len(after.body)) == (200, 600_000)

    asyncio.run(run())


def test_an_answer_above_the_budget_is_sent_when_it_is_the_only_one() -> None:
    async def run() -> None:
        peer = Peer()
        await handler(2 * MIB, MIB)(SCOPE, peer.receive, peer.send)
        assert len(peer.body) == 2 * MIB

    asyncio.run(run())


def test_a_peer_that_leaves_gets_no_more_pieces_and_frees_its_share() -> None:
    async def run() -> None:
        peer, outgoing = Peer(reads=False), Outgoing(MIB)
        payload = bytes(10 * PIECE_BYTES)
        assert outgoing.take(len(payload))
        sending = asyncio.ensure_future(outgoing.send(Head(200, []), payload, peer.receive, peer.send))
        await asyncio.sleep(0)
        assert outgoing.bytes_held == 10 * PIECE_BYTES
        peer.left.set()
        for _ in range(5):
            await asyncio.sleep(0)
        peer.reading.set()
        await sending
        assert len(peer.received) == 1
        assert outgoing.bytes_held == 0

    asyncio.run(run())


def test_unfinished_bodies_of_a_worker_are_bounded_and_the_last_to_come_is_refused() -> None:
    async def run() -> None:
        limits = Limits(bodies_bytes_max=5 * MIB)
        watch = BodyWatch(asyncio.get_running_loop(), limits)
        first = asyncio.Event()

        async def slow() -> Any:
            await first.wait()
            return {"type": "http.request", "body": b"end", "more_body": False}

        async def more() -> Any:
            return {"type": "http.request", "body": bytes(MIB), "more_body": True}

        async def read(receive: Any, begun: bytes) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            return await read_rest(receive, begun, watch, task, 5 * MIB, 10.0)

        held = asyncio.ensure_future(read(slow, bytes(4 * MIB)))
        await asyncio.sleep(0)
        assert watch.bytes_held == 4 * MIB
        with pytest.raises(Fault) as refused:
            await asyncio.ensure_future(read(more, b""))
        assert refused.value.kind is FaultKind.OVERLOADED
        assert refused.value.retry_after_s
        first.set()
        assert len(await held) == 4 * MIB + 3
        await asyncio.sleep(0)
        assert watch.bytes_held == 0
        assert not watch.waiting

    asyncio.run(run())


@pytest.mark.parametrize(("size", "pieces", "taken"), [(1, 512, True), (1, 513, False), (512, 5_000, True)])
def test_a_body_in_more_pieces_than_networks_make_is_refused(size: int, pieces: int, taken: bool) -> None:
    async def run() -> None:
        left = pieces

        async def receive() -> Any:
            nonlocal left
            left -= 1
            return {"type": "http.request", "body": bytes(size), "more_body": left > 0}

        async def read() -> bytes:
            task = asyncio.current_task()
            assert task is not None
            watch = BodyWatch(asyncio.get_running_loop(), Limits())
            return await read_rest(receive, b"", watch, task, 5 * MIB, 10.0)

        if taken:
            assert len(await asyncio.ensure_future(read())) == size * pieces
            return
        with pytest.raises(Fault, match="too many pieces") as refused:
            await asyncio.ensure_future(read())
        assert refused.value.kind is FaultKind.BAD_REQUEST

    asyncio.run(run())


def blocks_of_codes(count: int) -> bytes:
    """A raw deflate stream of `count` blocks, each names its own codes and holds nothing (RFC 1951, 3.2.7)."""
    repeated, one = (1, 1), (0, 1)
    lengths = [
        (int(symbol in (1, 18)), 3)
        for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
    ]
    codes = [repeated, (138 - 11, 7), repeated, (118 - 11, 7), one, one]
    fields = [(0, 1), (2, 2), (0, 5), (0, 5), (14, 4), *lengths, *codes, (0, 1)]
    value = bits = 0
    for number, width in fields:
        value, bits = value | number << bits, bits + width
    eight = sum(value << bits * place for place in range(8))  # eight blocks are whole bytes
    last = value | 1
    return eight.to_bytes(bits, "little") * (count // 8) + last.to_bytes(bits // 8 + 1, "little")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_inflating_gives_way_once_a_megabyte(encoding: str) -> None:
    async def run() -> None:
        plain = b"".join(b"%d," % number for number in range(700_000))
        packed = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}[encoding](
            plain
        )
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.ensure_future(count())
        body = await undo_encoding({b"content-encoding": encoding.encode()}, packed, 5 * MIB, lambda _: None)
        counting.cancel()
        assert body == plain
        assert turns >= len(plain) // MIB

    asyncio.run(run())


def test_a_body_of_tables_that_holds_nothing_is_refused_long_before_its_end() -> None:
    async def run() -> None:
        inflated = zlib.decompressobj(-15)
        assert inflated.decompress(blocks_of_codes(80)) == b""
        assert inflated.eof
        seen: list[int] = []
        with pytest.raises(Fault, match="takes too long to inflate") as refused:
            await undo_encoding(
                {b"content-encoding": b"deflate"}, blocks_of_codes(400_000), 5 * MIB, seen.append
            )
        assert refused.value.kind is FaultKind.BAD_REQUEST
        assert (
            await undo_encoding({b"content-encoding": b"deflate"}, blocks_of_codes(160), 5 * MIB, seen.append)
            == b""
        )

    asyncio.run(run())


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_what_is_inflated_counts_too_until_its_request_is_answered(encoding: str) -> None:
    async def run() -> None:
        watch = BodyWatch(asyncio.get_running_loop(), Limits(bodies_bytes_max=5 * MIB))
        packed = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstandard.compress}[encoding](
            b"".join(b"%d," % number for number in range(500_000))
        )

        async def undo(answered: asyncio.Event) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            hold = partial(watch.hold, task)
            body = await undo_encoding({b"content-encoding": encoding.encode()}, packed, 5 * MIB, hold)
            await answered.wait()
            return body

        answered = asyncio.Event()
        first = asyncio.ensure_future(undo(answered))
        while watch.bytes_held < 3 * MIB:
            await asyncio.sleep(0)
        with pytest.raises(Fault) as refused:
            await asyncio.ensure_future(undo(answered))
        assert refused.value.kind is FaultKind.OVERLOADED
        answered.set()
        assert len(await first) == 3_388_890
        await asyncio.sleep(0)
        assert watch.bytes_held == 0

    asyncio.run(run())


def test_one_body_always_fits_the_budget_of_all() -> None:
    with pytest.raises(ConfigError, match=r"limits\.bodies_bytes_max"):
        load_config(vocabulary(), environ={"FANION_LIMITS_BODIES_BYTES_MAX": str(4 * MIB)})
