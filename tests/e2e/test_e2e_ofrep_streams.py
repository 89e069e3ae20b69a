"""OFREP's event streams against a real server, row by row of docs/apis/ofrep.md: Event streams."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.store.list_writer import ListWriter
from fanion.store.store import Store
from tests.e2e.ofrep_streams import (
    CLIENT,
    OTHER,
    SERVER,
    Follower,
    address,
    fetch,
    revoke_server_key,
    write_world,
)
from tests.e2e.server import Running, publish, wait_until

Serve = Callable[..., Running]
STREAMS = 16
"""So many that each of two workers has some."""


@pytest.fixture
def follow() -> Iterator[Callable[..., Follower]]:
    opened: list[Follower] = []

    def start(running: Running, uri: str, last_id: str | None = None) -> Follower:
        opened.append(Follower(running, uri, last_id))
        if opened[-1].answer.status == 200:
            assert opened[-1].greeted.wait(120)
        return opened[-1]

    yield start
    for one in opened:
        one.close()


Follow = Callable[..., Follower]


def open_streams(running: Running) -> int:
    text = running.operations("/metrics").body.decode()
    found = re.search(r"^fanion_http_streams (\d+)", text, re.MULTILINE)
    assert found is not None
    return int(found.group(1))


def begin(folder: Path, serve: Serve, workers: int = 2, environment: dict[str, str] | None = None) -> Running:
    publish(folder / "data", write_world(folder))
    return serve("--workers", str(workers), data=folder / "data", environment=environment)


def test_a_publish_is_told_once_by_every_worker_and_to_its_environment_only(
    tmp_path: Path, serve: Serve, follow: Follow
) -> None:
    running = begin(tmp_path, serve)
    uri, other = address(running), address(running, OTHER)
    assert uri == address(running), "one key, one address"
    followers = [follow(running, uri) for _ in range(STREAMS)]
    elsewhere = [follow(running, other) for _ in range(STREAMS)]
    assert {one.answer.getheader("access-control-allow-origin") for one in followers} == {"*"}
    states = {one.last_id for one in followers}
    assert len(states) == 1, "workers agree on the state"
    publish(tmp_path / "data", write_world(tmp_path, "second"))
    wait_until(lambda: all(one.events for one in followers))
    told = {(id, data["type"], data["etag"]) for one in followers for id, data in one.events}
    ((new, kind, etag),) = told
    assert (kind, etag) == ("refetchEvaluation", new)
    assert new not in states
    publish(tmp_path / "data", write_world(tmp_path, "second", "second"))
    wait_until(lambda: all(one.events for one in elsewhere))
    assert {len(one.events) for one in (*followers, *elsewhere)} == {1}
    assert fetch(running)[2]["flags"][0]["value"] == "second"


def test_members_of_a_list_are_told_of_too(tmp_path: Path, serve: Serve, follow: Follow) -> None:
    world = Path(__file__).parents[1] / "golden" / "ofrep" / "world.yaml"
    publish(tmp_path / "data", world)
    running = serve("--workers", "1", data=tmp_path / "data")
    follower = follow(running, address(running, "ofrep_client_key"))
    publish(tmp_path / "data", world)  # nothing of it is new
    with Store.open(tmp_path / "data", write=True) as store:
        ListWriter(store.transactions).remove("env_ofrep", "org_ofrep/shop/beta/include", [b"user-beta"])
    wait_until(lambda: follower.events)
    assert len(follower.events) == 1


@pytest.mark.heavy
def test_what_was_missed_is_told_at_once_by_whichever_worker_and_after_a_restart(
    tmp_path: Path, serve: Serve, follow: Follow
) -> None:
    running = begin(tmp_path, serve)
    uri = address(running)
    first = follow(running, uri)
    first.close()
    publish(tmp_path / "data", write_world(tmp_path, "second"))
    for _ in range(STREAMS):
        again = follow(running, uri, first.last_id)
        wait_until(lambda one=again: one.events)
        assert again.events[0][0] == again.last_id != first.last_id
    running.stop()
    running = serve("--workers", "1", data=tmp_path / "data")
    assert address(running) == uri
    missed, knows = follow(running, uri, first.last_id), follow(running, uri, again.last_id)
    wait_until(lambda: missed.events)
    assert knows.events == []


def test_a_revoked_key_s_streams_end_and_its_address_opens_nothing(
    tmp_path: Path, serve: Serve, follow: Follow
) -> None:
    running = begin(tmp_path, serve)
    uri, other = address(running, SERVER), address(running)
    followers, stays = [follow(running, uri) for _ in range(STREAMS)], follow(running, other)
    revoke_server_key(tmp_path / "data")
    wait_until(lambda: all(one.ended_whole is not None for one in followers))
    assert all(one.ended_whole for one in followers)
    assert stays.ended_whole is None
    assert follow(running, uri).answer.status == 401
    assert fetch(running, SERVER)[0] == 401


@pytest.mark.heavy
def test_an_address_and_its_stream_expire_and_the_client_is_given_another(
    tmp_path: Path, serve: Serve, follow: Follow
) -> None:
    settings = {"FANION_OFREP_STREAM_ADDRESS_S": "1.5", "FANION_SERVER_STREAM_HEARTBEAT_S": "0.2"}
    running = begin(tmp_path, serve, environment=settings)
    _, headers, body = fetch(running)
    uri = body["eventStreams"][0]["endpoint"]["requestUri"]
    follower = follow(running, uri)
    wait_until(lambda: follower.ended_whole)
    assert follower.heartbeats > 1
    wait_until(lambda: follow(running, uri).answer.status == 401)
    status, _, body = fetch(running, if_none_match=headers["etag"])
    assert status == 200, "a 304 would leave the client with an address that opens nothing"
    assert follow(running, body["eventStreams"][0]["endpoint"]["requestUri"]).answer.status == 200


@pytest.mark.heavy
def test_a_stop_ends_every_stream_as_http_has_it(tmp_path: Path, serve: Serve, follow: Follow) -> None:
    running = begin(tmp_path, serve)
    uri = address(running)
    followers = [follow(running, uri) for _ in range(4 * STREAMS)]
    assert all(1_000 <= one.retry_ms <= 5_000 for one in followers)
    assert running.stop() == 0
    wait_until(lambda: all(one.ended_whole is not None for one in followers))
    assert all(one.ended_whole for one in followers)
    assert "cut" not in running.log.read_text()


@pytest.mark.heavy
def test_a_worker_that_is_replaced_leaves_its_clients_to_the_others(
    tmp_path: Path, serve: Serve, follow: Follow
) -> None:
    running = begin(tmp_path, serve)
    uri = address(running)
    followers = [follow(running, uri) for _ in range(STREAMS)]
    os.kill(running.workers()[0], 9)
    wait_until(lambda: any(one.ended_whole is not None for one in followers))
    back = []
    for one in [one for one in followers if one.ended_whole is not None]:
        with contextlib.suppress(OSError):
            back.append(follow(running, uri, one.last_id))
    publish(tmp_path / "data", write_world(tmp_path, "second"))
    wait_until(lambda: all(one.events for one in back if one.ended_whole is None))
    wait_until(lambda: all(one.events for one in followers if one.ended_whole is None))
    assert any(one.ended_whole is None for one in followers)


def test_no_more_streams_than_the_setting_and_room_again_once_one_is_left(
    tmp_path: Path, serve: Serve, follow: Follow
) -> None:
    running = begin(tmp_path, serve, 1, {"FANION_SERVER_STREAMS_MAX": "3"})
    uri = address(running)
    taken = [follow(running, uri) for _ in range(3)]
    refused = follow(running, uri)
    assert refused.answer.status == 503
    assert int(refused.answer.getheader("retry-after") or 0) >= 1
    assert refused.answer.getheader("content-type") == "application/json"
    assert fetch(running)[0] == 200, "flags are answered"
    taken[0].close()

    def again() -> bool:
        return bool(follow(running, uri).answer.status == 200)

    wait_until(again)


def test_none_is_named_where_none_is_taken(tmp_path: Path, serve: Serve) -> None:
    running = begin(tmp_path, serve, 1, {"FANION_SERVER_STREAMS_MAX": "0"})
    assert "eventStreams" not in fetch(running)[2]


@pytest.mark.heavy
def test_a_client_that_reads_nothing_is_dropped(tmp_path: Path, serve: Serve, follow: Follow) -> None:
    """Its window is full after some messages; a peer that takes nothing is reset."""
    settings = {"FANION_SERVER_WRITE_TIMEOUT_S": "1", "FANION_SERVER_STREAM_HEARTBEAT_S": "0.1"}
    running = begin(tmp_path, serve, 1, settings)
    uri = address(running)
    reads = follow(running, uri)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        connection.connect(("127.0.0.1", running.port))
        connection.sendall(f"GET {uri} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        wait_until(lambda: open_streams(running) == 2)
        numbers = iter(range(10_000))

        def dropped() -> bool:
            publish(tmp_path / "data", write_world(tmp_path, f"value {next(numbers)}"))
            return open_streams(running) == 1

        wait_until(dropped)
    assert reads.ended_whole is None
    assert reads.heartbeats > 0


# -- the published provider of browsers


def test_the_published_web_provider_follows_a_publish_without_polling(
    tmp_path: Path, serve: Serve, node_modules: str
) -> None:
    running = begin(tmp_path, serve)
    with subprocess.Popen(
        [
            "node",
            str(Path(__file__).with_name("ofrep_web_client.mjs")),
            f"http://127.0.0.1:{running.port}",
            CLIENT,
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "NODE_MODULES": node_modules},
        text=True,
    ) as client:
        assert client.stdout is not None
        said: Any = client.stdout.readline
        try:
            assert said() == "first\n"
            wait_until(lambda: open_streams(running) == 1)
            for value in ("second", "third"):
                publish(tmp_path / "data", write_world(tmp_path, value))
                assert said() == f"{value}\n"
        finally:
            client.terminate()
