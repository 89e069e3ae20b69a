"""Many records at once, where they stand in the reader's buffer: their headers as columns, no body copied.

`record` copies one out of it: the plain form, for whatever isn't done on columns.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from fanion._core.record_table import RecordTable
from fanion.journal.log_segment import KIND_EVENTS
from fanion.journal.storage import Buffer

EVENTS_HEADER = struct.Struct("<HHIIB3x")
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
        if not 0 <= row < len(table):
            raise IndexError(f"row {row}; the batch has {len(table)}")
        dispositions, ids, body = table.dispositions[row], table.ids[row], table.body[row]
        dialect, environment = self.dialects[table.dialect[row]], self.environments[table.environment[row]]
        payload = dispositions - len(environment.encode()) - len(dialect.encode()) - EVENTS_HEADER.size
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
