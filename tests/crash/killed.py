"""What workers that are killed have in common: a process that serves until it is killed, or once."""

from __future__ import annotations

import os
import signal
import time
import traceback
from collections.abc import Callable

from fanion.pipeline import loop

loop.give_way = lambda: None  # beside other tests it would wait for them


class Never:
    """An `Ending` that never comes, with waits that are short."""

    def __call__(self) -> bool:
        return False

    def wait(self, timeout_s: float) -> bool:
        time.sleep(min(timeout_s, 0.02))
        return False


def forked(serve: Callable[[], None]) -> int:
    """The process's id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        serve()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def kill(pid: int, *, may_end: bool = False) -> bool:
    """While it serves. `may_end`: False where it came to its end, well, a moment before."""
    os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or (may_end and status == 0), status
    return os.WIFSIGNALED(status)
