"""A worker process for crash tests: keeps batches of event ids as a dialect does, many at a time.

Usage: python window_worker.py DIRECTORY. Each line on standard input is a batch's number; the answer is the number
and "ok" (all of it is safe) or "again", which also stands for an overloaded server.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from fanion.errors import JournalError, JournalFullError
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.settings import KIB
from fanion.journal.window import EventWindow

SETTINGS = JournalSettings(
    ring_bytes=256 * KIB,
    segment_bytes=128 * KIB,
    group_bytes=32 * KIB,
    reserve_bytes=0,
    raise_priority=False,
    compress=False,
    retention_hours=0.0,
)
CAPACITY, FIRST = 1 << 20, 1024
"""So that the window grows again and again under the kills."""
FRESH, OVERLAP = 5, 3


def ids_of(batch: int) -> list[str | bytes | None]:
    """Eight ids, three of which the next batch has too, and one twice."""
    numbers = [batch * FRESH + item for item in range(FRESH + OVERLAP)]
    return [f"id-{number}" for number in (*numbers, numbers[0])]


def scope_of(batch: int) -> bytes:
    """More tenants than a window has lanes, so that lanes are taken, and shared, under the kills."""
    return b"e%d" % (batch // 50 % 20)


async def keep(journal: JournalWriter, window: EventWindow, batch: int) -> None:
    ids = ids_of(batch)
    reservation = window.reserve(scope_of(batch), ids)
    try:
        if reservation.duplicates == len(ids):
            sequence = 0
        else:
            sequence = journal.append(
                dialect="traffical",
                environment="e",
                received_ns=1,
                body=b" " * (batch * 7919 % 2000),
                whole=False,
                dispositions=reservation.dispositions,
                ids=reservation.hashes,
            )
    except JournalFullError:
        reservation.release()
        raise
    if sequence:
        reservation.commit(sequence)
        await journal.durable(sequence)
    else:
        reservation.release()
    await window.settle(reservation)


async def main(directory: Path) -> None:
    loop = asyncio.get_running_loop()
    journal = JournalWriter.open(directory, SETTINGS, loop)
    window = EventWindow.open(directory, CAPACITY, settings=SETTINGS, first=FIRST)
    await window.prepare(journal)
    requests: asyncio.StreamReader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)

    async def answer(batch: int) -> None:
        try:
            await keep(journal, window, batch)
            os.write(1, b"%d ok\n" % batch)
        except JournalError:
            os.write(1, b"%d again\n" % batch)

    tasks = set()
    while line := await requests.readline():
        tasks.add(task := asyncio.create_task(answer(int(line))))
        task.add_done_callback(tasks.discard)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
