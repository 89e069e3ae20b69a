"""The headers of many records as columns; see `ext/fanion/_core/record_table.pyx`."""

from array import array
from typing import final

from _typeshed import ReadableBuffer

@final
class Names:
    texts: list[str]

@final
class RecordTable:
    sequence: array[int]
    received_ns: array[int]
    dialect: array[int]
    environment: array[int]
    dispositions: array[int]
    disposition_count: array[int]
    ids: array[int]
    id_count: array[int]
    body: array[int]
    body_bytes: array[int]
    whole: array[int]
    kind: array[int]
    count: int
    end: int
    def __len__(self) -> int: ...

def tabulate(
    data: ReadableBuffer,
    offset: int,
    end: int,
    records: int,
    from_sequence: int,
    since_ns: int,
    dialects: Names,
    environments: Names,
) -> RecordTable: ...
