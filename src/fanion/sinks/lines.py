"""Rows as lines of JSON, by the plain expansion: no library is needed, and some 100,000 rows a second are made.

A line is a JSON object: `id`, the row's identity as one text, then the columns of docs/rows.md, times in
microseconds since 1970.
"""

from __future__ import annotations

import msgspec

from fanion.journal.batch import RecordBatch
from fanion.journal.columns import Expander
from fanion.journal.rows import Row
from fanion.sinks.receiver import Line

_encode = msgspec.json.Encoder().encode


class Lines:
    """Collected until they are taken."""

    def __init__(self, expander: Expander) -> None:
        self._expander = expander
        self._lines: list[Line] = []
        self.text_bytes = 0

    @property
    def rows(self) -> int:
        return len(self._lines)

    def add(self, batch: RecordBatch) -> None:
        machine = batch.machine.hex()
        for number in range(len(batch.table)):
            for row in self._expander.plain_record(batch.record(number), machine):
                line = line_of(row)
                self._lines.append(line)
                self.text_bytes += len(line.text)

    def take(self) -> list[Line]:
        taken, self._lines, self.text_bytes = self._lines, [], 0
        return taken


def line_of(row: Row) -> Line:
    key = b"%b-%d-%d-%d-%d" % (row.machine.encode(), row.writer, row.sequence, row.index, row.part)
    return Line(key, b'{"id":"' + key + b'",' + _encode(row)[1:])
