"""Request ids and times of day as text; see `ext/fanion/_core/stamps.pyx`."""

from typing import final

@final
class RequestIds:
    def take(self) -> bytes: ...

@final
class UtcClock:
    def text(self, now_ns: int | None = None) -> bytes: ...
