"""The pipeline beside a real server: rows come while it runs, whatever ends; what it says; without its extra."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanion.app import make_pipeline
from fanion.config import Config
from fanion.pipeline.pace import Pace
from fanion.pipeline.query import ask
from tests.e2e.server import Running, run, wait_until
from tests.e2e.test_e2e_feather import event

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

EVENTS = "/v1/telemetry/events"


def send(running: Running, count: int) -> None:
    answer = running.ask("POST", EVENTS, {"events": [event() for _ in range(count)]})
    assert answer.status == 202, answer


def rows(data: Path) -> int:
    ((count,),) = ask(data, "SELECT count(*) FROM rows")[1]
    return int(count)


def number(running: Running, name: str) -> float:
    found = re.search(rf"^{name} (.*)$", running.operations("/metrics").body.decode(), re.MULTILINE)
    assert found is not None, name
    return float(found[1])


def notes(running: Running) -> list[str]:
    found: list[str] = running.operations("/readyz").json()["notes"]
    return found


def test_rows_come_while_the_server_runs_and_after_another_start(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "2", "--pipeline", data=data)
    for _ in range(5):
        send(running, 20)
    wait_until(lambda: rows(data) == 100)
    wait_until(lambda: number(running, "fanion_pipeline_rows_total") == 100)
    wait_until(lambda: number(running, "fanion_pipeline_lag_records") == 0)
    assert number(running, "fanion_workers") == 2
    assert number(running, "fanion_pipeline_lag_seconds") < 60
    assert abs(number(running, "fanion_pipeline_fresh_timestamp_seconds") - time.time()) < 60
    wait_until(lambda: not notes(running))
    pid = running.pipeline_pid()
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)
    assert running.stop() == 0
    running = serve("--workers", "1", data=data, environment={"FANION_PIPELINE_ENABLED": "true"})
    send(running, 7)
    wait_until(lambda: rows(data) == 107)
    assert running.stop() == 0
    log = running.log.read_text()
    assert "Traceback" not in log
    assert '"level":"error"' not in log


@pytest.mark.parametrize("repeated", [pytest.param(0, marks=pytest.mark.heavy), 1])
def test_a_pipeline_that_is_killed_is_replaced_and_repeats_nothing(
    data: Path, serve: Callable[..., Running], repeated: int
) -> None:
    running = serve("--workers", "1", "--pipeline", data=data)
    workers = running.workers()
    for count in range(1, 4):
        send(running, 10)
        wait_until(lambda: running.pipeline_pid() is not None)
        before = running.pipeline_pid()
        if repeated:
            wait_until(lambda wanted=10 * count: rows(data) == wanted)
        assert before is not None
        os.kill(before, signal.SIGKILL)
        wait_until(lambda gone=before: running.pipeline_pid() not in (None, gone))
    wait_until(lambda: rows(data) == 30)
    assert running.workers() == workers
    assert running.stop() == 0


@pytest.mark.heavy
def test_a_pipeline_ends_with_its_supervisor(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "1", "--pipeline", data=data)
    wait_until(lambda: running.pipeline_pid() is not None)
    pid = running.pipeline_pid()
    running.stop(signal.SIGKILL)
    wait_until(lambda: not Path(f"/proc/{pid}").exists())


@pytest.mark.heavy
def test_another_pipeline_that_has_the_rows_is_named_and_followed(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "1", data=data)
    send(running, 3)
    assert running.stop() == 0
    with make_pipeline(data, Config(), Pace()):
        running = serve("--workers", "1", "--pipeline", data=data)
        wait_until(lambda: any("another pipeline has it" in note for note in notes(running)))
        assert running.operations("/readyz").status == 200
        assert rows(data) == 0
    wait_until(lambda: rows(data) == 3)
    wait_until(lambda: not notes(running))
    assert number(running, "fanion_pipeline_faults_total") > 0
    assert running.stop() == 0
    assert running.log.read_text().count("another pipeline has it") == 1


@pytest.mark.heavy
def test_without_its_library_the_server_says_so_and_does_all_else(
    data: Path, serve: Callable[..., Running], tmp_path: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text("import sys\nsys.modules['pyarrow'] = None\n")
    path = os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])
    running = serve("--workers", "1", "--pipeline", data=data, environment={"PYTHONPATH": path})
    assert notes(running) == [
        "pipeline: no rows are made: pyarrow is not installed; pip install 'fanion[results]'"
    ]
    assert running.operations("/readyz").status == 200
    send(running, 1)
    assert running.pipeline_pid() is None
    assert running.stop() == 0
    assert "pyarrow is not installed" in running.log.read_text()
    assert not (data / "rows").exists()


def test_who_asks_for_no_rows_has_no_process_and_no_library_of_them(
    data: Path, serve: Callable[..., Running]
) -> None:
    running = serve("--workers", "1", data=data)
    send(running, 1)
    assert running.pipeline_pid() is None
    for pid in (running.process.pid, *running.workers()):
        assert "arrow" not in Path(f"/proc/{pid}/maps").read_text()
    assert not (data / "rows").exists()
    assert "fanion_pipeline" not in running.operations("/metrics").body.decode()


@pytest.mark.heavy
def test_the_demo_makes_rows_unless_it_is_told_not_to(serve: Callable[..., Running]) -> None:
    running = serve("--demo", "--workers", "1")
    wait_until(lambda: running.pipeline_pid() is not None)
    assert running.stop() == 0
    for arguments, environment in ((["--no-pipeline"], {}), ([], {"FANION_PIPELINE_ENABLED": "false"})):
        running = serve("--demo", "--workers", "1", *arguments, environment=environment)
        assert running.pipeline_pid() is None
        assert running.stop() == 0


@pytest.mark.heavy
def test_the_demo_has_an_experiment_that_results_read(serve: Callable[..., Running], tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    running = serve("--demo", "--workers", "1", environment={"TMPDIR": str(tmp_path)})
    (data,) = tmp_path.glob("fanion-demo-*")
    body = {"flagKey": "checkout-copy", "context": {"userId": "user_123"}}
    assert running.ask("POST", "/v1/evaluate", body, key="sk_demo_server").status == 200
    event = {"type": "metric", "id": "order-1", "unit": {"kind": "userId", "id": "user_123"}}
    sent = {"events": [event | {"metric": "purchase", "value": 9.5}]}
    assert running.ask("POST", "/fanion/v1/events", sent, key="neutral_demo_client").status == 200

    def result() -> Any:
        done = run(["results", "checkout-copy", "--data", str(data), "--format", "json"])
        return json.loads(done.stdout)["results"][0] if done.returncode == 0 else {}

    wait_until(
        lambda: (
            [side["mean"] for one in result().get("metrics", []) for side in one["variants"]][1::2]
            == [1, 9.5]
        )
    )
    assert result()["units"] == {"a": 0, "b": 1}
    assert running.stop() == 0
