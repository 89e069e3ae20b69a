"""A Python program run beside a worker's event loop, bounded in what it may say. Event loop only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Final, NamedTuple

REASON_BYTES_MAX: Final = 4096


class Ended(NamedTuple):
    """`answer`: its standard output, None where that was more than was allowed. `reason`: the last line of its
    standard error, or its status in words."""

    status: int
    answer: bytes | None
    reason: str


async def run_child(module: str, *arguments: str, answer_bytes_max: int = 0) -> Ended:
    """`python -m MODULE ARGUMENTS PID`, with this process's id behind. It is killed when the caller is cancelled.
    Raises OSError where there is no room for another process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        *arguments,
        str(os.getpid()),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        answer, reason = await asyncio.gather(
            _most(process.stdout, answer_bytes_max), _most(process.stderr, REASON_BYTES_MAX)
        )
        status = await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()  # its pipes are read to their ends, and it is waited for
    told = reason.decode(errors="replace").strip().splitlines()
    words = told[-1] if told else f"its process ended with {status}"
    return Ended(status, answer if len(answer) <= answer_bytes_max else None, words)


async def _most(stream: asyncio.StreamReader, most: int) -> bytes:
    """All of it, or more than `most`."""
    found = bytearray()
    while len(found) <= most and (part := await stream.read(65_536)):
        found += part
    return bytes(found)
