"""What browsers are told of a public API."""

from __future__ import annotations

from dataclasses import dataclass

from fanion.dialects.wire.reply import HeaderList


@dataclass(frozen=True, slots=True)
class Cors:
    """What a preflight is told. `always`: headers that every answer carries, so that scripts may read it."""

    headers: bytes
    max_age_s: int = 86_400
    expose: bytes = b""

    @property
    def always(self) -> HeaderList:
        shown: HeaderList = [(b"access-control-allow-origin", b"*")]
        if self.expose:
            shown.append((b"access-control-expose-headers", self.expose))
        return shown
