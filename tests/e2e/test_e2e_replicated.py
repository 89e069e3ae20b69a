"""Answers to events that wait for the stream: what was acknowledged is in it, whatever becomes of the machine; what
isn't is overload; and nothing else waits."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanion.journal.reader import JournalReader
from tests.crash.proxy import proxy
from tests.crash.receivers import nats_servers
from tests.e2e.replicated_world import Client, Content, remove, replicated, send
from tests.e2e.server import Running, run, wait_until
from tests.e2e.test_e2e_machines import metric, notes

pytest.importorskip("nats")


def test_a_server_without_a_stream_is_refused_with_words(data: Path) -> None:
    refused = run(["serve", "--data", str(data), "--port", "0", "--ack", "replicated"])
    assert refused.returncode == 1
    assert 'journal.ack is "replicated", which needs shipping.url' in refused.stderr


def test_a_server_starts_while_nats_is_away_and_refuses_events_until_it_is_there(
    serve: Callable[..., Running], data: Path, tmp_path: Path
) -> None:
    with nats_servers(tmp_path / "nats") as servers:
        servers.kill()
        running = serve("--workers", "2", data=data, environment=replicated(servers.url("events")))
        wait_until(lambda: metric(running, "fanion_shipping_failing") == 1)
        wait_until(lambda: "events are refused: the stream doesn't acknowledge now" in notes(running))
        assert running.operations("/readyz").status == 200
        for ids in (True, False):
            answer = send(running, ["early"], ids=ids)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert running.value("plain") is not None
        wait_until(lambda: metric(running, "fanion_journal_replicated_refused_total") >= 2)
        assert metric(running, "fanion_journal_appended_total") == 0
        servers.start()
        servers.ready()
        for ids in (True, False):
            wait_until(lambda: send(running, ["late"], ids=ids).status in (200, 202))  # noqa: B023 - at once
        assert Content(servers, "events").lacks({"late"}) == set()
        wait_until(lambda: "events are refused" not in notes(running))
        wait_until(lambda: metric(running, "fanion_journal_receipt_to_replicated_seconds_count") >= 2)
        assert running.stop() == 0


def test_a_batch_whose_time_was_over_is_acknowledged_once_the_stream_has_it(
    serve: Callable[..., Running], data: Path, tmp_path: Path
) -> None:
    """It was kept, so the retry is a repeat, which waits for the record that it repeats."""
    with nats_servers(tmp_path / "nats") as servers, proxy(servers.ports[0]) as between:
        url = f"nats://127.0.0.1:{between.port}/events"
        running = serve("--workers", "2", data=data, environment=replicated(url))
        wait_until(lambda: send(running, ["first"], ids=True).status == 200)
        between.swallows = True
        began = time.monotonic()
        answer = send(running, ["second"], ids=True)
        print(f"answered {answer.status} after {time.monotonic() - began:.2f} s")
        assert answer.status == 503
        for _ in range(3):
            assert send(running, ["second"], ids=True).status == 503
        between.heal()
        wait_until(lambda: send(running, ["second"], ids=True).status == 200)
        assert Content(servers, "events").lacks({"first", "second"}) == set()
        for marker in ("first", "second"):  # by another worker, after a restart: of an earlier claim
            assert send(running, [marker], ids=True).status == 200
        assert running.stop() == 0
        again = serve("--workers", "1", data=data, environment=replicated(url))
        wait_until(lambda: send(again, ["first", "second"], ids=True).status == 200)
        answer = send(again, ["first", "third"], ids=True)
        assert (answer.status, answer.json()["accepted"]) == (200, 1)
        assert again.stop() == 0
    assert len(list(JournalReader(data).read())) == 3


@pytest.mark.heavy
def test_a_shipper_that_is_killed_or_stands_still_acknowledges_nothing_and_comes_again(
    serve: Callable[..., Running], data: Path, tmp_path: Path
) -> None:
    with nats_servers(tmp_path / "nats") as servers:
        running = serve("--workers", "2", data=data, environment=replicated(servers.url("events")))
        wait_until(lambda: send(running, ["first"], ids=True).status == 200)
        clients = [Client(running, ids=ids) for ids in (True, False, True)]
        for client in clients:
            client.start()
        for _ in range(2):
            pid, before = running.shipper_pid(), sum(len(client.acknowledged) for client in clients)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: running.shipper_pid() not in (None, pid))  # noqa: B023 - at once
            wait_until(lambda: sum(len(client.acknowledged) for client in clients) > before + 50)  # noqa: B023
        pid = running.shipper_pid()
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: "events are refused" in notes(running))
        assert running.value("plain") is not None
        assert send(running, ["still"], ids=False).status == 503
        os.kill(pid, signal.SIGCONT)
        wait_until(lambda: send(running, ["again"], ids=False).status == 202)
        for client in clients:
            client.end()
        running.stop(signal.SIGKILL)
        remove(data)  # the machine is gone; what was acknowledged isn't
        acknowledged = {"first", "again"}.union(*(client.acknowledged for client in clients))
        assert Content(servers, "events").lacks(acknowledged) == set()
        print(f"{len(acknowledged)} acknowledged, {[client.statuses for client in clients]}")
