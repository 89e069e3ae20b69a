"""A journal of several writers and segments, and what a stream has of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fanion._core import journal_format
from fanion.config.shipping import Shipping
from fanion.journal.batch import RecordBatch
from fanion.journal.log_segment import KIND_EVENTS, PAGE, SegmentHeader
from fanion.journal.reader import JournalReader
from fanion.nats.connection import Access
from fanion.shipping.block import Block
from fanion.shipping.shipper import Shipper
from fanion.shipping.stream import Stream
from tests.crash.receivers import ANSWER_TIMEOUT_S, NatsServers
from tests.property.test_row_columns import payload_of

MACHINE = bytes(range(16))
SALT = 0x1111111122223333

Records = dict[tuple[int, int], bytes]
"""Writer and sequence -> the record's payload."""


class Journal:
    """Of plain segments that nobody writes but this."""

    def __init__(self, directory: Path, machine: bytes = MACHINE) -> None:
        self.directory = directory
        self.machine = machine
        (directory / "journal").mkdir(parents=True)
        self._ordinals: dict[int, int] = {}
        self._next: dict[int, int] = {}

    def begin(self, writer: int) -> None:
        """Another segment of the writer; the one before is finished."""
        ordinal = self._ordinals[writer] = self._ordinals.get(writer, 0) + 1
        first = self._next.setdefault(writer, 1)
        header = SegmentHeader(self.machine, SALT + ordinal, ordinal, 1, first, 1, 0, writer)
        self.path(writer, ordinal).write_bytes(header.page() + bytes(PAGE))

    def append(self, writer: int = 0, count: int = 1, size: int = 100) -> None:
        if writer not in self._ordinals:
            self.begin(writer)
        ordinal = self._ordinals[writer]
        with self.path(writer, ordinal).open("ab") as file:
            for _ in range(count):
                sequence = self._next[writer]
                payload = payload_of("feather", self.body(size), b"", False)
                file.write(
                    journal_format.make_record(payload, KIND_EVENTS, sequence, sequence, SALT + ordinal)
                )
                self._next[writer] = sequence + 1

    def rewind(self, writer: int, sequence: int) -> None:
        """Its next record gets this sequence; the file was cut before it."""
        self._next[writer] = sequence

    def body(self, size: int) -> bytes:
        """Of a request; no event of it can be read."""
        return b'["%s"]' % secrets.token_hex(size // 2).encode()

    def path(self, writer: int, ordinal: int) -> Path:
        return self.directory / "journal" / f"{writer:03}-{ordinal}.log"

    def records(self) -> Records:
        found: Records = {}
        for batch in JournalReader(self.directory).read_batches():
            found |= records_of(batch)
        return found


def records_of(batch: RecordBatch) -> Records:
    spans = {batch.table.sequence[row]: batch.span(row) for row in range(len(batch.table))}
    return {
        (batch.writer, sequence): payload_in(bytes(batch.buffer[start:end]))
        for sequence, (start, end) in spans.items()
    }


def payload_in(record: bytes) -> bytes:
    return record[32 : 32 + int.from_bytes(record[8:12], "little")]


class World:
    """`settings`: of `shipping.*`."""

    def __init__(self, directory: Path, nats: NatsServers, **settings: Any) -> None:
        self.journal = Journal(directory)
        self.nats = nats
        given = {"timeout_s": ANSWER_TIMEOUT_S} | settings
        self.settings = Shipping(url=nats.url(f"s-{secrets.token_hex(6)}"), **given)

    def shipper(self, **given: Any) -> Shipper:
        return Shipper(self.journal.directory, self.settings, Access(), **given)

    def ship(self, **given: Any) -> int:
        with self.shipper(**given) as shipper:
            return shipper.run_once()

    def blocks(self) -> list[Block]:
        """All that the stream has, in its order; a message that is none fails."""
        stream = Stream(self.settings, Access())
        try:
            last = int(
                stream._connection.run(stream._connection.streams.stream_info(stream.name)).state.last_seq
            )
            lacks = stream.extent().lacks
            places = [place for place in range(1, last + 1) if not lacks(place)]
            found: list[Block] = []
            for at in range(0, len(places), 16):
                some = stream.fetch(places[at : at + 16])
                assert None not in some
                found += [block for block in some if block is not None]
            return found
        finally:
            stream.close()

    def downstream(self) -> Records:
        """Each record once, by its identity; blocks that come twice have to be the same."""
        found: Records = {}
        parts: dict[tuple[int, int], dict[int, bytes]] = {}
        for block in self.blocks():
            assert block.machine == self.journal.machine
            span = block.span
            own = parts.setdefault((span.writer, span.first), {})
            own[span.part] = block.data
            if len(own) < span.parts:
                continue
            data = b"".join(own[number] for number in sorted(own))
            listed = journal_format.list_records(data, 0, len(data))
            assert [each[1] for each in listed] == list(range(span.first, span.next))
            for _, sequence, _, start, length in listed:
                key = span.writer, sequence
                payload = data[start : start + length]
                assert found.setdefault(key, payload) == payload
        return found


Told = Callable[[], None]
