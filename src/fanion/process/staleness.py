"""What a worker makes of a place that wasn't heard for long: answers say so, and in the end keys aren't honoured.

Nothing of it is on a request's path while the place is heard: the handler that adds the header takes the other
one's place when that is due, and back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fanion.config.places import Places

HEADER: Final = b"fanion-stale"

Handle = Callable[..., Awaitable[None]]


class Staleness:
    """`stale_s`: how long ago the place was heard. `lapse`: has keys honoured no longer, or again."""

    def __init__(
        self, settings: Places, stale_s: Callable[[], float], lapse: Callable[[bool], None], rsgi: bool
    ) -> None:
        self._settings = settings
        self._stale_s = stale_s
        self._lapse = lapse
        self._wrap = _by_rsgi if rsgi else _by_asgi
        self._lapsed = False
        self._seconds = 0

    def look(self) -> None:
        """Once a tick."""
        seconds = self._stale_s()
        self._seconds = int(seconds) if seconds >= self._settings.stale_s else 0
        most = self._settings.max_staleness_s
        lapsed = bool(most) and seconds > most
        if lapsed != self._lapsed:
            self._lapsed = lapsed
            self._lapse(lapsed)

    @property
    def reasons(self) -> list[str]:
        """Why requests shouldn't come here."""
        if not self._lapsed:
            return []
        most = self._settings.max_staleness_s
        return [f"keys: the place wasn't heard for more than {most:g} s (places.max_staleness_s)"]

    def handler(self, plain: Handle) -> Handle:
        """What answers now."""
        return self._wrap(plain, self._header) if self._seconds else plain

    def _header(self) -> bytes:
        return b"%d" % self._seconds


def _by_asgi(plain: Handle, value: Callable[[], bytes]) -> Handle:
    def handle(scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        def telling(message: dict[str, Any]) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (HEADER, value())]}
            told: Awaitable[None] = send(message)
            return told

        return plain(scope, receive, telling)

    return handle


class _Telling:
    """An RSGI protocol whose answers have one header more."""

    def __init__(self, proto: Any, value: str) -> None:
        self._proto = proto
        self._header = (HEADER.decode(), value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proto, name)

    def __call__(self) -> Any:
        return self._proto()

    def __aiter__(self) -> Any:
        return self._proto.__aiter__()

    def response_empty(self, status: int, headers: Any) -> Any:
        return self._proto.response_empty(status, [*headers, self._header])

    def response_str(self, status: int, headers: Any, body: str) -> Any:
        return self._proto.response_str(status, [*headers, self._header], body)

    def response_bytes(self, status: int, headers: Any, body: bytes) -> Any:
        return self._proto.response_bytes(status, [*headers, self._header], body)

    def response_stream(self, status: int, headers: Any) -> Any:
        return self._proto.response_stream(status, [*headers, self._header])


def _by_rsgi(plain: Handle, value: Callable[[], bytes]) -> Handle:
    def handle(scope: Any, proto: Any) -> Awaitable[None]:
        return plain(scope, _Telling(proto, value().decode()))

    return handle
