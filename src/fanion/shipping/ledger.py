"""The ledger: which blocks the stream took, and where they lie in it. One file, only appended to, and made anew
when most of it is of segments that have left.

    0      magic "FNANLDG1", the journal's machine, 16 bytes, 8 zeros
    32     entries of 64 bytes: CRC-32, writer u32, part u16, parts u16, 4 zeros, first, next, the stream's
           sequence, xxh64 of the records (u64 each), Unix seconds f64; 8 zeros
An entry is for a block, or for sequences that the journal couldn't read (the stream's sequence is 0). A later
entry of the same (writer, first, part) is in the place of the earlier. The file isn't synced: what doesn't
verify is its end.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Final

from fanion.journal.storage import Storage, read_file, write_all
from fanion.shipping.block import Span
from fanion.shipping.chain import Chain, Entry

MAGIC: Final = b"FNANLDG1"
HEAD_BYTES: Final = 32
ENTRY: Final = struct.Struct("<IIHH4xQQQQd8x")
DEAD_MIN: Final = 10_000
"""Entries of no use before the file is made anew."""


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
        content = read_file(self._storage, self._path)
        if content[:HEAD_BYTES] != self._head():
            self._storage.truncate(self._fd, 0)
            write_all(self._storage, self._fd, self._head(), 0)
            return
        for at in range(HEAD_BYTES, len(content) - ENTRY.size + 1, ENTRY.size):
            entry = _parse(content[at : at + ENTRY.size])
            if entry is None:
                break
            self._chain(entry.span.writer).put(entry)
            self._written += 1
        self.ends = {writer: chain.ends_from(chain.begins) for writer, chain in self.chains.items()}
        self._storage.truncate(self._fd, HEAD_BYTES + self._written * ENTRY.size)

    def _chain(self, writer: int) -> Chain:
        chain = self.chains.get(writer)
        if chain is None:
            chain = self.chains[writer] = Chain(writer)
        return chain

    def _renew(self) -> None:
        alive = [entry for chain in self.chains.values() for entry in chain]
        draft = self._path.with_suffix(".tmp")
        fd = self._storage.open(draft, create=True)
        self._storage.truncate(fd, 0)
        write_all(self._storage, fd, self._head() + b"".join(map(_pack, alive)), 0)
        self._storage.rename(draft, self._path)
        self._storage.close(self._fd)
        self._fd, self._written = fd, len(alive)

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
