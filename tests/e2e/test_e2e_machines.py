"""Real servers that follow a place: what is published is seen, and whatever happens to the place, what was taken
last is served on. The places: a folder, and with the programs that `.ci/run` installs an object store and NATS."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion.cli import group
from tests.crash.receivers import BUCKET, nats_servers, object_store
from tests.e2e.server import SERVER_KEY, WORLD, Running, run, wait_until
from tests.e2e.test_e2e_feather import event

SECRET = "e2e-" + 40 * "k"
QUICK = {"FANION_PLACES_KEY": SECRET, "FANION_PLACES_POLL_S": "0.1", "FANION_PLACES_STALE_S": "1"}


@pytest.fixture(autouse=True)
def libraries() -> None:
    pytest.importorskip("obstore")
    pytest.importorskip("cryptography")


def refused(*arguments: object, environment: dict[str, str] | None = None) -> str:
    """Of a command that is: why."""
    told = CliRunner().invoke(group, list(map(str, arguments)), env={**QUICK, **(environment or {})})
    assert told.exit_code == 1, told.output
    assert told.stdout == ""
    return str(told.exception)


def done(*arguments: object, environment: dict[str, str] | None = None) -> str:
    told = CliRunner().invoke(group, list(map(str, arguments)), env={**QUICK, **(environment or {})})
    assert told.exit_code == 0, told.output + str(told.exception)
    return told.stdout


def status(running: Running, key: str) -> int:
    return running.ask("POST", "/v1/evaluate/bulk", {"flags": ["f"], "context": {}}, key=key).status


def metric(running: Running, name: str) -> float:
    found = re.search(rf"^{name} (.*)$", running.operations("/metrics").body.decode(), re.MULTILINE)
    return float(found[1]) if found is not None else -1


def notes(running: Running) -> str:
    return "\n".join(running.operations("/readyz").json()["notes"])


@contextmanager
def away(place: Path) -> Iterator[None]:
    """As a disk that is gone: nothing is there."""
    place.rename(place.with_name("away"))
    yield
    place.with_name("away").rename(place)


def test_a_server_follows_a_folder_through_all_that_happens_to_it(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    place, admin, data = tmp_path / "place", tmp_path / "admin", tmp_path / "data"
    url = f"file://{place}"
    done("publish", WORLD, "--data", admin, "--to", url)
    running = serve("--workers", "2", "--follow", url, data=data, environment=QUICK)
    assert status(running, SERVER_KEY) == 200

    key = done("keys", "create", "env_e2e", "--data", admin).strip()
    wait_until(lambda: status(running, key) == 200)
    for verb in (
        ["publish", WORLD],
        ["publish", "--remove", "env_e2e"],
        ["rollback"],
        ["keys", "create", "env_e2e"],
        ["keys", "revoke", "key_1"],
        ["keys", "rotate-signing"],
        ["lists", "add", "env_e2e", "beta", "u1"],
        ["override", "set", "env_e2e", "f", "x"],
        ["override", "clear", "env_e2e", "f"],
        ["optimise", "pol_1", "--clear"],
    ):
        assert f"this directory follows {url}; change it there" in refused(*verb, "--data", data)

    key_id = next(
        line.split()[1] for line in done("keys", "list", "--data", admin).splitlines() if key[:5] in line
    )
    with away(place):
        wait_until(lambda: metric(running, "fanion_follow_failing") == 1)
        wait_until(lambda: "fanion-stale" in running.ask("GET", "/healthz").headers)
        wait_until(lambda: "follow: not heard for" in notes(running))
        assert "no such folder" in refused("keys", "revoke", key_id, "--data", admin)
        assert status(running, key) == 200
        assert running.stop() == 0
        again = serve("--workers", "1", "--follow", url, data=data, environment=QUICK)
        assert status(again, key) == 200
    wait_until(lambda: "fanion-stale" not in again.ask("GET", "/healthz").headers)

    done("keys", "revoke", key_id, "--data", admin)
    wait_until(lambda: status(again, key) == 401)
    told = done("cluster", "status", "--data", data)
    assert f"{url}: number 3" in told
    assert SECRET not in running.log.read_text()


@pytest.mark.heavy
def test_damaged_objects_are_refused_and_the_last_good_ones_served(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    place, admin, data = tmp_path / "place", tmp_path / "admin", tmp_path / "data"
    url = f"file://{place}"
    done("publish", WORLD, "--data", admin, "--to", url)
    lapsing = {**QUICK, "FANION_PLACES_MAX_STALENESS_S": "2"}
    running = serve("--workers", "1", "--follow", url, data=data, environment=lapsing)
    before = set(place.rglob("objects/*/*"))
    os.kill(pid := beside(running), signal.SIGSTOP)
    key = done("keys", "create", "env_e2e", "--data", admin).strip()
    (new,) = set(place.rglob("objects/*/*")) - before
    good = new.read_bytes()
    new.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    os.kill(pid, signal.SIGCONT)
    wait_until(
        lambda: (
            f"object {new.name[:12]}: it was sealed with another places.key, or is damaged" in notes(running)
        )
    )
    wait_until(lambda: status(running, SERVER_KEY) == 401)  # it can't know who was revoked
    wait_until(lambda: running.operations("/readyz").status == 503)
    reasons = running.operations("/readyz").json()["reasons"]
    assert "keys: the place wasn't heard for more than 2 s" in reasons[0]
    new.write_bytes(good)
    wait_until(lambda: status(running, key) == 200)
    assert status(running, SERVER_KEY) == 200
    wait_until(lambda: running.operations("/readyz").status == 200)


def beside(running: Running) -> int:
    pid = running.follower_pid()
    assert pid is not None
    return pid


def test_a_server_without_a_place_and_without_a_store_says_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "place").mkdir()
    url = f"file://{tmp_path / 'place'}"
    told = run(["serve", "--follow", url, "--data", str(tmp_path / "data"), "--port", "0"], environment=QUICK)
    assert told.returncode == 1
    assert f"nothing to serve yet: {url}: nobody has published there yet" in told.stderr


@pytest.mark.heavy
def test_a_server_follows_an_object_store(serve: Callable[..., Running], tmp_path: Path) -> None:
    with object_store(tmp_path) as given:
        environment: dict[str, Any] = {
            **QUICK,
            "FANION_PLACES_ENDPOINT": given["FANION_SINKS_PARQUET_ENDPOINT"],
            "FANION_PLACES_ACCESS_KEY": "any",
            "FANION_PLACES_SECRET_KEY": "any-secret-of-the-store",
        }
        url = f"s3://{BUCKET}/fanion"
        for name in ("one", "two"):
            done("publish", WORLD, "--data", tmp_path / name, "--to", url, environment=environment)
        running = serve("--workers", "1", "--follow", url, data=tmp_path / "data", environment=environment)
        key = done("keys", "create", "env_e2e", "--data", tmp_path / "one", environment=environment).strip()
        wait_until(lambda: status(running, key) == 200)
        told = done("cluster", "status", "--place", url, environment=environment)
        assert "number 3" in told
        assert running.stop() == 0
        assert "any-secret-of-the-store" not in running.log.read_text() + told


@pytest.mark.heavy
def test_a_server_follows_nats_and_is_woken(serve: Callable[..., Running], tmp_path: Path) -> None:
    """The poll is an hour away, but for the start and after an outage."""
    pytest.importorskip("nats")
    password = "a-password-of-nats"
    environment = {
        "FANION_PLACES_KEY": SECRET,
        "FANION_PLACES_POLL_S": "3600",
        "FANION_PLACES_TIMEOUT_S": "3",
        "FANION_PLACES_USER": "fanion",
        "FANION_PLACES_PASSWORD": password,
    }
    configured = f'authorization {{ user: fanion, password: "{password}" }}'
    with nats_servers(tmp_path / "nats", more=configured) as servers:
        url, admin = servers.url("fanion"), tmp_path / "admin"
        done("publish", WORLD, "--data", admin, "--to", url, environment=environment)
        running = serve(
            "--workers", "2", "--follow", url, data=tmp_path / "data", environment={**QUICK, **environment}
        )

        def made() -> str:
            return done("keys", "create", "env_e2e", "--data", admin, environment=environment).strip()

        for _ in range(2):
            key = made()
            wait_until(lambda: status(running, key) == 200)  # noqa: B023 - waited for in the same round
        told = done("cluster", "status", "--data", tmp_path / "data", environment=environment)
        assert f"{url}: number 3" in told

        servers.kill()
        wait_until(lambda: metric(running, "fanion_follow_failing") == 1)
        assert "Connect call failed" in refused(
            "keys", "create", "env_e2e", "--data", admin, environment=environment
        )
        assert status(running, key) == 200
        servers.start()
        servers.ready()
        wait_until(lambda: metric(running, "fanion_follow_failing") == 0)
        key = made()
        wait_until(lambda: status(running, key) == 200)
        assert running.stop() == 0
        log = running.log.read_text() + told
        assert password not in log
        assert SECRET not in log


def test_a_servers_events_are_shipped_beside_its_workers(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    """Through an outage of the stream, during which they are taken as before."""
    pytest.importorskip("nats")
    data = tmp_path / "data"
    with nats_servers(tmp_path / "nats") as servers:
        environment = {
            "FANION_SHIPPING_URL": servers.url("events"),
            "FANION_SHIPPING_INTERVAL_S": "0.1",
            "FANION_SHIPPING_TIMEOUT_S": "2",
            "FANION_SHIPPING_AGAIN_S_MAX": "0.5",
        }
        done("publish", WORLD, "--data", data)
        running = serve("--workers", "2", data=data, environment=environment)
        wait_until(running.takes_events)
        sent = 0

        def send(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                answer = running.ask("POST", "/v1/telemetry/events", {"events": [event()]}, key=SERVER_KEY)
                assert answer.status == 202, answer
                sent += 1

        send(20)
        wait_until(lambda: metric(running, "fanion_shipping_records_total") == sent)
        servers.kill()
        wait_until(lambda: metric(running, "fanion_shipping_failing") == 1)
        send(20)
        assert running.operations("/readyz").status == 200
        wait_until(lambda: "shipping: " in running.operations("/readyz").body.decode())
        told = done("cluster", "status", "--data", data, environment=environment)
        assert "20 taken" in told
        assert "failing since" in told
        servers.start()
        servers.ready()
        wait_until(lambda: metric(running, "fanion_shipping_records_total") == sent)
        wait_until(lambda: metric(running, "fanion_shipping_lag_records") == 0)
        assert running.stop() == 0
        told = done("cluster", "ship", "--once", "--data", data, environment=environment)
        assert told.startswith("0 requests' records")
        told = done("cluster", "status", "--data", data, "--format", "json", environment=environment)
        assert '"records":40' in told
        assert '"gap_records":0' in told


def test_what_a_killed_server_took_is_shipped_without_one(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    """Also what was in no segment yet: `ack = "buffered"` answers from the rings."""
    pytest.importorskip("nats")
    data = tmp_path / "data"
    done("publish", WORLD, "--data", data)
    running = serve("--workers", "2", "--ack", "buffered", data=data)
    wait_until(running.takes_events)
    before = 20
    for _ in range(before):
        answer = running.ask("POST", "/v1/telemetry/events", {"events": [event()]}, key=SERVER_KEY)
        assert answer.status == 202, answer
    running.stop(signal.SIGKILL, everybody=True)
    with nats_servers(tmp_path / "nats") as servers:
        environment = {"FANION_SHIPPING_URL": servers.url("events")}
        told = [done("cluster", "ship", "--once", "--data", data, environment=environment) for _ in range(2)]
    assert [each.partition(" requests' records")[0] for each in told] == [str(before), "0"]
