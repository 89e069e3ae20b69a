"""A process beside the operations process that reads store and journal for the console, and computes what costs.

The operations process answers probes, so nothing that waits for a disk or takes more than moments happens in it. A
reader is started with the first question, answers one at a time, and ends when nobody has asked for `IDLE_S`. A
question has its time, from when its turn came, and so has the wait for a turn; who takes longer is killed. A
question is one JSON document on its standard input behind its length, an answer a status and bytes likewise. Event
loop only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import struct
import sys
from typing import Final

import msgspec

HEAD: Final = struct.Struct("<BI")
"""Of an answer: a status and the length of what follows; of a question the same with status 0."""
ANSWERED, UNFIT, FAILED = 0, 1, 2
"""It answered; what was asked for isn't there or can't be read, with the reason; a fault of our own."""
ANSWER_BYTES_MAX: Final = 8 << 20
WAITING_MAX: Final = 24
IDLE_S: Final = 60.0
START_S: Final = 40.0
"""For a process to begin, on a machine that has other things to do."""


class ReaderError(Exception):
    """Why there is no answer, for people. `busy`: another time there may be one; `unfit`: not to this question."""

    def __init__(self, words: str, *, busy: bool = False, unfit: bool = False) -> None:
        super().__init__(words)
        self.busy = busy
        self.unfit = unfit


class Reader:
    """`arguments`: of the module that is run, before this process's id. `kept`: whether the process stays for more
    questions."""

    def __init__(
        self, *arguments: str, timeout_s: float, waiting_max: int = WAITING_MAX, kept: bool = True
    ) -> None:
        self._command = [sys.executable, "-m", *arguments, str(os.getpid())]
        self._timeout_s = timeout_s
        self._waiting_max = waiting_max
        self._kept = kept
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, question: msgspec.Struct) -> bytes:
        """The answer's JSON. Raises ReaderError."""
        if self._waiting >= self._waiting_max:
            raise ReaderError("Too many pages are being made. Try again in a moment.", busy=True)
        self._waiting += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._turn.acquire()
        except TimeoutError:
            raise ReaderError("Other pages took too long. Try again in a moment.", busy=True) from None
        finally:
            self._waiting -= 1
        try:
            return await self._answer(msgspec.json.encode(question))
        finally:
            self._turn.release()

    async def _answer(self, asked: bytes) -> bytes:
        whole = False
        try:
            async with asyncio.timeout(START_S):
                process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            async with asyncio.timeout(self._timeout_s):
                process.stdin.write(HEAD.pack(ANSWERED, len(asked)) + asked)
                await process.stdin.drain()
                status, size = HEAD.unpack(await process.stdout.readexactly(HEAD.size))
                if size > ANSWER_BYTES_MAX:
                    raise ReaderError("The answer is too large to be shown.")
                answer = await process.stdout.readexactly(size)
                whole = True
        except TimeoutError:
            words = f"It took longer than {self._timeout_s:.0f} seconds and was stopped. Is the machine very busy?"
            raise ReaderError(words, busy=True) from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise ReaderError(
                "The process that was to read it ended; it may have needed too much memory."
            ) from None
        except OSError as error:
            raise ReaderError(f"No process can be started to read it: {error.strerror}.", busy=True) from None
        finally:
            if whole and self._kept:
                loop = asyncio.get_running_loop()
                self._idle = loop.call_later(IDLE_S, lambda: loop.create_task(self.stop()))
            else:
                await self._end()
        if status != ANSWERED:
            raise ReaderError(answer.decode(errors="replace"), unfit=status == UNFIT)
        return answer

    async def _started(self) -> asyncio.subprocess.Process:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._process is not None and self._process.returncode is not None:
            await self._end()
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # whatever it might say of an event
            )
            assert self._process.stdout is not None
            await self._process.stdout.readexactly(HEAD.size)  # it has imported what it needs
        return self._process

    async def stop(self) -> None:
        """Ends the process, unless a question is at it."""
        if not self._turn.locked():
            async with self._turn:
                await self._end()

    async def _end(self) -> None:
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        try:
            await asyncio.shield(process.communicate())  # its pipes are read to their ends
        finally:
            self._process = None
