"""`python -m fanion.results.child QUESTION`: the process that answers one question of a server, and ends.

The answer, `{"results":[...]}`, goes to standard output. It steps back behind whoever serves (nice), ends with its
parent, and only one of a data directory computes at a time: others wait, in order of nothing, until their parent
has waited long enough.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import FanionError
from fanion.pipeline.pipeline import DIRECTORY
from fanion.results.compute import Asked, compute, read_plans
from fanion.results.question import CPU_S_MAX, UNKNOWN, Question

PR_SET_PDEATHSIG: Final = 1
NICE: Final = 10
LOCK: Final = "results.lock"


def main(argument: str, parent: int) -> int:
    """The exit status. `parent`: with whom it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return 1
    os.nice(NICE)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    question = msgspec.json.decode(argument, type=Question)
    try:
        answer = _answer(question)
    except (FanionError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if answer is None:
        return UNKNOWN
    sys.stdout.buffer.write(answer)
    return 0


def _answer(question: Question) -> bytes | None:
    directory = Path(question.directory)
    plan = read_plans(directory, question.map_bytes).get(question.environment, {}).get(question.experiment)
    if plan is None:
        return None
    asked = Asked(question.lead_us, question.complete, question.attribute, question.daily)
    rows = directory / DIRECTORY
    if not rows.is_dir():
        return msgspec.json.encode({"results": compute(directory, question.environment, [plan], asked)})
    lock = os.open(rows / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return msgspec.json.encode({"results": compute(directory, question.environment, [plan], asked)})
    finally:
        os.close(lock)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
