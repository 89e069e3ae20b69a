"""Results of experiments and usage of flags, for requests: each question in a process of its own, never on a
worker's event loop.

DuckDB takes every core and gigabytes, for seconds; that is nothing to do beside evaluations. Bounds: one process of
a worker, `WAITING_MAX` questions that wait for it, of one environment `OWN_MAX` with the one that is answered,
`ANSWER_BYTES_MAX` of an answer, `QUESTION_TIMEOUT_S` from the question to the answer; the process has its own
(`fanion.results.child`). An answer is kept for `KEPT_S`, and who asks the same meanwhile has the same; a large one
isn't. Event loop only.
"""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Final, Literal

import msgspec

from fanion.config import Config
from fanion.errors import RowsError
from fanion.process.child import run_child
from fanion.results.question import UNKNOWN, Question, UsageQuestion

log = logging.getLogger("fanion.results")

QUESTION_TIMEOUT_S: Final = 60.0
ANSWER_BYTES_MAX: Final = 16 << 20
WAITING_MAX: Final = 8
OWN_MAX: Final = 3
"""So that whoever asks without an end leaves room for others."""
KEPT_S: Final = 5.0
KEPT_BYTES_MAX: Final = 1 << 20
KEPT_MAX: Final = 16


class Results:
    """Of the data directory of a server."""

    def __init__(self, directory: Path, config: Config) -> None:
        self._directory = str(directory)
        self._map_bytes = config.store.map_bytes
        self._lead_us = round(config.results.lead_s * 1e6)
        self._turn = asyncio.Lock()
        self._asked: dict[Question | UsageQuestion, asyncio.Task[bytes | None]] = {}
        self._kept: dict[Question | UsageQuestion, tuple[float, bytes | None]] = {}

    def close(self) -> None:
        for task in self._asked.values():
            task.cancel()

    async def ask(
        self, environment: str, experiment: str, /, *, attribute: str | None, complete: bool, daily: bool
    ) -> bytes | None:
        """The answer's bytes; None where there is no such experiment. Raises RowsError where there is none now."""
        question = Question(
            self._directory,
            environment,
            experiment,
            self._map_bytes,
            self._lead_us,
            complete,
            attribute,
            daily,
        )
        return await self._answer(question)

    async def usage(self, environment: str, flag: str, /, *, by: Literal["day", "hour"], days: int) -> bytes:
        """The same of a flag's usage."""
        answer = await self._answer(UsageQuestion(self._directory, environment, flag, by, days))
        assert answer is not None, "there is always usage, if of nothing"
        return answer

    async def _answer(self, question: Question | UsageQuestion) -> bytes | None:
        made_at, answer = self._kept.get(question, (0.0, None))
        if made_at and time.monotonic() - made_at < KEPT_S:
            return answer
        task = self._asked.get(question)
        if task is None:
            own = sum(one.environment == question.environment for one in self._asked)
            if len(self._asked) > WAITING_MAX or own >= OWN_MAX:
                raise RowsError("too many questions are being answered; ask again later")
            task = self._asked[question] = asyncio.create_task(self._bounded(question))
            task.add_done_callback(lambda _: self._asked.pop(question, None))
        return await asyncio.shield(task)  # who asked first may leave, and others wait for the same

    async def _bounded(self, question: Question | UsageQuestion) -> bytes | None:
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT_S), self._turn:
                answer = await self._run(question)
        except TimeoutError:
            raise RowsError(f"it took longer than {QUESTION_TIMEOUT_S:.0f} s") from None
        if answer is not None and len(answer) > KEPT_BYTES_MAX:
            return answer
        while len(self._kept) >= KEPT_MAX:
            self._kept.pop(next(iter(self._kept)))
        self._kept[question] = time.monotonic(), answer
        return answer

    async def _run(self, question: Question | UsageQuestion) -> bytes | None:
        try:
            asked = msgspec.json.encode(question).decode()
            ended = await run_child("fanion.results.child", asked, answer_bytes_max=ANSWER_BYTES_MAX)
        except OSError as error:  # no room for another process, or no descriptor for its pipes
            raise _refused(question, str(error)) from None
        if ended.status == UNKNOWN:
            return None
        if ended.status or ended.answer is None:
            raise _refused(question, ended.reason)
        return ended.answer


def _refused(question: Question | UsageQuestion, why: str) -> RowsError:
    named = {"experiment": question.experiment} if isinstance(question, Question) else {"flag": question.flag}
    log.error("results can't be computed", extra=named | {"reason": why})
    return RowsError("the results can't be computed now; the server's log says why")
