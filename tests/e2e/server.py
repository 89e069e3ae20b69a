"""A real `fanion serve` on a free port, and the few ways to talk to it that the tests need."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from fanion import app
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from tests.commands import Command, run_command

READY = re.compile(r"on http://[^ ]*:(\d+)$")
OPERATIONS = re.compile(r"^operations on http://[^ ]*:(\d+): ")
START_TIMEOUT_S = 120.0
ANSWER_TIMEOUT_S = 100.0
BESIDE = (
    "fanion-operatio",
    "fanion-pipeline",
    "fanion-sink-",
    "fanion-follow",
    "fanion-archive",
    "fanion-shipping",
)
"""Processes of a server that are no workers."""

SERVER_KEY = "sk_e2e_server"
CLIENT_KEY = "pk_e2e_client"
OTHER_KEY = "sk_other_server"
OWN_PYTHON = False
"""Whether every server is a Python of its own, not forked from one that has the source imported."""
WORLD = Path(__file__).with_name("world.yaml")


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Running:
    """A started server. `operations_port`: where /readyz and /metrics are; `output`: what it printed until then;
    `later`: the lines after those; `log`: the file with its log lines."""

    def __init__(
        self,
        process: subprocess.Popen[bytes] | Command,
        port: int,
        operations_port: int,
        output: list[str],
        later: Iterator[str],
        log: Path,
    ) -> None:
        self.process = process
        self.port = port
        self.operations_port = operations_port
        self.output = output
        self.later = later
        self.log = log

    def ask(
        self,
        method: str,
        path: str,
        document: object = None,
        *,
        body: bytes | None = None,
        key: str | None = SERVER_KEY,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_TIMEOUT_S)
        ) as connection:
            return self.ask_on(connection, method, path, document, body=body, key=key, headers=headers)

    def ask_on(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        document: object = None,
        *,
        body: bytes | None = None,
        key: str | None = SERVER_KEY,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        sent = {**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})}
        if document is not None:
            body = json.dumps(document).encode()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.request(method, path, body, sent)  # a refusal may come, and close, before all is sent
        response = connection.getresponse()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(),
        )

    def bulk(self, *flags: str, key: str = SERVER_KEY, **context: Any) -> dict[str, Any]:
        answer = self.ask("POST", "/v1/evaluate/bulk", {"flags": list(flags), "context": context}, key=key)
        assert answer.status == 200, answer
        results: dict[str, Any] = answer.json()["results"]
        return results

    def value(self, flag: str, key: str = SERVER_KEY, **context: Any) -> Any:
        return self.bulk(flag, key=key, **context)[flag]["value"]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_TIMEOUT_S)

    def talk(self, request: bytes, *, then_close: bool = False) -> bytes:
        """Sends raw bytes and reads until the server closes, which `Connection: close` makes it do."""
        with self.connect() as connection:
            with contextlib.suppress(OSError):
                connection.sendall(request)
                if then_close:
                    connection.shutdown(socket.SHUT_WR)
            return read_all(connection)

    def operations(self, path: str) -> Answer:
        """One question to the operations process."""
        address = "127.0.0.1", self.operations_port
        with contextlib.closing(http.client.HTTPConnection(*address, timeout=ANSWER_TIMEOUT_S)) as connection:
            return self.ask_on(connection, "GET", path, key=None)

    def takes_events(self) -> bool:
        """Whether every worker is ready; the journal opens after the first evaluations are served."""
        return all(worker["ready"] for worker in self.operations("/readyz").json()["workers"])

    def workers(self) -> list[int]:
        """Process ids of the workers, oldest first."""
        return [pid for pid in self._children() if not name_of(pid).startswith(BESIDE)]

    def operations_pid(self) -> int | None:
        return self._beside("fanion-operatio")

    def pipeline_pid(self) -> int | None:
        return self._beside("fanion-pipeline")

    def follower_pid(self) -> int | None:
        return self._beside("fanion-follow")

    def sink_pid(self, name: str) -> int | None:
        return self._beside(f"fanion-sink-{name}"[:15])

    def shipper_pid(self) -> int | None:
        return self._beside("fanion-shipping")

    def archiver_pid(self) -> int | None:
        return self._beside("fanion-archive")

    def _beside(self, name: str) -> int | None:
        return next((pid for pid in self._children() if name_of(pid) == name), None)

    def _children(self) -> list[int]:
        pid = self.process.pid
        with contextlib.suppress(OSError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def stop(self, number: int = signal.SIGTERM, *, everybody: bool = False) -> int:
        """Ends the server and returns its exit status. Whom it started notices that it was killed, and holds the
        directory until then: they are waited for. It stands still before it is killed, or it may start one more.
        `everybody`: they are killed at once, too."""
        started: list[int] = []
        if self.process.poll() is None:
            if number == signal.SIGKILL:
                self.process.send_signal(signal.SIGSTOP)
                wait_until(lambda: self.process.poll() is not None or is_stopped(self.process.pid))
                started = self._children()
            self.process.send_signal(number)
            for pid in started if everybody else ():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
        status = self.process.wait(timeout=120)
        wait_until(lambda: not any(map(is_alive, started)))
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


def is_alive(pid: int) -> bool:
    """Also one whose first thread alone has ended: the others hold its files."""
    state = state_of(pid)
    return threads_of(pid) > 1 if state == "Z" else state != ""


def threads_of(pid: int) -> int:
    with contextlib.suppress(OSError):
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    return 0


def is_stopped(pid: int) -> bool:
    return state_of(pid) in ("", "Z", "T")


def state_of(pid: int) -> str:
    """A letter; "": there is no such process."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return ""


def name_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def read_all(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := connection.recv(65_536):
            received += piece
    return received


def publish(directory: Path, *paths: Path) -> int:
    return app.publish(directory, load(list(paths), vocabulary()), Config())


def start(
    log: Path,
    *arguments: str,
    data: Path | None = None,
    environment: dict[str, str] | None = None,
    files: int | None = None,
) -> Running:
    """Starts `fanion serve` and waits until it says that it answers. `files`: how many may be open."""
    command = command_line(*arguments, data=data)
    if files is not None:
        command = ["sh", "-c", f'ulimit -n {files} && exec "$@"', "sh", *command]
    own = {"FANION_LIMITER_BAD_KEYS_PER_MINUTE": "0", "FANION_SERVER_OPERATIONS_PORT": "0"}
    variables = {**os.environ, **own, **(environment or {})}
    with log.open("ab") as errors:
        if (
            OWN_PYTHON
            or files is not None
            or not all(name.startswith("FANION_") for name in environment or {})
        ):
            process: subprocess.Popen[bytes] | Command = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=errors, env=variables
            )
        else:
            process = forked(command[3:], {**own, **(environment or {})}, errors)
    output: list[str] = []
    port = 0
    try:
        lines = lines_of(process, time.monotonic() + START_TIMEOUT_S)
        for line in lines:
            output.append(line)
            if found := READY.search(line):
                port = int(found.group(1))
            elif found := OPERATIONS.search(line):
                running = Running(process, port, int(found.group(1)), output, lines, log)
                wait_until(running.takes_events)
                return running
        raise AssertionError(f"the server did not start: {output} {log.read_text()}")
    except BaseException:
        process.kill()
        process.communicate()
        raise


def forked(arguments: Sequence[str], environment: dict[str, str], errors: IO[bytes]) -> Command:
    """The same from a fork that has the source imported, which halves what a start takes."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as out, Path(os.devnull).open("rb") as nothing:
        try:
            process = Command(arguments, environment, nothing, out, errors)
        except BaseException:
            os.close(reader)
            raise
    process.stdout = os.fdopen(reader, "rb", buffering=0)
    return process


def command_line(*arguments: str, data: Path | None = None) -> list[str]:
    place = ["--data", str(data)] if data is not None else []
    port = [] if "--port" in arguments else ["--port", "0"]
    return [sys.executable, "-m", "fanion", "serve", *place, *port, *arguments]


def lines_of(process: subprocess.Popen[bytes] | Command, until: float) -> Iterator[str]:
    """The lines that a process prints, until it ends or the time is up."""
    assert process.stdout is not None
    descriptor, rest = process.stdout.fileno(), b""
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        if not poller.poll(left * 1000):
            return
        piece = os.read(descriptor, 65_536)
        if not piece:
            return
        *lines, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in lines)


def run(
    arguments: Sequence[str], timeout_s: float = 120, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A command of `fanion`, to its end; in a Python of its own if it is given variables, or is to serve."""
    if environment is None and arguments[0] != "serve":
        return run_command(arguments, timeout_s=timeout_s)
    return subprocess.run(
        [sys.executable, "-m", "fanion", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, "FANION_SERVER_OPERATIONS_PORT": "0", **(environment or {})},
    )


def wait_until(condition: Any, timeout_s: float = 120.0) -> None:
    """Polls until the condition holds, at most a fifth of the time; a hang is a failure."""
    ends = time.monotonic() + timeout_s
    asked = time.monotonic()
    while not condition():
        now = time.monotonic()
        assert now < ends, "it did not happen in time"
        time.sleep(min(max(0.01, 4 * (now - asked)), 0.1))
        asked = time.monotonic()
