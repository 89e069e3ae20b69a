"""What is said of wrong items in the answer to their batch; see `ext/fanion/_core/said.pyx`."""

from collections.abc import Callable

class Said:
    count: int
    full: bool
    def __init__(self, name: str, room: int, encode: Callable[[str], bytes]) -> None: ...
    def say(self, index: int, message: str) -> None: ...
    def list(self) -> bytes: ...
