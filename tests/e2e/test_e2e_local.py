"""`deploy/local/cluster.py`: three NATS servers, three servers and a proxy do together what it says, and end."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion.cli import group
from tests.crash.receivers import program
from tests.e2e.server import wait_until

SCRIPT = Path(__file__).parents[2] / "deploy" / "local" / "cluster.py"
START_S = 120.0
EVENTS_EACH = 4

for library in ("nats", "cryptography", "obstore", "pyarrow", "duckdb"):
    pytest.importorskip(library)


@contextlib.contextmanager
def started(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Ends by itself what it was told to end, or is killed with all that it started."""
    command = [sys.executable, str(SCRIPT), "--directory", str(directory), *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, "NATS_SERVER": program("NATS_SERVER")},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    told: dict[str, Any] = {}
    try:
        yield process
    finally:
        with contextlib.suppress(OSError, ValueError):
            told = json.loads((directory / "cluster.json").read_text())
        if process.poll() is None:
            process.kill()
            for pid in told.get("pids", {}).values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def read_until(process: subprocess.Popen[bytes], words: str) -> str:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    text, deadline = "", time.monotonic() + START_S
    while words not in text:
        assert time.monotonic() < deadline, text
        if select.select([process.stdout], [], [], 0.2)[0]:
            part = process.stdout.read()
            assert part != b"", text
            text += (part or b"").decode()
    return text


def ask(port: int, path: str, document: object) -> Any:
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=100)) as connection:
        headers = {"Authorization": "Bearer sk_local_look", "Content-Type": "application/json"}
        connection.request("POST", path, json.dumps(document), headers)
        answer = connection.getresponse()
        assert answer.status in (200, 202), answer.read()
        return json.loads(answer.read())


def value(port: int) -> object:
    context = {"context": {"targetingKey": "u1"}}
    return ask(port, "/ofrep/v1/evaluate/flags/greeting", context)["value"]


def send(port: int, number: int) -> None:
    unit = {"kind": "userId", "id": f"u{number}"}
    event = {"type": "metric", "unit": unit, "metric": "purchase", "value": 9.5, "id": f"e{number}"}
    ask(port, "/fanion/v1/events", {"events": [event]})


def counts(data: Path) -> dict[str, int]:
    """Rows by machine."""
    statement = "SELECT machine, count(*) AS n FROM rows GROUP BY machine"
    told = CliRunner().invoke(group, ["sql", "--data", str(data), "--json", statement])
    if told.exit_code:
        return {}  # there are none yet
    return {row["machine"]: row["n"] for row in map(json.loads, told.stdout.splitlines())}


def following(data: Path) -> list[str]:
    """Names of machines, as the command shows them."""
    told = CliRunner().invoke(group, ["cluster", "status", "--data", str(data), "--format", "json"])
    assert told.exit_code == 0, told.output
    return [one["machine"] for one in json.loads(told.stdout)["machines"]]


@pytest.mark.heavy
@pytest.mark.timeout(600)
def test_a_publication_is_seen_on_all_three_and_events_of_all_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "cluster"
    with started(directory, "--keep") as process:
        said = read_until(process, "Ctrl-C ends all of it.")
        told = json.loads((directory / "cluster.json").read_text())
        ports = list(told["servers"].values())
        assert len(set(ports)) == 3
        assert f"127.0.0.1:{told['proxy']}/ofrep/v1" in said
        assert len({value(port) for port in (*ports, told["proxy"])} - {"hello", "welcome"}) == 0

        flags = directory / "flags.yaml"
        flags.write_text(flags.read_text().replace("hello", "moin").replace("welcome", "moin"))
        monkeypatch.setenv("FANION_PLACES_KEY", told["places_key"])
        done = CliRunner().invoke(group, ["publish", str(flags), "--data", str(directory / "one")])
        assert done.exit_code == 0, done.output
        wait_until(lambda: [value(port) for port in ports] == ["moin"] * 3)

        wait_until(lambda: set(following(directory / "one")) == {"two", "three"})

        for number in range(3 * EVENTS_EACH):
            send(ports[number % 3], number)
        for number in range(3):
            send(told["proxy"], 100 + number)
        wait_until(lambda: sum(counts(directory / "one").values()) == 3 * EVENTS_EACH + 3)
        assert len(counts(directory / "one")) == 3
        assert min(counts(directory / "one").values()) >= EVENTS_EACH

        os.kill(told["pids"]["two"], signal.SIGTERM)
        read_until(process, "two ended (0); the others go on")
        assert [value(told["proxy"]) for _ in range(3)] == ["moin"] * 3

        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 0
        assert set(told["pids"]) == {
            *("nats-1", "nats-2", "nats-3"),
            *("one", "two", "three"),
            "pipeline",
        }
        for pid in told["pids"].values():
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)


def test_a_folder_that_holds_something_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    command = [sys.executable, str(SCRIPT), "--directory", str(tmp_path), "--nats", "/bin/true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "is not empty" in done.stderr) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_program_that_is_no_nats_is_said_and_its_log_stays(tmp_path: Path) -> None:
    directory = tmp_path / "cluster"
    command = [sys.executable, str(SCRIPT), "--directory", str(directory), "--nats", "/bin/false"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "NATS did not start" in done.stderr) == (1, True), done.stderr
    assert (directory / "nats-1.log").exists()
