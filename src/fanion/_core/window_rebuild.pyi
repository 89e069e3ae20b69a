"""The rebuild of event-id windows; see `ext/fanion/_core/window_rebuild.pyx`."""

from typing_extensions import Buffer

from fanion._core.window import IdWindow

def insert(window: IdWindow, hashes: Buffer, writer: int, sequence: int) -> int: ...
def insert_run(
    window: IdWindow,
    data: Buffer,
    start: int,
    end: int,
    writer: int,
    *,
    extra: bool,
    above: int = 0,
    count_only: bool = False,
) -> int: ...
