"""A store that is damaged under a running server: named, put right from its copy, and no worker stays behind."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.server import OTHER_KEY, Running, wait_until

STORE = Path("store", "data.mdb")


def bend_bundle(data: Path, environment: bytes) -> None:
    """One bit of every bundle that names the environment, on disk and so in every worker's map."""
    found = (data / STORE).read_bytes()
    bent = 0
    for match in re.finditer(rb"\x89FANION\n", found):
        size = int.from_bytes(found[match.start() + 16 : match.start() + 24], "little")
        if environment in found[match.start() : match.start() + size]:
            at = match.start() + size * 2 // 3
            with (data / STORE).open("r+b") as file:
                file.seek(at)
                file.write(bytes([found[at] ^ 4]))
            bent += 1
    assert bent


def status(running: Running, **more: str) -> int:
    return running.ask("POST", "/v1/evaluate", {"flagKey": "plain", "context": {}}, **more).status


@pytest.mark.heavy
@pytest.mark.parametrize("kill", [False, True])
def test_bundle_that_no_worker_can_read_is_put_right_from_the_copy(
    data: Path, serve: Callable[..., Running], kill: bool
) -> None:
    running = serve("--workers", "2", "--ack", "buffered", data=data)
    before = running.workers()
    bend_bundle(data, b"env_e2e")
    wait_until(lambda: status(running) == 503)
    if kill:
        os.kill(before[0], signal.SIGKILL)
    wait_until(lambda: not set(before) & set(running.workers()) and running.takes_events())
    assert {status(running) for _ in range(20)} == {200}
    assert status(running, key=OTHER_KEY) == 200
    assert len(list((data / "store").glob("damaged-*"))) == 1
    assert running.operations("/readyz").json()["workers"][0]["generation"] == 2


@pytest.mark.parametrize(
    "size", [pytest.param(0, marks=pytest.mark.heavy), 5_000, pytest.param(40_000, marks=pytest.mark.heavy)]
)
def test_server_starts_on_the_copy_of_a_store_that_was_cut_off(
    data: Path, serve: Callable[..., Running], size: int
) -> None:
    os.truncate(data / STORE, size)
    running = serve("--workers", "1", "--ack", "buffered", data=data)
    assert status(running) == 200
    assert "the store was damaged" in running.output[0]
    assert (data / STORE).stat().st_size > size


@pytest.mark.heavy
def test_bundle_that_has_no_whole_copy_makes_its_workers_not_ready_and_others_are_served(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "1", "--ack", "buffered", data=data)
    before = running.workers()
    os.truncate(data / "store" / "copy" / "data.mdb", 20_000)
    bend_bundle(data, b"env_e2e")
    wait_until(lambda: status(running) == 503)
    wait_until(lambda: "can't be healed" in running.log.read_text())
    ready = running.operations("/readyz")
    assert ready.status == 503
    assert "no bundle of environment env_e2e verifies" in ready.json()["reasons"][0]
    assert {status(running) for _ in range(30)} == {503}
    assert status(running, key=OTHER_KEY) == 200
    assert running.workers() == before
