"""Processes: starting, stopping, dying. The rows of tests/README.md have their tests here."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanion.journal.reader import JournalReader
from tests.e2e import server
from tests.e2e.server import SERVER_KEY, Answer, Running, is_alive, run, wait_until
from tests.e2e.test_e2e_feather import event

EVENTS = "/v1/telemetry/events"


@pytest.fixture(autouse=True)
def _own_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator starts a server, not forked from a process that has the source imported."""
    monkeypatch.setattr(server, "OWN_PYTHON", True)


def bodies_in(data: Path) -> list[bytes]:
    return [bytes(record.body) for record in JournalReader(data).read()]


def test_sigterm_answers_what_is_in_flight_and_exits_0(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "2", data=data)
    acknowledged = 0
    for number in range(20):
        answer = running.ask("POST", EVENTS, {"events": [event(flagKey=f"flag-{number}")]})
        acknowledged += answer.status == 202
    assert running.stop() == 0
    assert len(bodies_in(data)) == acknowledged == 20


@pytest.mark.heavy
def test_sigterm_does_not_wait_for_a_body_that_never_comes(data: Path, serve: Callable[..., Running]) -> None:
    patient = {"FANION_LIMITS_BODY_CHUNK_TIMEOUT_S": "300", "FANION_LIMITS_BODY_TIMEOUT_S": "600"}
    running = serve("--workers", "1", data=data, environment=patient)
    with running.connect() as slow, running.connect() as idle:
        head = b"POST /v1/evaluate HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer sk_e2e_server\r\n"
        slow.sendall(head + b"Content-Length: 100\r\n\r\n{")
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        idle.recv(1000)
        assert running.stop() == 0


@pytest.mark.heavy
def test_stop_signals_that_come_close_together_end_the_server(
    data: Path, serve: Callable[..., Running]
) -> None:
    for _ in range(3):
        running = serve("--workers", "1", data=data)
        ends = time.perf_counter() + 0.002
        while time.perf_counter() < ends:
            running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(timeout=60) == 0


@pytest.mark.heavy
def test_a_connection_whose_peer_takes_nothing_of_its_answer_is_reset(
    data: Path, serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FANION_SERVER_WRITE_TIMEOUT_S", "1")
    running = serve("--workers", "1", data=data)

    def descriptors() -> int:
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in running.workers())

    before = descriptors()
    with contextlib.ExitStack() as open_connections:
        for _ in range(4):
            slow = open_connections.enter_context(socket.socket())
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect(("127.0.0.1", running.port))
            slow.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                for _ in range(4_000):  # pipelined, and no answer is read
                    slow.send(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 500)
        wait_until(lambda: descriptors() <= before)
    assert running.ask("GET", "/healthz", key=None).status == 200


@pytest.mark.heavy
def test_workers_end_with_their_supervisor(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "2", data=data)
    workers = running.workers()
    assert len(workers) == 2
    running.stop(signal.SIGKILL)
    wait_until(lambda: not any(is_alive(pid) for pid in workers))
    again = serve("--workers", "1", data=data)
    assert again.value("plain") is True


def test_a_second_server_on_the_same_directory_refuses(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "1", data=data)
    refused = run(["serve", "--data", str(data), "--port", "0"])
    assert refused.returncode == 1
    assert f"supervisor pid {running.process.pid}" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert running.value("plain") is True


@pytest.mark.heavy
def test_a_killed_worker_is_replaced_again_and_again(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "2", "--ack", "buffered", data=data)
    for _ in range(4):
        victim = running.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda gone=victim: gone not in running.workers() and len(running.workers()) == 2)
        wait_until(lambda: answers(running))
    assert running.process.poll() is None


@pytest.mark.heavy
def test_a_stopped_worker_is_named_and_replaced(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "2", "--ack", "buffered", data=data)
    victim, other = running.workers()
    os.kill(victim, signal.SIGSTOP)
    told: list[Answer] = []

    def named() -> bool:
        told.append(running.operations("/readyz"))
        return bool(told[-1].json()["reasons"])

    wait_until(named)
    assert told[-1].status == 200
    assert [worker["pid"] for worker in told[-1].json()["workers"] if worker["ready"]] == [other]
    assert "no heartbeat for" in told[-1].json()["reasons"][0]
    wait_until(lambda: victim not in running.workers() and running.takes_events())
    assert {running.ask("GET", "/healthz", key=None).status for _ in range(20)} == {200}


@pytest.mark.heavy
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_operations_process_that_dies_or_stands_still_is_replaced(
    data: Path, serve: Callable[..., Running], number: int
) -> None:
    running = serve("--workers", "1", data=data)
    before, workers = running.operations_pid(), running.workers()
    assert before is not None
    os.kill(before, number)
    wait_until(lambda: running.operations_pid() not in (None, before))
    assert running.takes_events()
    assert running.workers() == workers
    assert running.stop() == 0


@pytest.mark.heavy
def test_operations_process_ends_with_its_supervisor_and_leaves_its_port(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "1", data=data)
    operations, workers = running.operations_pid(), running.workers()
    assert operations is not None
    os.kill(operations, signal.SIGSTOP)
    running.stop(signal.SIGKILL)
    wait_until(lambda: not is_alive(operations))
    wait_until(lambda: refuses_probes(running))
    wait_until(lambda: not any(map(is_alive, workers)))


def refuses_probes(running: Running) -> bool:
    """Nobody listens; a connection that is made while the last of the process goes is reset."""
    try:
        running.operations("/readyz")
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


@pytest.mark.heavy
def test_an_operations_port_that_is_taken_ends_the_start_with_a_clear_message(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = run(
            ["serve", "--data", str(data), "--port", "0"],
            environment={"FANION_SERVER_OPERATIONS_PORT": port},
        )
    assert refused.returncode == 1
    assert f"can't listen on 127.0.0.1 port {port} for operations" in refused.stderr
    assert "server.operations_port" in refused.stderr
    assert "Traceback" not in refused.stderr


def answers(running: Running) -> bool:
    with contextlib.suppress(OSError, http.client.HTTPException):
        return running.takes_events()
    return False


def test_what_was_acknowledged_before_a_kill_of_everything_is_in_the_journal_once(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "2", data=data)
    acknowledged: list[str] = []
    stop = threading.Event()

    def send(name: int) -> None:
        number = 0
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
            with contextlib.closing(connection):
                while not stop.is_set():
                    marker = f"marker-{name}-{number}"
                    number += 1
                    batch = {"events": [event(flagKey=marker)]}
                    if running.ask_on(connection, "POST", EVENTS, batch).status == 202:
                        acknowledged.append(marker)

    threads = [threading.Thread(target=send, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(acknowledged) > 200)
    running.stop(signal.SIGKILL, everybody=True)
    stop.set()
    for thread in threads:
        thread.join()
    serve("--workers", "2", data=data).stop()
    kept = b"\n".join(bodies_in(data)).decode()
    counts = {marker: kept.count(f'"{marker}"') for marker in acknowledged}
    assert set(counts.values()) == {1}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--data", "/nonexistent/fanion"], "there is no such data directory"),
        ([], "--data DIR is needed"),
        (["--demo", "--data", "/tmp"], "--demo brings its own"),
        (["--demo", "--port", "99999"], "server.port"),
        (["--demo", "--workers", "-1"], "server.workers"),
        (["--demo", "--host", "192.0.2.1", "--port", "0"], "can't listen on 192.0.2.1"),
    ],
)
def test_a_start_that_cannot_work_says_why_without_a_traceback(arguments: list[str], text: str) -> None:
    refused = run(["serve", *arguments])
    assert refused.returncode in (1, 2)
    assert text in refused.stderr
    assert "Traceback" not in refused.stderr


def test_an_empty_data_directory_is_named(tmp_path: Path) -> None:
    refused = run(["serve", "--data", str(tmp_path), "--port", "0", "--ack", "buffered"])
    assert refused.returncode == 1
    assert "there is no store" in refused.stderr


def test_a_port_in_use_is_named(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused = run(["serve", "--data", str(data), "--port", str(port)])
    assert refused.returncode == 1
    assert f"port {port}" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.heavy
def test_workers_that_cannot_start_end_the_server_with_their_reason(data: Path) -> None:
    (data / "journal").write_text("")
    refused = run(["serve", "--data", str(data), "--port", "0"])
    assert refused.returncode == 1
    assert "File exists" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.heavy
def test_the_port_of_another_server_is_in_use(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "1", data=data)
    refused = run(["serve", "--demo", "--port", str(running.port)])
    assert refused.returncode == 1
    assert f"port {running.port}" in refused.stderr


def test_the_demo_prints_lines_that_work_as_they_are(serve: Callable[..., Running]) -> None:
    running = serve("--demo", "--workers", "1")
    body = {
        "flags": ["new-checkout", "checkout-copy"],
        "context": {"userId": "user_123", "attributes": {"country": "DE"}},
    }
    answer = running.ask("POST", "/v1/evaluate/bulk", body, key="sk_demo_server").json()
    assert answer["results"] == {
        "new-checkout": {"value": True, "reason": "DEFAULT"},
        "checkout-copy": {"value": "variant-b", "reason": "ROLLOUT", "ruleId": "rule-1", "variant": "b"},
    }
    assert answer["meta"]["environmentId"] == "env_01hx"
    context = running.ask("GET", "/v1/sdk/context", key="pk_demo_client").json()
    assert context == {"orgId": "org_01hx", "environmentId": "env_01hx"}


@pytest.mark.heavy
def test_unknown_keys_are_401_at_once_and_always_and_known_ones_go_on(
    data: Path, serve: Callable[..., Running]
) -> None:
    limit = {"FANION_LIMITER_BAD_KEYS_PER_MINUTE": "30", "FANION_SERVER_TRUSTED_PROXIES": "127.0.0.1"}
    running = serve("--workers", "2", data=data, environment=limit)
    source = {"X-Forwarded-For": "10.0.0.1"}

    def status(key: str, headers: dict[str, str]) -> int:
        return running.ask("GET", "/v1/sdk/context", key=key, headers=headers).status

    def flood(count: int) -> set[int]:
        return {status(f"sk_guess_{number}", source) for number in range(count)}

    assert flood(80) == {401}
    made, other = (run(["keys", "create", "env_e2e", "--data", str(data)]).stdout.strip() for _ in range(2))
    wait_until(lambda: status(made, {"X-Forwarded-For": "10.0.0.2"}) == 200)  # so the generation has moved
    assert flood(40) == {401}
    assert {status(SERVER_KEY, source) for _ in range(20)} == {200}
    wait_until(lambda: status(other, source) == 200)  # once the rate has room
    ids = re.findall(r"key_[0-9a-f]{16}", run(["keys", "list", "--data", str(data)]).stdout)
    for id in ids:
        assert run(["keys", "revoke", id, "--data", str(data)]).returncode == 0
    assert status(made, {"X-Forwarded-For": "10.0.0.2"}) == 401


@pytest.mark.parametrize(("machines", "let_through"), [(1, 10), (3, 4)])
def test_a_key_s_rate_is_counted_over_all_workers(
    data: Path, serve: Callable[..., Running], machines: int, let_through: int
) -> None:
    """`machines`: of which this is one, and lets through its share, rounded up."""
    limit = {"FANION_LIMITER_FEATHER_RATE_PER_S": "0.01", "FANION_LIMITER_FEATHER_BURST": "10"}
    limit["FANION_LIMITER_MACHINES"] = str(machines)
    running = serve("--workers", "2", data=data, environment=limit)
    answers = [running.ask("GET", "/v1/sdk/context") for _ in range(30)]
    assert [answer.status for answer in answers].count(200) == let_through
    limited = next(answer for answer in answers if answer.status == 429)
    assert limited.json()["error"]["code"] == "RATE_LIMITED"
    assert int(limited.headers["retry-after"]) >= 1


def test_events_are_on_disk_when_they_are_acknowledged_and_foreign_ones_never(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "2", data=data)
    batch = [event(flagKey="kept-1"), event(flagKey="foreign", orgId="org_other"), event(flagKey="kept-2")]
    assert running.ask("POST", EVENTS, {"events": batch}).status == 202
    kept = b"".join(bodies_in(data))
    assert b"kept-1" in kept
    assert b"kept-2" in kept
    assert b"foreign" not in kept
    before = len(bodies_in(data))
    assert running.ask("POST", EVENTS, {"events": [event(orgId="org_other")]}).status == 202
    assert running.ask("POST", EVENTS, {"events": [event(), event(reason="NONE")]}).status == 422
    assert len(bodies_in(data)) == before
