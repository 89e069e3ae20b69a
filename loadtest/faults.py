"""What befalls a server under load, besides being killed: stopped processes, a replaced store, full reader tables.

Each fault acts on a running server's process or data directory from outside, as an operator, a kernel or another
program would, and undoes nothing but what stands still: a stopped process goes on after a moment.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import lmdb

from fanion.store.database import READERS_MAX

STOPPED_S = (0.05, 3.0)
"""How long a process stands still; a worker that stands still longer is replaced by the supervisor."""
FREED_WITHIN_S = 60.0
TAKE_READERS = """
import lmdb, sys
taken = []
try:
    environment = lmdb.open(sys.argv[1], max_readers=int(sys.argv[2]), max_dbs=16, create=False)
    while True:
        taken.append(environment.begin())
except lmdb.ReadersFullError:
    print(len(taken), flush=True)
sys.stdin.read()
"""


def stop_for_a_moment(pid: int, rng: random.Random) -> threading.Timer | None:
    """SIGSTOP now, SIGCONT later; the timer that does it. None: the process is gone."""

    def go_on() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        timer = threading.Timer(rng.uniform(*STOPPED_S), go_on)
        timer.start()
        return timer
    return None


def stop_writing_command(command: list[str], rng: random.Random) -> threading.Timer | None:
    """Starts a command that writes the store and stops it somewhere in its course, its lock in hand perhaps."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(rng.uniform(0.0, 0.6))
    timer = stop_for_a_moment(process.pid, rng)
    threading.Thread(target=process.wait, daemon=True).start()
    return timer


def replace_store(store: Path) -> None:
    """Puts a copy into the place of the store's directory, as a restore from a backup does."""
    copy, old = store.with_name("store.copy"), store.with_name("store.old")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    copy.mkdir(mode=0o700)
    with _open(store) as environment:
        environment.reader_check()
        environment.copy(str(copy))
    store.rename(old)
    copy.rename(store)


def _open(store: Path) -> lmdb.Environment:
    """The store, as soon as there is a place for a reader: a server frees those of the dead each second."""
    ends = time.monotonic() + FREED_WITHIN_S
    while True:
        try:
            return lmdb.open(str(store), create=False, max_dbs=16, max_readers=READERS_MAX)
        except lmdb.ReadersFullError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


def fill_readers(store: Path) -> int:
    """Takes every free reader slot of the store in a process that is killed then. Returns how many it took."""
    command = [sys.executable, "-c", TAKE_READERS, str(store), str(READERS_MAX)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        taken = int(process.stdout.readline() or b"0")
        process.kill()
    return taken
