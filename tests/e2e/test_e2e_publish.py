"""What a publish, a revocation and a rollback do to a running server: seen at once, by all, and never half."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fanion.store.publication import Publication
from fanion.store.store import Store
from tests.e2e.server import OTHER_KEY, SERVER_KEY, WORLD, Running, publish, run, wait_until

CONNECTIONS = 40
"""So many that the kernel gives each of two workers some: they fail to, once in 2**39 runs."""


SMALL = {
    "FANION_JOURNAL_EVENT_IDS": "65536",
    "FANION_JOURNAL_USED_TRACES": "65536",
    "FANION_JOURNAL_SEGMENT_BYTES": str(4 << 20),
}
"""Windows and segments of a size to copy: by default they have 5 GB, nearly all of it holes, which a copy fills."""


def world_with(directory: Path, **flags: Any) -> Path:
    """The world with some numeric flags of these values added."""
    lines = "".join(
        f"          {name}: {{type: number, default_value: {value}}}\n" for name, value in flags.items()
    )
    path = directory / "world.yaml"
    path.write_text(WORLD.read_text().replace("        flags:\n", "        flags:\n" + lines, 1))
    return path


@pytest.fixture
def running(data: Path, serve: Callable[..., Running]) -> Running:
    return serve("--workers", "2", "--ack", "buffered", data=data, environment=SMALL)


@contextlib.contextmanager
def connections(server: Running) -> Iterator[list[http.client.HTTPConnection]]:
    """Kept-alive connections, some to each worker."""
    opened = [http.client.HTTPConnection("127.0.0.1", server.port, timeout=100) for _ in range(CONNECTIONS)]
    try:
        for connection in opened:
            server.ask_on(connection, "GET", "/v1/sdk/context")
        yield opened
    finally:
        for connection in opened:
            connection.close()


def test_a_publish_is_seen_by_every_worker_in_its_next_answer(
    running: Running, data: Path, tmp_path: Path
) -> None:
    with connections(running) as opened:
        for value in (1, 2, 3):
            publish(data, world_with(tmp_path, probe=value))
            seen = set()
            for connection in opened:
                body = {"flags": ["probe"], "context": {}}
                answer = running.ask_on(connection, "POST", "/v1/evaluate/bulk", body)
                seen.add(answer.json()["results"]["probe"]["value"])
            assert seen == {value}


@pytest.mark.heavy
def test_publishing_under_load_fails_no_request_and_mixes_no_generations(
    running: Running, data: Path, tmp_path: Path
) -> None:
    publish(data, world_with(tmp_path, left=0, right=0))
    stop = threading.Event()
    answers: list[tuple[int, Any, Any]] = []
    broken: list[BaseException] = []

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=100)
        try:
            while not stop.is_set():
                body = {"flags": ["left", "right"], "context": {"userId": "u"}}
                answer = running.ask_on(connection, "POST", "/v1/evaluate/bulk", body)
                results = answer.json()["results"]
                answers.append((answer.status, results["left"]["value"], results["right"]["value"]))
        except BaseException as error:
            broken.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for value in range(1, 16):
            publish(data, world_with(tmp_path, left=value, right=value))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not broken
    assert {status for status, _, _ in answers} == {200}
    assert all(left == right for _, left, right in answers)
    assert len({left for _, left, _ in answers}) > 1


@pytest.mark.heavy
def test_without_a_bundle_that_verifies_every_requested_flag_is_an_error(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "2", data=data)
    with Store.open(data, write=True) as store:
        keys = {key.hash: key.record for key in store.stored_keys() if key.record.environment == "env_e2e"}
        for _ in range(2):  # also the previous generation's, which a worker falls back to
            store.publish(Publication(bundles={"env_e2e": b"FANION" + bytes(1_000)}, keys=keys))
    context = {"context": {}}
    one = running.ask("POST", "/v1/evaluate", {"flagKey": "plain", **context})
    assert (one.status, one.json()["flagKey"], one.json()["value"]) == (503, "plain", None)
    assert one.json()["reason"] == "ERROR"
    many = running.ask("POST", "/v1/evaluate/bulk", {"flags": ["plain", "none", "plain"], **context})
    result = {"value": None, "reason": "ERROR"}
    assert (many.status, many.json()["results"]) == (503, {"plain": result, "none": result})
    assert many.json()["meta"]["cacheAge"] == 0
    assert running.ask("POST", "/v1/evaluate", {"flagKey": 5, **context}).status == 422
    assert running.value("plain", key=OTHER_KEY) is False
    publish(data, WORLD)
    assert running.bulk("plain")["plain"]["reason"] != "ERROR"


def test_a_revoked_key_is_401_at_the_next_request_in_every_worker(running: Running, data: Path) -> None:
    with connections(running) as opened:
        for connection in opened:
            assert running.ask_on(connection, "GET", "/v1/sdk/context", key="sk_e2e_revoked").status == 200
        with Store.open(data, write=True) as store:
            (identity,) = [key.record.id for key in store.stored_keys() if key.record.name == "to be revoked"]
            store.revoke_key(identity)
        for connection in opened:
            answer = running.ask_on(connection, "GET", "/v1/sdk/context", key="sk_e2e_revoked")
            assert (answer.status, answer.json()["error"]["code"]) == (401, "INVALID_API_KEY")
            assert running.ask_on(connection, "GET", "/v1/sdk/context", key=SERVER_KEY).status == 200


@pytest.mark.heavy
@pytest.mark.parametrize(("what", "left_out"), [("store", ""), (".", ""), (".", "journal")])
def test_a_store_put_in_place_of_the_served_one_is_served_by_new_workers(
    running: Running, data: Path, what: str, left_out: str
) -> None:
    """Without its journal the directory's window of event ids is another journal's."""
    before = running.workers()
    place = (data / what).resolve()
    old = place.rename(place.with_name(f"{place.name}.old"))
    wait_until(lambda: "under the server" in str(running.operations("/readyz").json()["reasons"]))
    wait_until(lambda: running.operations("/readyz").status == 503)
    assert running.ask("GET", "/v1/sdk/context", key="sk_e2e_revoked").status == 200
    ignored = shutil.ignore_patterns(left_out)
    # A worker may have begun to make what it misses; one that leaves takes its unused segments with it.
    shutil.copytree(old, place, ignore=ignored, dirs_exist_ok=True, copy_function=copy_unless_gone)
    with Store.open(data, write=True) as store:
        (identity,) = [key.record.id for key in store.stored_keys() if key.record.name == "to be revoked"]
        store.revoke_key(identity)
    wait_until(lambda: not set(before) & set(running.workers()) and running.takes_events())
    assert running.ask("GET", "/v1/sdk/context", key="sk_e2e_revoked").status == 401
    assert running.ask("GET", "/v1/sdk/context").status == 200
    second = run(
        ["serve", "--data", str(data), "--port", "0"], environment={"FANION_SERVER_OPERATIONS_PORT": "0"}
    )
    assert second.returncode == 1
    assert "server" in second.stderr


def copy_unless_gone(source: str, target: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.copy2(source, target)


def test_a_rollback_answers_as_before_under_a_higher_generation(
    running: Running, data: Path, tmp_path: Path
) -> None:
    first = publish(data, world_with(tmp_path, probe=1))
    second = publish(data, world_with(tmp_path, probe=2))
    assert running.value("probe") == 2
    with Store.open(data, write=True) as store:
        third = store.rollback()
    assert running.value("probe") == 1
    assert first < second < third
