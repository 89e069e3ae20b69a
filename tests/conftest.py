"""What holds for a whole run. `--rounds full`: random tests take all their rounds (`tests/rounds.py`), and those
marked `heavy` run. `--interface rsgi`: every real server speaks that, where a test doesn't say otherwise. One NATS
server for all tests of a process that want one and leave it running.

Python keeps what it compiles, also where the environment says not to: the processes that tests start, hundreds of
servers and commands, compile the whole source anew otherwise (a demo server's start: 5.2 CPU seconds, not 1.8).

Hypothesis holds no example to a time: a machine that other work keeps busy is no fault of what is tested.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Generator, Iterator
from functools import cache
from typing import Any

import msgspec.inspect
import pytest
from hypothesis import HealthCheck, settings

from tests.crash.receivers import NatsServers, nats_servers
from tests.heap import settle
from tests.rounds import FULL, takes_rounds

settings.register_profile(
    "fanion", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("fanion")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--rounds", choices=["few", "full"], default="few", help="how many rounds tests of random cases take"
    )
    parser.addoption(
        "--interface", choices=["asgi", "rsgi"], help="the interface of servers that tests start"
    )


def pytest_configure(config: pytest.Config) -> None:
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if (interface := config.getoption("--interface")) is not None:
        os.environ["FANION_SERVER_INTERFACE"] = interface
    if config.getoption("--rounds") == "full":
        os.environ[FULL] = "1"


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    gc.disable()  # all that collecting makes stays
    try:
        return (yield)
    finally:
        settle()
        gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a good part of the time goes by in waiting for servers."""
    cores = len(os.sched_getaffinity(0))
    return cores + cores // 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A worker takes neighbours, which share a server, and once it is done a part of what another has left, unless
    `--dist` says otherwise."""
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log) if config.getoption("dist") == "load" else None


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = pytest.mark.skip(reason="heavy: runs by --rounds full, as in CI")
    taking = cache(takes_rounds)
    items.sort(key=lambda item: item.path.parts)  # workers collect in orders of their own, see below
    for item in items:
        if taking(getattr(item, "module", None)):
            item.add_marker("rounds")
        if config.getoption("--rounds") == "few" and item.get_closest_marker("heavy") is not None:
            item.add_marker(left_out)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Workers of a fresh clone compile every test once and not once each: each begins elsewhere."""
    report = yield
    given = getattr(collector.config, "workerinput", None)
    if given is not None and isinstance(collector, pytest.Dir) and report.result:
        begin = len(report.result) * int(given["workerid"][2:]) // given["workercount"]
        report.result = [*report.result[begin:], *report.result[:begin]]
    return report


@pytest.fixture(autouse=True)
def priority() -> Iterator[None]:
    """A test that lowers its own process's priority slows all after it, and hides that others lower theirs."""
    before = os.getpriority(os.PRIO_PROCESS, 0)
    yield
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.fixture(scope="session", autouse=True)
def patience() -> Iterator[None]:
    """Who connects to NATS gives up after two seconds, which a server on a busy machine may take."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fanion.nats.connection.CONNECT_TIMEOUT_S", 20.0)  # of one of several
        yield


@pytest.fixture(scope="session", autouse=True)
def types_told_once() -> Iterator[None]:
    """Tests make an application for each request, whose structs msgspec would look through for 4 ms each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("msgspec.inspect.type_info", cache(msgspec.inspect.type_info))
        yield


@pytest.fixture(scope="session")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    pytest.importorskip("nats")
    with nats_servers(tmp_path_factory.mktemp("nats")) as servers:
        yield servers
