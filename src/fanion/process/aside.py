"""A process that the supervisor keeps beside its workers: forked like them, started again when it ends, ended last.

It keeps nothing, so SIGKILL ends it: from the supervisor, and from the kernel when the supervisor dies. SIGINT and
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


class Aside:
    """`target` runs in the process; `row` is its heartbeat."""

    def __init__(
        self, name: str, row: Heartbeat, target: Callable[[], None], respawn_interval_s: float
    ) -> None:
        self.name = name
        self.row = row
        self._target = target
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
        if self._process is not None or now < self._due:
            return
        self.row.clear(Standing())
        self._begun = now
        process = multiprocessing.get_context("fork").Process(target=self._run, name=self.name)
        try:
            process.start()
        except OSError as error:
            log.error("the %s process can't be started", self.name, extra={"reason": str(error)})
            self._due = now + RESPAWN_DELAY_MAX_S
            return
        self._process = process

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None

    def _run(self) -> None:
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        end_with_parent(signal.SIGKILL, self._supervisor_pid)
        ctypes.CDLL(None).prctl(PR_SET_NAME, f"fanion-{self.name}".encode()[:15], 0, 0, 0)
        self._target()
