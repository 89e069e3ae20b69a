"""The ledger: which blocks the stream took, and where they lie in it. One file, only appended to, and made anew
when most of it is of segments that have left.

    0      magic "FNANLDG1", the journal's machine, 16 bytes, 8 zeros
    32     entries of 64 bytes: CRC-32, writer u32, part u16, parts u16, 4 zeros, first, next, the stream's
           sequence, xxh64 of the records (u64 each), Unix seconds f64; 8 zeros
An entry is for a block, or for sequences that the journal couldn't read (the stream's sequence is 0). A later
entry of the same (writer, first, part) is in the place of the earlier. The file isn't synced: what doesn't
verify is its end.

Bounded by the journal: entries of what has left it are forgotten with each look, so there is one for each message
of what it has, at most one for each record (or part of one), of 45 bytes in memory (`chain`); and the file has
twice as many at most, or `DEAD_MIN` more, of 64 bytes, and half of that again while it is made anew. Messages are
of 256 KB, but for those of a moment's records under `ack = "replicated"`: with the journal's 64 GiB of batches of
ten events, 2.3 KB each and each alone in its message, 30 million entries, 1.3 GB of memory and up to 3.8 GB of
file. `journal.retention_bytes` and `retention_hours` bound it.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fanion.journal.storage import Storage, write_all
from fanion.shipping.block import Span
from fanion.shipping.chain import Chain, Entry

MAGIC: Final = b"FNANLDG1"
HEAD_BYTES: Final = 32
ENTRY: Final = struct.Struct("<IIHH4xQQQQd8x")
DEAD_MIN: Final = 10_000
"""Entries of no use before the file is made anew."""
PIECE_ENTRIES: Final = 16_384
"""Read and written at once: 1 MB."""


class Ledger:
    """`machine`: the journal's; a ledger of another is begun anew."""

    def __init__(self, storage: Storage, path: Path, machine: bytes) -> None:
        self._storage = storage
        self._path = path
        self._machine = machine
        self._written = 0
        self.chains: dict[int, Chain] = {}
        self.ends: dict[int, int] = {}
        """Writer -> the first sequence that isn't sent yet."""
        self._fd = storage.open(path, create=True)
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._storage.close(self._fd)

    def add(self, entries: list[Entry]) -> None:
        content = b"".join(map(_pack, entries))
        write_all(self._storage, self._fd, content, HEAD_BYTES + self._written * ENTRY.size)
        self._written += len(entries)
        for entry in entries:
            chain = self._chain(entry.span.writer)
            chain.put(entry)
            self.ends[chain.writer] = chain.ends_from(self.ends.get(chain.writer, chain.begins))

    def forget(self, begins: dict[int, int]) -> None:
        """What is before a writer's first sequence in the journal."""
        for writer, chain in self.chains.items():
            chain.forget(begins.get(writer, 0))
        alive = sum(map(len, self.chains.values()))
        if self._written - alive > max(DEAD_MIN, alive):
            self._renew()

    def _load(self) -> None:
        if self._storage.pread(self._fd, HEAD_BYTES, 0) != self._head():
            self._storage.truncate(self._fd, 0)
            write_all(self._storage, self._fd, self._head(), 0)
            return
        for entry in self._entries():
            self._chain(entry.span.writer).put(entry)
            self._written += 1
        self.ends = {writer: chain.ends_from(chain.begins) for writer, chain in self.chains.items()}
        self._storage.truncate(self._fd, HEAD_BYTES + self._written * ENTRY.size)

    def _entries(self) -> Iterator[Entry]:
        """Of the file, up to the first that doesn't verify; some at once, as they may be millions."""
        at = HEAD_BYTES
        while content := self._storage.pread(self._fd, PIECE_ENTRIES * ENTRY.size, at):
            for begin in range(0, len(content) - ENTRY.size + 1, ENTRY.size):
                entry = _parse(content[begin : begin + ENTRY.size])
                if entry is None:
                    return
                yield entry
            at += len(content) // ENTRY.size * ENTRY.size
            if len(content) < ENTRY.size:
                return

    def _chain(self, writer: int) -> Chain:
        chain = self.chains.get(writer)
        if chain is None:
            chain = self.chains[writer] = Chain(writer)
        return chain

    def _renew(self) -> None:
        draft = self._path.with_suffix(".tmp")
        fd = self._storage.open(draft, create=True)
        self._storage.truncate(fd, 0)
        write_all(self._storage, fd, self._head(), 0)
        written, alive = 0, itertools.chain.from_iterable(self.chains.values())
        while piece := list(itertools.islice(alive, PIECE_ENTRIES)):
            content = b"".join(map(_pack, piece))
            write_all(self._storage, fd, content, HEAD_BYTES + written * ENTRY.size)
            written += len(piece)
        self._storage.rename(draft, self._path)
        self._storage.close(self._fd)
        self._fd, self._written = fd, written

    def _head(self) -> bytes:
        return (MAGIC + self._machine).ljust(HEAD_BYTES, b"\0")


def _pack(entry: Entry) -> bytes:
    span = entry.span
    fields = (span.writer, span.part, span.parts, span.first, span.next, entry.place, entry.digest, entry.at)
    content = ENTRY.pack(0, *fields)
    return zlib.crc32(content[4:]).to_bytes(4, "little") + content[4:]


def _parse(content: bytes) -> Entry | None:
    checksum, writer, part, parts, first, behind, place, digest, at = ENTRY.unpack(content)
    if checksum != zlib.crc32(content[4:]):
        return None
    return Entry(Span(writer, first, behind, part, parts), place, digest, at)
