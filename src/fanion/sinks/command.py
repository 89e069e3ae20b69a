"""Rows as lines of JSON on the standard input of a command, which is run once a step.

Its exit status is the answer: 0 says that it has all rows safe, anything else that it hasn't. It has read all of
its input by then, and has `timeout_s` for it; then it is killed, with what it started. No shell is in between. It
has this process's environment without Fanion's own variables, in which secrets may stand. Where the server is
killed meanwhile, its input ends in the middle: a line without an end is none.
"""

from __future__ import annotations

import contextlib
import os
import select
import shlex
import signal
import subprocess
import time
from typing import IO, Final

from fanion.config.sinks import Sinks
from fanion.errors import SinkError
from fanion.sinks.receiver import Kind, Line, Turn, reason_of

POLL_S: Final = 0.05
"""Between two looks: a command that says much waits so long to be heard."""
LOOK_S: Final = 0.01
PIECE_BYTES: Final = 1 << 18
SAID_BYTES: Final = 400
HEARD_MAX: Final = 64


class Fed:
    """The receiver."""

    left_out = 0

    def __init__(self, settings: Sinks, turn: Turn) -> None:
        self._turn = turn
        self._arguments = shlex.split(settings.command)
        self._timeout_s = settings.timeout_s
        self._said = b""
        """The last of what the command said on its standard error."""

    def take(self, rows: list[Line], name: str) -> None:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FANION_")}
        try:
            process = subprocess.Popen(
                self._arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=environment,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise SinkError(f"{self._arguments[0]} can't be run: {error}") from None
        self._said = b""
        try:
            status = self._run(process, rows)
            self._hear(process)
        finally:
            _end(process)
        if status != 0:
            words = reason_of(RuntimeError(self._said.decode(errors="replace") or "it said nothing"))
            raise SinkError(f"{self._arguments[0]} ended with status {status}: {words}")

    def _run(self, process: subprocess.Popen[bytes], rows: list[Line]) -> int:
        deadline = time.monotonic() + self._timeout_s
        pipe = process.stdin
        assert pipe is not None
        assert process.stderr is not None
        for end in (pipe, process.stderr):
            os.set_blocking(end.fileno(), False)
        try:
            piece = bytearray()
            for line in rows:
                piece += line.text
                piece += b"\n"
                if len(piece) >= PIECE_BYTES:
                    self._feed(process, pipe, piece, deadline)
            self._feed(process, pipe, piece, deadline)
        except BrokenPipeError:
            status = self._wait(process, deadline)
            if status == 0:
                raise SinkError(f"{self._arguments[0]} ended before it had read all") from None
            return status
        with contextlib.suppress(BrokenPipeError):
            pipe.close()
        return self._wait(process, deadline)

    def _hear(self, process: subprocess.Popen[bytes]) -> None:
        """What it said since, so that it never waits long to be heard; no more of it is kept than is shown."""
        assert process.stderr is not None
        for _ in range(HEARD_MAX):
            try:
                part = os.read(process.stderr.fileno(), PIECE_BYTES)
            except BlockingIOError:
                return
            if not part:
                return
            self._said = (self._said + part)[-SAID_BYTES:]

    def _feed(
        self, process: subprocess.Popen[bytes], pipe: IO[bytes], piece: bytearray, deadline: float
    ) -> None:
        fd = pipe.fileno()
        with memoryview(piece) as view:
            at = 0
            while at < len(view):
                self._turn()
                if time.monotonic() > deadline:
                    raise self._late()
                self._hear(process)
                if select.select([], [fd], [], POLL_S)[1]:
                    with contextlib.suppress(BlockingIOError):
                        at += os.write(fd, view[at:])
        piece.clear()

    def _wait(self, process: subprocess.Popen[bytes], deadline: float) -> int:
        while True:
            self._turn()
            self._hear(process)
            left_s = deadline - time.monotonic()
            try:
                return process.wait(min(POLL_S, max(left_s, LOOK_S)))
            except subprocess.TimeoutExpired:
                if left_s <= 0:
                    raise self._late() from None

    def _late(self) -> SinkError:
        return SinkError(f"{self._arguments[0]} was not done within {self._timeout_s:g} s")

    def close(self) -> None:
        pass


def _end(process: subprocess.Popen[bytes]) -> None:
    """With what it started; nothing where it has ended."""
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    if process.stderr is not None:
        process.stderr.close()
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


KIND = Kind(
    setting="command",
    where=lambda settings: shlex.split(settings.command)[0],
    interval_s=lambda settings: settings.interval_s,
    open=Fed,
)
