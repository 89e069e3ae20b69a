"""How many threads of the HTTP server a worker has, and how many connections each of its runtimes counts."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import pytest

from fanion.config import Server
from fanion.process import supervisor
from fanion.process.runtimes import Runtimes, runtimes_of
from fanion.process.supervisor import Supervisor
from fanion.telemetry.heartbeats import Heartbeats


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 1, 2), (2, 2, 2), (3, 2, 2), (1, 2, 1), (2, 3, 1), (15, 16, 1)]
)
def test_two_threads_where_workers_have_no_core_to_spare(workers: int, cores: int, threads: int) -> None:
    found = runtimes_of(Server(interface="asgi"), workers, cores)
    assert found.threads == threads
    assert found.mode == ("mt" if threads == 1 else "st")
    assert found.connections * (threads if found.mode == "st" else 1) == Server().backpressure


@pytest.mark.parametrize(("workers", "cores"), [(1, 1), (2, 2), (3, 2), (1, 2)])
def test_one_thread_by_rsgi_whatever_the_cores(workers: int, cores: int) -> None:
    found = runtimes_of(Server(interface="rsgi"), workers, cores)
    assert found == Runtimes("st", 1, Server().backpressure)


@pytest.mark.parametrize("cores", [1, 2, 3])
@pytest.mark.parametrize(
    ("set_", "interface", "found"),
    [
        (("auto", 1), "asgi", ("mt", 1)),
        (("auto", 1), "rsgi", ("st", 1)),
        (("auto", 3), "asgi", ("st", 3)),
        (("auto", 3), "rsgi", ("st", 3)),
        (("mt", 1), "rsgi", ("mt", 1)),
        (("mt", 2), "asgi", ("mt", 2)),
        (("st", 1), "asgi", ("st", 1)),
        (("st", 64), "asgi", ("st", 64)),
    ],
)
def test_what_is_set_is_taken_whatever_the_cores(
    set_: tuple[Any, int], interface: Any, found: tuple[str, int], cores: int
) -> None:
    settings = Server(interface=interface, runtime_mode=set_[0], runtime_threads=set_[1])
    assert runtimes_of(settings, 2, cores)[:2] == found


@pytest.mark.parametrize(
    ("mode", "cores", "threads"), [("mt", 1, 2), ("mt", 2, 1), ("st", 1, 2), ("st", 2, 1)]
)
def test_a_mode_that_is_set_leaves_the_number_of_threads_to_the_cores(
    mode: Any, cores: int, threads: int
) -> None:
    assert runtimes_of(Server(runtime_mode=mode), 1, cores)[:2] == (mode, threads)


@pytest.mark.parametrize(
    ("backpressure", "mode", "threads", "found"),
    [
        (40, "st", 2, ("st", 2, 20)),
        (41, "st", 2, ("st", 2, 20)),
        (2, "st", 2, ("st", 2, 1)),
        (1, "st", 2, ("st", 1, 1)),
        (3, "st", 64, ("st", 3, 1)),
        (1, "auto", 0, ("st", 1, 1)),
        (1, "mt", 2, ("mt", 2, 1)),
        (41, "mt", 2, ("mt", 2, 41)),
    ],
)
def test_all_runtimes_together_take_no_more_connections_than_a_worker_may(
    backpressure: int, mode: Any, threads: int, found: Runtimes
) -> None:
    settings = Server(backpressure=backpressure, runtime_mode=mode, runtime_threads=threads)
    assert runtimes_of(settings, 1, 1) == found


class ToldError(Exception):
    """Where workers would be started."""


@pytest.mark.parametrize(("set_", "threads", "warned"), [(0, 2, False), (1, 1, False), (2, 2, True)])
def test_who_set_nothing_is_not_warned_of_two_threads_on_a_machine_of_one_core(
    monkeypatch: pytest.MonkeyPatch, set_: int, threads: int, warned: bool
) -> None:
    said: list[str] = []
    # What a supervisor sets for its whole process would outlive the test.
    monkeypatch.setattr(multiprocessing, "set_start_method", lambda *_, **__: None)
    monkeypatch.setattr("granian.server.common.configure_logging", lambda *_: None)
    monkeypatch.setattr(multiprocessing, "cpu_count", lambda: 1)
    monkeypatch.setattr(supervisor, "cores_to_run_on", lambda: 1)
    monkeypatch.setattr("granian.server.common.logger.warning", said.append)

    def start(*_: object) -> None:
        raise ToldError

    def serve(self: Supervisor, *targets: Callable[..., Any]) -> None:
        self._spawn_workers(*targets)

    monkeypatch.setattr(Supervisor, "_serve", serve)
    monkeypatch.setattr(Supervisor, "_start_worker", start)
    made = Supervisor(
        Server(runtime_threads=set_),
        host="127.0.0.1",
        port=0,
        workers=1,
        log_level="warning",
        make_application=lambda place: None,
        on_ready=lambda: None,
        heartbeats=Heartbeats(1),
    )
    with pytest.raises(ToldError):
        made.run()
    assert (made.runtime_threads, made.runtime_mode) == (threads, "st" if threads == 2 else "mt")
    assert any("Rust threads" in line for line in said) == warned
