"""A worker process for crash tests: appends numbered records as fast as it can and tells which are acknowledged.

Usage: python journal_worker.py DIRECTORY ACK NAME. Each record's body is ["NAME-n"]; each acknowledged n is written
to standard output as it is acknowledged, so what stands in the pipe when the process dies was acknowledged.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from fanion.errors import JournalError
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.settings import KIB

SETTINGS = {"ring_bytes": 256 * KIB, "segment_bytes": 128 * KIB, "group_bytes": 32 * KIB, "reserve_bytes": 0}


async def main(directory: Path, ack: str, name: str) -> None:
    settings = JournalSettings(ack="buffered" if ack == "buffered" else "durable", **SETTINGS)
    journal = JournalWriter.open(directory, settings, asyncio.get_running_loop())
    limit = asyncio.Semaphore(64)

    async def send(n: int) -> None:
        async with limit:
            body = f'["{name}-{n}"{" " * (n * 7919 % 3000)}]'.encode()
            members = {"dialect": "feather", "environment": "prod", "received_ns": time.time_ns()}
            try:
                sequence = journal.append(**members, body=body, whole=False)
                await journal.durable(sequence)
            except JournalError:
                await asyncio.sleep(0.001)
                return
            os.write(1, f"{name}-{n}\n".encode())

    n = 0
    while True:
        await asyncio.gather(*(send(n + i) for i in range(64)))
        n += 64


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
