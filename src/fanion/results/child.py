"""`python -m fanion.results.child QUESTION`: the process that answers one question of a server, and ends.

The answer, `{"results":[...]}` or `{"usage":[...]}`, goes to standard output. It steps back behind whoever serves
(nice), ends with its parent, and only one of a data directory computes at a time: others wait, in order of nothing,
until their parent has waited long enough.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fanion.errors import FanionError
from fanion.pipeline.pipeline import DIRECTORY
from fanion.results.compute import Asked, compute, read_plans
from fanion.results.question import CPU_S_MAX, UNKNOWN, Question, UsageQuestion
from fanion.results.usage import usage

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
    question = msgspec.json.decode(argument, type=Question | UsageQuestion)
    try:
        answer = _answer(question)
    except (FanionError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    if answer is None:
        return UNKNOWN
    sys.stdout.buffer.write(answer)
    return 0


def _answer(question: Question | UsageQuestion) -> bytes | None:
    """None where there is no such experiment."""
    directory = Path(question.directory)
    if isinstance(question, UsageQuestion):
        name, flag, by, days = question.environment, question.flag, question.by, question.days
        with _alone(directory):
            counts = usage(directory, environment=name, flag=flag, by=by, days=days)
        return msgspec.json.encode({"usage": counts})
    plan = read_plans(directory, question.map_bytes).get(question.environment, {}).get(question.experiment)
    if plan is None:
        return None
    asked = Asked(question.lead_us, question.complete, question.attribute, question.daily)
    with _alone(directory):
        return msgspec.json.encode({"results": compute(directory, question.environment, [plan], asked)})


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One at a time; without rows there is nothing to wait for."""
    rows = directory / DIRECTORY
    if not rows.is_dir():
        yield
        return
    lock = os.open(rows / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
