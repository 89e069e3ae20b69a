"""Commands of `fanion`, each in a process of its own that has the source imported already.

Half a processor second goes into a Python that imports Fanion, a hundredth into the fork of one that has. The forks
come from a server of their own (`multiprocessing`'s), never from the test's process with its threads. Who tests how
a process begins or ends (`e2e/test_e2e_process.py`, output that fails at the last flush) starts its own Python.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import IO, Any

from fanion import dialects
from fanion.cli import VERBS, main
from fanion.definitions import sources

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "__main__",
        "fanion.app.amending",
        "fanion.app.machines",
        "fanion.app.serving",
        "fanion.definitions.reading.yaml_documents",
        "fanion.engine.externals",
        "fanion.process.supervisor",
        "fanion.process.worker",
        *(f"fanion.cli.{verb if verb != 'eval' else 'eval_'}" for verb in VERBS),
        "rich.progress",
        "rich.table",
        *(f"fanion.dialects.{name}.routes" for name in dialects.NAMES),
        *(f"fanion.definitions.sources.{name}.source" for name in sources.NAMES),
    ]
)


def run_command(
    arguments: Sequence[object],
    *,
    given: bytes = b"",
    environment: dict[str, str] | None = None,
    timeout_s: float = 120,
) -> subprocess.CompletedProcess[str]:
    """Runs `fanion ARGUMENTS` to its end, `given` on its standard input. `environment`: beside the test's own."""
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as told,
    ):
        source.write(given)
        source.seek(0)
        child = Command(arguments, environment or {}, source, out, told)
        try:
            status = child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            raise
        texts = []
        for file in (out, told):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(child.args, status, *texts)


class Command:
    """A running command: as much of `subprocess.Popen` as tests use."""

    def __init__(
        self,
        arguments: Sequence[object],
        environment: dict[str, str],
        source: IO[Any],
        out: IO[Any],
        told: IO[Any],
    ) -> None:
        """`source`, `out`, `told`: its standard input, output and error. `environment`: beside the test's own."""
        self.args = [str(argument) for argument in arguments]
        self.stdout: IO[bytes] | None = None
        standard = [Descriptor(file.fileno()) for file in (source, out, told)]
        given = self.args, {**os.environ, **environment}, Path.cwd(), standard
        self._child = FORKS.Process(target=_become, args=given)
        self._child.start()
        self.pid = self._child.pid or 0

    def poll(self) -> int | None:
        return self._child.exitcode

    @property
    def returncode(self) -> int | None:
        return self.poll()

    def wait(self, timeout: float | None = None) -> int:
        self._child.join(timeout)
        if (status := self.poll()) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            with contextlib.suppress(
                ProcessLookupError
            ):  # it has just ended, which its parent has yet to say
                os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self) -> None:
        self.wait()
        if self.stdout is not None:
            self.stdout.close()


class Descriptor:
    """A file descriptor that goes to the forked process, whose number there it becomes."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _taken, (DupFd(self._number),)


def _taken(passed: Any) -> int:
    number: int = passed.detach()
    return number


def _become(words: list[str], environment: dict[str, str], folder: Path, standard: list[int]) -> None:
    """The forked process becomes the command."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number, descriptor in enumerate(standard):
        os.dup2(descriptor, number)
        os.close(descriptor)
    sys.stdin = open(0, closefd=False, encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False, encoding="utf-8")  # noqa: SIM115
    sys.stderr = open(2, "w", closefd=False, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115
    sys.argv = ["fanion", *words]
    main()
