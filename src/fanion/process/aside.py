"""A process that the supervisor keeps beside its workers: forked like them, started again when it ends, ended last.

SIGKILL may end it at any time: from the supervisor, and from the kernel when the supervisor dies. One that is
`gentle` is asked by SIGTERM before, when the server stops, and has until the workers' own time is over. SIGINT and
SIGHUP, which a terminal sends to all, are the supervisor's to answer.
"""

from __future__ import annotations

import ctypes
import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from fanion.telemetry.heartbeats import Heartbeat, Standing

log = logging.getLogger("fanion.server")

PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
RESPAWN_DELAY_MAX_S = 5.0
STEADY_S = 10.0
"""What ran for so long is started again without a growing delay."""


def end_with_parent(number: int, supervisor_pid: int) -> None:
    """Right after the fork: signal `number` comes when the supervisor ends, however it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != supervisor_pid:
        os._exit(1)


class Beside(NamedTuple):
    """What such a process is: `run` is its work."""

    name: str
    run: Callable[[], None]
    still_s: float | None = None
    """How long its beat may stand still before it is killed; None: as long as a worker's."""
    gentle: bool = False
    """It ends by itself at SIGTERM."""
    late: bool = False
    """It is asked only when the workers have ended, which need it until then."""


class Aside:
    """`row`: the process's heartbeat."""

    def __init__(self, beside: Beside, row: Heartbeat, respawn_interval_s: float) -> None:
        self.name = beside.name
        self.still_s = beside.still_s
        self.row = row
        self._beside = beside
        self._interval_s = respawn_interval_s
        self._process: BaseProcess | None = None
        self._supervisor_pid = os.getpid()
        self._begun = 0.0
        self._due = 0.0
        self._failed = 0

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    @property
    def sentinel(self) -> int | None:
        """Readable when the process has ended; None while there is none."""
        return None if self._process is None else self._process.sentinel

    def keep(self) -> None:
        """Starts it when it isn't there and its time has come."""
        now = time.monotonic()
        if self._process is not None and not self._process.is_alive():
            steady = now - self._begun > STEADY_S
            self._failed = 0 if steady else self._failed + 1
            self._due = now + min(self._interval_s * 2**self._failed, RESPAWN_DELAY_MAX_S)
            log.error("the %s process ended", self.name, extra={"status": self._process.exitcode})
            self._process = None
            self.row.clear(Standing(reasons=("it ended and is started again",)))
        if self._process is not None or now < self._due:
            return
        self.row.clear(Standing(reasons=("starting",)))
        self._begun = now
        process = multiprocessing.get_context("fork").Process(target=self._run, name=self.name)
        try:
            process.start()
        except OSError as error:
            log.error("the %s process can't be started", self.name, extra={"reason": str(error)})
            self._due = now + RESPAWN_DELAY_MAX_S
            return
        self._process = process

    def ask(self) -> None:
        """To end, where it can be asked."""
        if self._beside.gentle and not self._beside.late and self._process is not None:
            self._process.terminate()

    def kill(self, deadline: float) -> None:
        """`deadline`: until when one that was asked is waited for, by the monotonic clock."""
        if self._process is not None:
            if self._beside.late:
                self._process.terminate()
            if self._beside.gentle:
                self._process.join(max(0.0, deadline - time.monotonic()))
            self._process.kill()
            self._process.join()
            self._process = None

    def _run(self) -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with_parent(signal.SIGKILL, self._supervisor_pid)
        ctypes.CDLL(None).prctl(PR_SET_NAME, f"fanion-{self.name}".encode()[:15], 0, 0, 0)
        self._beside.run()
