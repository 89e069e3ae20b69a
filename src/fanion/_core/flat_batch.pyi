"""A quick yes for batches of flat JSON objects; see `ext/fanion/_core/flat_batch.pyx`."""

from collections.abc import Sequence

TEXT: int
CHOICE: int
TIME: int
SCALAR: int
UNSURE: int

class FlatBatch:
    def __init__(
        self,
        list_name: str,
        fields: list[tuple[str, int, bool, Sequence[str]]],
        count_max: int,
        own_field: str,
    ) -> None: ...
    def check(self, body: bytes, own: bytes) -> int: ...
