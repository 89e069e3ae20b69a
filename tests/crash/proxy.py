"""A TCP proxy of our own between a client and a server on this machine: it cuts, swallows, and goes slowly."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator

CHUNK_BYTES = 64 * 1024


class Proxy:
    """`port`: what clients connect to. Its switches may be set at any time, from any thread.

    `swallows`: it takes connections and bytes, and passes nothing on, as where a peer is gone without a word.
    `delay_s`, `bytes_per_s`: of each direction; 0: at once, as fast as it goes."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.swallows = False
        self.delay_s = 0.0
        self.bytes_per_s = 0.0
        self._target = target
        self._server: asyncio.Server | None = None
        self._open = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(100)
        self.heal()

    def cut(self) -> None:
        """Ends all connections, and each new one at once."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result(100)

    def heal(self) -> None:
        """Takes connections, as at first."""
        self.swallows = False
        self._open = True

    def close(self) -> None:
        self.cut()
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(100)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        assert self._server is not None
        await asyncio.sleep(
            0.05
        )  # what was accepted ends: closing the server before would leave its socket open
        self._server.close()
        await asyncio.sleep(0.05)

    async def _cut(self) -> None:
        self._open = False
        while self._writers:
            for writer in self._writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there: asyncio.StreamWriter | None = None
        if not self._open:
            writer.transport.abort()
            return
        self._writers.add(writer)
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self._target)
            ways = [asyncio.ensure_future(self._pass(*way)) for way in ((reader, there), (back, writer))]
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # nobody is there now
        finally:
            for each in filter(None, (writer, there)):
                each.transport.abort()
            self._writers.discard(writer)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while part := await reader.read(CHUNK_BYTES):
                while self.swallows and self._open:
                    await asyncio.sleep(0.05)
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                if self.bytes_per_s:
                    await asyncio.sleep(len(part) / self.bytes_per_s)
                writer.write(part)
                await writer.drain()


@contextlib.contextmanager
def proxy(target: int) -> Iterator[Proxy]:
    made = Proxy(target)
    try:
        yield made
    finally:
        made.close()
