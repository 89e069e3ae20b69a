"""Bodies that a request in the lane waits for: late ones, those that never come, and who is told of the wait."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import partial
from types import SimpleNamespace

import pytest

from fanion.config import Limits
from fanion.http.request import WATCH_INTERVAL_S, BodyWatch
from fanion.process.heads import ports_served
from fanion.process.lane import LOOKS_MAX, LaneLoop, hand_over
from tests.unit.lane_world import WAIT_S, Body, Server, open_lane


@pytest.fixture
def lane_loop() -> Iterator[LaneLoop]:
    """Whose lane is open. Tests run it by `run_until_complete`."""
    with open_lane() as loop:
        yield loop


def test_a_body_that_takes_long_is_waited_for_by_a_task(lane_loop: LaneLoop) -> None:
    server, body, waiting, seen = Server(lane_loop), Body(lane_loop, b"late"), {}, []

    async def request() -> None:
        seen.append(await body)  # type: ignore[misc]
        seen.append(asyncio.current_task())

    async def main() -> None:
        await server.in_thread(lambda: server.ask(request()))
        for _ in range(LOOKS_MAX):
            assert not server.tasks
            hand_over(lane_loop.lane, waiting, 5.0, False)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        (task,) = server.tasks
        while not waiting:
            await asyncio.sleep(0)
        assert waiting == {task: 5.0}
        await server.in_thread(body.come)
        await task
        assert seen == [b"late", task]
        assert not waiting

    lane_loop.run_until_complete(main())


@pytest.mark.parametrize("by", ["watch", "stop"])
def test_a_body_that_does_not_come_is_cancelled_as_in_any_task(lane_loop: LaneLoop, by: str) -> None:
    server, body, seen = Server(lane_loop), Body(lane_loop), []
    limits = Limits(body_chunk_timeout_s=0.2 if by == "watch" else WAIT_S)

    async def request() -> None:
        try:
            await body  # type: ignore[misc]
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            assert task in watch.overdue
            task.uncancel()
            seen.append("overdue")

    async def main() -> None:
        if by == "watch":
            watch.start()
        await server.in_thread(lambda: server.ask(request()))
        if by == "stop":
            watch.expire_all()
        async with asyncio.timeout(WAIT_S):
            while not seen:
                await asyncio.sleep(WATCH_INTERVAL_S / 10)
        watch.stop()
        assert not watch.waiting
        body.over = True
        await server.in_thread(body.cancel)  # the server finds out later

    watch = BodyWatch(lane_loop, limits, partial(hand_over, lane_loop.lane))
    lane_loop.run_until_complete(main())
    assert seen == ["overdue"]


def test_a_body_that_comes_once_the_lane_is_closed_wakes_nobody(lane_loop: LaneLoop) -> None:
    server, body, seen = Server(lane_loop), Body(lane_loop), []

    async def request() -> None:
        seen.append(await body)  # type: ignore[misc]

    async def main() -> None:
        await server.in_thread(lambda: server.ask(request()))
        lane_loop.lane.open = False
        await server.in_thread(body.come)

    lane_loop.run_until_complete(main())
    assert not seen


def test_debug_mode_lets_threads_have_their_turn(lane_loop: LaneLoop) -> None:
    server, body, waiting = Server(lane_loop), Body(lane_loop, b"late"), {}

    async def request() -> None:
        lane_loop.call_soon(seen.set)
        await body  # type: ignore[misc]

    async def main() -> None:
        await server.in_thread(lambda: server.ask(request()))
        await seen.wait()
        hand_over(lane_loop.lane, waiting, 0.0, True)
        while not waiting:
            await asyncio.sleep(0)
        await server.in_thread(body.come)
        await server.tasks[0]

    seen = asyncio.Event()
    lane_loop.set_debug(True)
    lane_loop.run_until_complete(asyncio.wait_for(main(), WAIT_S))


def test_a_connection_whose_request_is_of_the_lane_is_served(lane_loop: LaneLoop) -> None:
    """Else it would be ended for a head that doesn't come (`process.heads`)."""
    server, body, waiting = Server(lane_loop), Body(lane_loop), {}
    futures: list[asyncio.Future[None]] = []

    async def request(scope: SimpleNamespace, future: asyncio.Future[None]) -> None:
        await body  # type: ignore[misc]
        await future

    async def ports(*numbers: int) -> None:
        assert await ports_served(lane_loop) == {None, *numbers}

    async def main() -> None:
        futures.extend(lane_loop.create_future() for _ in range(3))
        for number, future in enumerate(futures[:2]):
            asked = request(SimpleNamespace(client=f"127.0.0.1:{number + 1}"), future)
            await server.in_thread(partial(server.ask, asked))
            await ports(*range(1, number + 2))
            if not number:
                hand_over(lane_loop.lane, waiting, 0.0, True)
                while not waiting:
                    await asyncio.sleep(0)
                await ports(1)
                await server.in_thread(body.come)
                while waiting:
                    await asyncio.sleep(0)
        await ports(1, 2)
        assert len(lane_loop.lane.steps) == 1
        assert hand_over(lane_loop.lane, waiting, 0.0, True) == 0
        for future in futures:
            future.set_result(None)
        while lane_loop.lane.steps or not server.tasks[0].done():
            await asyncio.sleep(0)
        await ports()

    lane_loop.run_until_complete(asyncio.wait_for(main(), WAIT_S))
