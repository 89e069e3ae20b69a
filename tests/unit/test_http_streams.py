"""Event streams of one worker: who is told what, when a stream ends, and what is bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.stream import HEARTBEAT
from fanion.http.streams import RECENT_S, SLICE
from fanion.model.api_key import KeyRecord
from tests.unit.stream_standins import KEY, Peer, Snapshot, World, record, turns


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Runs a story in a world of its own, whose streams all end with it."""

    def start(story: Callable[[World], Awaitable[None]], **server: Any) -> None:
        async def whole() -> None:
            world = World(monkeypatch, **server)
            await story(world)
            await world.close()

        asyncio.run(whole())

    return start


Run = Callable[..., None]


# -- who is told


def test_a_stream_is_told_once_of_a_publish_that_touches_its_environment(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        assert (peer.status, peer.text) == (200, "<one>")
        assert peer.headers[b"content-type"] == b"text/event-stream"
        await world.publish(production=b"two")
        await world.look()
        await world.look()
        assert peer.text == "<one>!two"

    run(story)


def test_a_publish_that_changes_nothing_of_the_environment_tells_nobody(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        await world.publish(other=b"new")
        assert peer.text == "<one>"
        await world.publish(production=b"two")
        await world.publish(production=b"two", other=b"newer")
        assert peer.text == "<one>!two"

    run(story)


def test_a_client_that_has_another_state_is_told_at_once(run: Run) -> None:
    async def story(world: World) -> None:
        world.listener = world.listener._replace(known=b"one")
        assert (await world.open()).text == "<one>"
        world.listener = world.listener._replace(known=b"zero")
        assert (await world.open()).text == "<one>!one"

    run(story)


def test_a_client_that_says_nothing_is_told_of_a_publish_that_it_may_just_have_missed(run: Run) -> None:
    async def story(world: World) -> None:
        world.snapshot = Snapshot(2, production=b"two")  # no look has seen it yet
        before = await world.open()
        await world.look()
        assert before.text == "<two>!two"
        assert (await world.open()).text == "<two>!two"
        await world.look(RECENT_S)
        assert (await world.open()).text == "<two>"

    run(story)


def test_every_one_of_many_streams_is_told_by_one_look(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(3 * SLICE + 1)]
        await world.publish(production=b"two")
        await turns()
        assert {peer.text for peer in peers} == {"<one>!two"}

    run(story, stream_heartbeat_s=600)


def test_a_generation_that_comes_while_many_are_told_reaches_all_of_them(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(3 * SLICE)]
        world.snapshot = Snapshot(2, production=b"two")
        world.streams.look()
        await asyncio.sleep(0)  # the first slice
        await world.publish(production=b"three")
        await turns()
        assert {peer.text for peer in peers} <= {"<one>!two!three", "<one>!three"}

    run(story, stream_heartbeat_s=600)


def test_a_state_that_can_not_be_said_now_tells_nobody_and_ends_nothing(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        world.snapshot = Snapshot(2)
        world.snapshot.broken = True
        await world.look()
        assert (peer.text, peer.is_over) == ("<one>", False)
        await world.publish(production=b"two")
        assert peer.text == "<one>!two"

    run(story)


# -- when it ends


@pytest.mark.parametrize(
    "now", [None, record(kind="server"), record(environment="other"), record(dialects=("other",))]
)
def test_a_stream_ends_once_its_key_opens_nothing_or_something_else(run: Run, now: KeyRecord | None) -> None:
    async def story(world: World) -> None:
        peer, other = await world.open(), await world.open()
        world.snapshot = Snapshot(2, other=b"one")
        world.snapshot.holders = {} if now is None else {KEY: now}
        await world.look()
        assert peer.is_over
        assert other.is_over
        assert peer.text == "<one>"
        assert all(task.done() and task.exception() is None for task in world.tasks)

    run(story)


def test_a_stream_ends_when_its_address_does(run: Run) -> None:
    async def story(world: World) -> None:
        world.listener = world.listener._replace(ends_at=world.unix + 30)
        peer = await world.open()
        await world.look(29)
        assert not peer.is_over
        await world.look(15)
        assert peer.is_over

    run(story)


def test_all_streams_end_when_the_server_stops_and_no_other_begins(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(2 * SLICE)]
        world.services.draining = True
        world.streams.end_all()
        await turns()
        assert all(peer.is_over for peer in peers)
        assert len(world.streams) == 0
        late = await world.open()
        assert (late.status, late.headers[b"retry-after"]) == (503, b"1")

    run(story)


def test_a_peer_that_leaves_makes_room(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        assert len(world.streams) == 1
        peer.left.set()
        await turns()
        assert len(world.streams) == 0
        await world.publish(production=b"two")
        assert peer.text == "<one>"

    run(story)


# -- bounds


def test_a_peer_that_takes_nothing_has_one_piece_on_its_way_and_is_dropped_in_time(run: Run) -> None:
    async def story(world: World) -> None:
        peer, reads = await world.open(), await world.open()
        peer.reading.clear()
        for number in range(20):
            await world.publish(production=b"%d" % number)
        assert peer.text == "<one>!0"
        await world.look(16)
        assert len(world.streams) == 1
        assert peer.text == "<one>!0"
        await turns()
        assert reads.text.count("!") == 20

    run(story, write_timeout_s=10)


def test_a_peer_that_was_slow_is_told_the_latest_only(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        peer.reading.clear()
        for number in range(5):
            await world.publish(production=b"%d" % number)
        peer.reading.set()
        await turns()
        assert peer.text == "<one>!0!4"

    run(story)


def test_a_peer_that_does_not_even_take_the_end_is_dropped(run: Run) -> None:
    async def story(world: World) -> None:
        peer = await world.open()
        peer.reading.clear()
        world.snapshot = Snapshot(2)
        world.snapshot.holders = {}
        await world.look()
        assert len(world.streams) == 1
        await world.look(16)
        assert len(world.streams) == 0

    run(story, write_timeout_s=10)


def test_a_stream_that_its_server_takes_no_more_of_ends(run: Run) -> None:
    async def story(world: World) -> None:
        peer, other = await world.open(), await world.open()
        peer.full = True
        world.snapshot = Snapshot(2, production=b"two")
        await world.look()
        assert len(world.streams) == 1
        assert other.text == "<one>!two"

    run(story)


@pytest.mark.parametrize(("server", "most"), [({"streams_max": 3}, 3), ({"backpressure": 4}, 2)])
def test_no_more_than_the_setting_and_half_of_the_connections_stay_open(
    run: Run, server: dict[str, int], most: int
) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(most + 1)]
        assert [peer.status for peer in peers] == [200] * most + [503]
        assert peers[-1].headers[b"retry-after"] == b"10"
        peers[0].left.set()
        await turns()
        assert (await world.open()).status == 200

    run(story, **server)


def test_heartbeats_are_spread_over_their_interval(run: Run) -> None:
    async def story(world: World) -> None:
        peers = [await world.open() for _ in range(30)]
        counts = []
        for _ in range(10):
            before = sum(len(peer.sent) for peer in peers)
            await world.look(1.0)
            counts.append(sum(len(peer.sent) for peer in peers) - before)
        assert counts == [3] * 10
        assert all(peer.text == f"<one>{HEARTBEAT.decode()}" for peer in peers)

    run(story, stream_heartbeat_s=10)


def test_a_request_that_goes_on_sending_a_body_is_dropped(run: Run) -> None:
    async def story(world: World) -> None:
        peer = Peer()
        peer.messages = [{"type": "http.request", "body": b"x", "more_body": True}] * 1_000
        await world.open(peer=peer)
        assert len(world.streams) == 0
        assert len(peer.messages) > 900

    run(story)


# -- refusals


def test_what_opens_nothing_is_refused_in_the_dialect_s_shape(run: Run) -> None:
    async def story(world: World) -> None:
        world.refused = Fault(FaultKind.UNKNOWN_KEY, "no")
        assert (await world.open()).status == 401
        world.refused = None
        world.snapshot.broken = True
        assert (await world.open()).status == 503
        assert world.counters.seen == [("feather", "stream", 401), ("feather", "stream", 503)]

    run(story)


@pytest.mark.parametrize(
    ("members", "status"),
    [({"dialects": ("other",)}, 401), ({"scopes": ("x",)}, 403), ({"scopes": ("x", "listen")}, 200)],
)
def test_a_key_without_the_api_or_the_scope_opens_no_stream(
    run: Run, members: dict[str, Any], status: int
) -> None:
    async def story(world: World) -> None:
        world.listener = world.listener._replace(record=record(**members))
        assert (await world.open()).status == status

    run(story)


@pytest.mark.parametrize(("method", "status"), [("POST", 405), ("HEAD", 405), ("OPTIONS", 204)])
def test_a_stream_is_asked_with_get_only(run: Run, method: str, status: int) -> None:
    async def story(world: World) -> None:
        assert (await world.open(method)).status == status

    run(story)
