"""The lane: coroutines stepped in the HTTP server's threads, one thread at a time; tasks where there is a need."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable, Generator, Iterator
from types import CoroutineType, SimpleNamespace
from typing import Any

import pytest
from granian import _futures

from fanion._core.lane import Out, Turn
from fanion.process.lane import LaneLoop
from tests.unit.lane_world import WAIT_S, Body, Server, open_lane


@pytest.fixture
def lane_loop() -> Iterator[LaneLoop]:
    """Whose lane is open. Tests run it by `run_until_complete`."""
    with open_lane() as loop:
        yield loop


def test_one_thread_at_a_time_has_the_turn() -> None:
    turn, inside, most, done = Turn(), 0, 0, []

    def work() -> None:
        nonlocal inside, most
        for _ in range(500):
            turn.take()
            inside += 1
            most = max(most, inside)
            time.sleep(0)  # lets go of the interpreter
            inside -= 1
            turn.give()
        done.append(True)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert len(done) == 4
    assert most == 1


def test_who_came_first_has_the_turn_first() -> None:
    turn, came, had = Turn(), [], []
    turn.take()

    def work(number: int) -> None:
        came.append(number)
        turn.take()
        had.append(number)
        turn.give()

    threads = []
    for number in range(8):
        threads.append(threading.Thread(target=work, args=(number,), daemon=True))
        threads[-1].start()
        deadline = time.monotonic() + WAIT_S
        while turn.waiters < number + 1:
            assert time.monotonic() < deadline
            time.sleep(0.001)
    turn.give()
    for thread in threads:
        thread.join(WAIT_S)
    assert had == came == list(range(8))


def test_a_request_runs_in_the_thread_that_hands_it_over(lane_loop: LaneLoop) -> None:
    server, body, seen = Server(lane_loop), Body(lane_loop, b"body"), []

    async def request() -> None:
        seen.append((threading.get_ident(), lane_loop.lane.inside, asyncio.current_task(lane_loop)))
        got = await body  # type: ignore[misc]
        seen.append((threading.get_ident(), lane_loop.lane.inside, got))

    async def main() -> None:
        def work() -> int:
            server.ask(request())
            body.come()
            return threading.get_ident()

        thread = await server.in_thread(work)
        assert seen == [(thread, True, None), (thread, True, b"body")]
        assert not lane_loop.lane.inside
        assert not lane_loop.lane.steps

    lane_loop.run_until_complete(main())
    assert not server.tasks


def test_a_closed_lane_leaves_requests_to_tasks(lane_loop: LaneLoop) -> None:
    lane_loop.lane.open = False
    server, seen = Server(lane_loop), []

    async def request() -> None:
        seen.append((threading.get_ident(), asyncio.current_task()))

    async def main() -> None:
        await server.in_thread(lambda: server.ask(request()))
        await asyncio.gather(*server.tasks)
        assert seen == [(threading.get_ident(), server.tasks[0])]

    lane_loop.run_until_complete(main())


def test_out_of_the_lane_it_is_a_task(lane_loop: LaneLoop) -> None:
    server, seen = Server(lane_loop), []

    async def request() -> None:
        assert lane_loop.lane.inside
        await Out()
        seen.append((threading.get_ident(), lane_loop.lane.inside))
        async with asyncio.timeout(WAIT_S):
            await asyncio.sleep(0)

    async def main() -> None:
        await server.in_thread(lambda: server.ask(request()))
        while not server.tasks:
            await asyncio.sleep(0)
        await server.tasks[0]
        assert seen == [(threading.get_ident(), False)]

    lane_loop.run_until_complete(main())


def test_whose_turn_it_is_may_hand_over_requests_too(lane_loop: LaneLoop) -> None:
    server, seen = Server(lane_loop), []

    async def request() -> None:
        seen.append(lane_loop.lane.inside)

    async def asking() -> None:
        server.ask(request())
        assert not seen

    async def main() -> None:
        await asking()  # the loop
        await server.in_thread(lambda: server.ask(asking()))  # a request
        while len(server.tasks) < 2:
            await asyncio.sleep(0)
        await asyncio.gather(*server.tasks)
        assert seen == [False, False]

    lane_loop.run_until_complete(main())


def test_a_future_of_the_loop_is_awaited_in_the_lane(lane_loop: LaneLoop) -> None:
    server, done, seen = Server(lane_loop), threading.Event(), []
    future: asyncio.Future[int] = lane_loop.create_future()

    async def request() -> None:
        seen.append(await future)
        seen.append(lane_loop.lane.inside)
        done.set()

    async def main() -> None:
        await server.in_thread(lambda: server.ask(request()))
        (step,) = lane_loop.lane.steps
        assert not step.body
        future.set_result(7)
        await server.in_thread(lambda: done.wait(WAIT_S))
        assert seen == [7, True]

    lane_loop.run_until_complete(main())
    assert not server.tasks


def test_what_a_request_has_the_loop_do_is_done_though_the_loop_waits(lane_loop: LaneLoop) -> None:
    server, told = Server(lane_loop), threading.Event()

    async def main(arm: Callable[[], object]) -> None:
        async def request() -> None:
            arm()

        await server.in_thread(lambda: (server.ask(request()), told.wait(WAIT_S)))
        assert told.is_set()

    async def later() -> None:
        told.set()

    for arm in (
        lambda: lane_loop.call_soon(told.set),
        lambda: lane_loop.call_later(0.01, told.set),
        lambda: asyncio.create_task(later()),  # which asks for the running loop
    ):
        told.clear()
        lane_loop.run_until_complete(main(arm))


def test_a_loop_that_waits_is_woken_once_and_one_that_does_not_never(lane_loop: LaneLoop) -> None:
    lane, server, woken = lane_loop.lane, Server(lane_loop), []
    began, over = threading.Event(), threading.Event()

    async def request() -> None:
        await Out()

    def select(timeout: float | None) -> bool:
        began.set()
        return over.wait(WAIT_S)

    def wait() -> None:
        lane.turn.take()
        lane.wait(select, None)
        lane.turn.give()

    def ask() -> None:
        assert began.wait(WAIT_S)
        for _ in range(3):
            server.ask(request())
        assert len(woken) == 1
        over.set()
        waiting.join(WAIT_S)
        assert not waiting.is_alive()
        server.ask(request())

    waiting = threading.Thread(target=wait, daemon=True)
    asking = threading.Thread(target=ask, daemon=True)  # whoever steps has the loop for its running one
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lane_loop, "_write_to_self", lambda: woken.append(True))
        waiting.start()
        asking.start()
        asking.join(2 * WAIT_S)
        assert not asking.is_alive()
    assert len(woken) == 1

    async def main() -> None:
        while len(server.tasks) < 4:
            await asyncio.sleep(0)
        await asyncio.gather(*server.tasks)

    lane_loop.run_until_complete(asyncio.wait_for(main(), WAIT_S))


def test_the_loop_and_requests_never_run_at_once(lane_loop: LaneLoop) -> None:
    server, inside, most, answered = Server(lane_loop), 0, 0, 0

    def both() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0)
        inside -= 1

    async def request() -> None:
        nonlocal answered
        both()
        answered += 1

    async def main() -> None:
        def work() -> None:
            for _ in range(1_000):
                server.ask(request())

        working = [server.in_thread(work) for _ in range(3)]
        while not all(one.done() for one in working):
            both()
            await asyncio.sleep(0)

    lane_loop.run_until_complete(main())
    assert (answered, most) == (3_000, 1)


def test_the_loop_gets_its_turn_beside_threads_that_never_pause(lane_loop: LaneLoop) -> None:
    server, over = Server(lane_loop), False

    async def request() -> None:
        pass

    async def main() -> None:
        nonlocal over

        def work() -> None:
            while not over:
                server.ask(request())

        working = [server.in_thread(work) for _ in range(2)]
        for _ in range(200):
            await asyncio.sleep(0.0001)
        over = True
        await asyncio.gather(*working)

    lane_loop.run_until_complete(asyncio.wait_for(main(), WAIT_S))


class Stranger:
    """Awaits what is no future."""

    def __await__(self) -> Generator[int]:
        yield 1


class Broken(Body):
    def add_done_callback(
        self, callback: Callable[..., object], *, context: contextvars.Context | None = None
    ) -> None:
        raise MemoryError


@pytest.mark.parametrize("kind", [KeyError, AttributeError, MemoryError])
def test_a_request_that_cannot_be_stepped_ends_alone(lane_loop: LaneLoop, kind: type[Exception]) -> None:
    """Granian lets the thread's next request have what is raised."""
    server, ended, seen, told = Server(lane_loop), [], [], []

    async def raising() -> None:
        try:
            if kind is KeyError:
                raise KeyError("x")
            await (Stranger() if kind is AttributeError else Broken(lane_loop))
        finally:
            ended.append(True)

    async def request() -> None:
        seen.append(True)

    async def main() -> None:
        def work() -> None:
            server.ask(raising())
            assert ended == [True]
            server.ask(request())

        await server.in_thread(work)

    lane_loop.set_exception_handler(lambda loop, context: told.append(type(context["exception"])))
    lane_loop.run_until_complete(main())
    assert seen == [True]
    assert told == [kind]
    assert not lane_loop.lane.inside
    assert not lane_loop.lane.steps


def test_the_http_server_hands_requests_over_as_the_lane_takes_them() -> None:
    """Else each would be a task of a loop that is none of the quickest, without a word."""
    handed: list[tuple[Any, ...]] = []
    watcher = SimpleNamespace(scope=None, proto=None)

    def call_soon_threadsafe(callback: object, *args: Any, context: object) -> None:
        handed.append(args)

    async def request(scope: object, proto: object) -> None:
        pass

    loop = SimpleNamespace(call_soon_threadsafe=call_soon_threadsafe)
    _futures._cbsched_aioschedule(loop, None, _futures._future_watcher_wrapper(request))(watcher)
    ((coroutine, *rest),) = handed
    assert isinstance(coroutine, CoroutineType)
    assert rest == [watcher]
    coroutine.close()
