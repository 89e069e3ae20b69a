"""Sinks beside a real server: rows come, one that is refused delays no other, and what each says."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion.cli import group
from tests.e2e.server import Running, wait_until
from tests.e2e.test_e2e_pipeline import notes, send

QUICK = {"FANION_SINKS_INTERVAL_S": "0.1", "FANION_SINKS_AGAIN_S_MAX": "0.2"}


def number(running: Running, name: str, sink: str) -> float:
    text = running.operations("/metrics").body.decode()
    found = re.search(rf'^{name}{{sink="{sink}"}} (.*)$', text, re.MULTILINE)
    return float(found[1]) if found is not None else -1


def ids(path: Path) -> set[str]:
    """Of the lines that are whole: the last may be on its way."""
    if not path.exists():
        return set()
    return {
        json.loads(line)["id"] for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
    }


def status(data: Path, name: str) -> dict[str, Any]:
    told = CliRunner().invoke(group, ["sinks", "status", "--data", str(data), "--format", "json"])
    assert told.exit_code == 0, told.output
    return next(one for one in json.loads(told.output) if one["sink"] == name)


def test_rows_come_to_one_sink_while_another_is_refused_and_killed(
    data: Path, serve: Callable[..., Running], tmp_path: Path
) -> None:
    path, gate = tmp_path / "rows", tmp_path / "gate"
    program = f"sh -c 'test -e {gate} || {{ echo closed >&2; exit 1; }}; cat >> {tmp_path / 'fed'}'"
    environment = {
        **QUICK,
        "FANION_SINKS_FILE_PATH": str(path),
        "FANION_SINKS_COMMAND": program,
        "FANION_SINKS_KAFKA_PASSWORD": "never-to-be-seen",
    }
    running = serve("--workers", "2", data=data, environment=environment)
    workers = running.workers()
    assert len(workers) == 2
    for _ in range(4):
        send(running, 10)
    wait_until(lambda: len(ids(path)) == 40)
    wait_until(lambda: number(running, "fanion_sink_rows_total", "file") == 40)
    wait_until(lambda: number(running, "fanion_sink_lag_records", "file") == 0)
    said = "sink command: sh ended with status 1: closed"
    wait_until(lambda: {said, "sink command: it is 4 requests behind"} <= set(notes(running)))
    assert number(running, "fanion_sink_failing", "command") == 1
    assert running.operations("/readyz").status == 200
    assert status(data, "command")["failing"].endswith("closed")
    assert status(data, "command")["behind_records"] == 4
    before = running.sink_pid("file")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: running.sink_pid("file") not in (None, before))
    send(running, 5)
    wait_until(lambda: len(ids(path)) == 45)
    gate.touch()
    wait_until(lambda: len(ids(tmp_path / "fed")) == 45)
    wait_until(lambda: not notes(running))
    assert running.workers() == workers
    assert running.stop() == 0
    assert status(data, "file")["behind_records"] == status(data, "command")["behind_records"] == 0
    log = running.log.read_text()
    assert "Traceback" not in log
    assert log.count("closed") == 1
    assert "never-to-be-seen" not in log


@pytest.mark.heavy
def test_without_its_library_a_sink_is_said_and_all_else_goes_on(
    data: Path, serve: Callable[..., Running], tmp_path: Path
) -> None:
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "sitecustomize.py").write_text(
        "import sys\nfor name in ('obstore', 'confluent_kafka'):\n    sys.modules[name] = None\n"
    )
    path = os.pathsep.join([str(tmp_path / "without"), os.environ.get("PYTHONPATH", "")])
    environment = {
        **QUICK,
        "PYTHONPATH": path,
        "FANION_SINKS_KAFKA_BROKERS": "127.0.0.1:1",
        "FANION_SINKS_FILE_PATH": str(tmp_path / "rows"),
    }
    running = serve("--workers", "1", data=data, environment=environment)
    missing = "nothing is sent: confluent-kafka not installed; pip install 'fanion[sinks]'"
    wait_until(lambda: notes(running) == [f"sink kafka: {missing}"])
    send(running, 3)
    wait_until(lambda: len(ids(tmp_path / "rows")) == 3)
    assert running.sink_pid("kafka") is None
    assert running.stop() == 0
    assert f"warning: sink kafka: {missing}" in running.log.read_text()


def test_who_asks_for_no_sink_has_none(data: Path, serve: Callable[..., Running]) -> None:
    running = serve("--workers", "1", data=data)
    send(running, 1)
    assert all(running.sink_pid(name) is None for name in ("file", "command", "kafka", "parquet"))
    assert not (data / "sinks").exists()
    assert "fanion_sink" not in running.operations("/metrics").body.decode()


@pytest.mark.parametrize("arguments", [["run", "file"], ["run", "nothing"]])
def test_a_sink_that_is_not_set_up_is_not_run(data: Path, arguments: list[str]) -> None:
    assert CliRunner().invoke(group, ["sinks", *arguments, "--data", str(data), "--once"]).exit_code == 2


def test_one_is_run_without_a_server(
    data: Path, serve: Callable[..., Running], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = serve("--workers", "1", data=data)
    send(running, 6)
    assert running.stop() == 0
    monkeypatch.setenv("FANION_SINKS_FILE_PATH", str(tmp_path / "rows"))
    handlers = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    told = CliRunner().invoke(group, ["sinks", "run", "file", "--data", str(data), "--once"])
    for each, handler in handlers.items():
        signal.signal(each, handler)
    assert told.output == f"6 rows were taken by {tmp_path / 'rows'}\n"
    assert len(ids(tmp_path / "rows")) == 6
