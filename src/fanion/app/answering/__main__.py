"""`python -m fanion.app.answering DIRECTORY PARENT`: answers the console's questions (`fanion.console.reader`
has how they come), until its standard input ends.

It steps back behind whoever serves (nice), is the first that a machine without memory ends, has
`DATA_BYTES_MAX` of its own, and ends with its parent. Nothing is written, to a log neither: what it reads may
be about people."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
import traceback
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from fanion.console.questions import Question
from fanion.console.reader import ANSWERED, FAILED, HEAD, UNFIT
from fanion.errors import FanionError

PR_SET_PDEATHSIG: Final = 1
NICE: Final = 10
DATA_BYTES_MAX: Final = 1 << 30
QUESTION_BYTES_MAX: Final = 8 << 20


def main(directory: Path, parent: int) -> int:
    """The exit status. `parent`: with whom it ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        return 1
    os.nice(NICE)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    resource.setrlimit(resource.RLIMIT_DATA, (DATA_BYTES_MAX, DATA_BYTES_MAX))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints goes nowhere
    from fanion.app.answering.answers import Answers

    found = Answers(directory)
    answers.write(HEAD.pack(ANSWERED, 0))
    answers.flush()
    while (question := _next(sys.stdin.buffer)) is not None:
        status, answer = _answer(found.of, question)
        answers.write(HEAD.pack(status, len(answer)) + answer)
        answers.flush()
    return 0


def _answer(answer: object, question: bytes) -> tuple[int, bytes]:
    try:
        asked = msgspec.json.decode(question, type=Question)
        return ANSWERED, answer(asked)  # type: ignore[operator]
    except FanionError as error:
        return UNFIT, str(error).encode()
    except OSError as error:
        return UNFIT, f"It can't be read: {error.strerror or error}.".encode()
    except MemoryError:
        return UNFIT, b"It needs more memory than a page of the console may take."
    except Exception as error:  # a fault of ours; its text may be about people, its place isn't
        *_, frame = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        return (
            FAILED,
            f"A fault of Fanion itself, please report it: {type(error).__name__} ({place}).".encode(),
        )


def _next(questions: BinaryIO) -> bytes | None:
    head = questions.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    _, size = HEAD.unpack(head)
    return questions.read(size) if size <= QUESTION_BYTES_MAX else None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
