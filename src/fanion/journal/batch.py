"""Many records at once, where they stand in the reader's buffer: their headers as columns, no body copied.

`record` copies one out of it: the plain form, for whatever isn't done on columns.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from fanion._core.journal_format import RECORD_HEADER_BYTES, record_span
from fanion._core.record_table import RecordTable
from fanion.journal.log_segment import KIND_EVENTS
from fanion.journal.storage import Buffer

EVENTS_HEADER = struct.Struct("<HHIIB3x")
LENGTH_AT = 8
"""Offset in a record's header of its payload's length, u32."""
HOLES_AT = 13
"""Offset in a payload of the byte that says whether events of it were erased."""


class Record(NamedTuple):
    """One accepted request. `body`: the request's (`whole`) or a JSON array of events; of exposures (`kind`) their
    own bytes (`exposures`). `holes`: events of it were erased, and null stands where they stood."""

    writer: int
    epoch: int
    sequence: int
    received_ns: int
    dialect: str
    environment: str
    dispositions: bytes
    ids: bytes
    whole: bool
    body: bytes
    kind: int = KIND_EVENTS
    holes: bool = False


class RecordBatch(NamedTuple):
    """Records of one writer and epoch, in sequence. `table`: where their parts stand in `buffer`, which holds them
    until the reader is asked for its next batch. `dialects`, `environments`: the texts that the table numbers; they
    grow with the reader."""

    machine: bytes
    writer: int
    epoch: int
    buffer: Buffer
    table: RecordTable
    dialects: list[str]
    environments: list[str]

    def record(self, row: int) -> Record:
        """The record of one row, as bytes of its own."""
        table, buffer = self.table, self.buffer
        payload = self._payload_at(row)
        dispositions, ids, body = table.dispositions[row], table.ids[row], table.body[row]
        dialect, environment = self.dialects[table.dialect[row]], self.environments[table.environment[row]]
        return Record(
            self.writer,
            self.epoch,
            table.sequence[row],
            table.received_ns[row],
            dialect,
            environment,
            bytes(buffer[dispositions : dispositions + table.disposition_count[row]]),
            bytes(buffer[ids : ids + table.id_count[row] * 16]),
            bool(table.whole[row]),
            bytes(buffer[body : body + table.body_bytes[row]]),
            table.kind[row],
            bool(buffer[payload + HOLES_AT]),
        )

    def span(self, row: int) -> tuple[int, int]:
        """Where the record of one row begins and ends in the buffer, with its header and what fills it up."""
        start = self._payload_at(row) - RECORD_HEADER_BYTES
        length = int.from_bytes(self.buffer[start + LENGTH_AT : start + LENGTH_AT + 4], "little")
        return start, start + record_span(length)

    def _payload_at(self, row: int) -> int:
        if not 0 <= row < len(self.table):
            raise IndexError(f"row {row}; the batch has {len(self.table)}")
        dialect, environment = (
            self.dialects[self.table.dialect[row]],
            self.environments[self.table.environment[row]],
        )
        names = len(environment.encode()) + len(dialect.encode())
        return self.table.dispositions[row] - names - EVENTS_HEADER.size
