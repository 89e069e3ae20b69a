"""A question about an experiment or a flag's usage, as it is handed to the process that answers it; light, as
servers import it."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

UNKNOWN: Final = 4
"""The exit status of an experiment that isn't there; 1 of all else, with why on standard error."""
CPU_S_MAX: Final = 120
"""Seconds of all cores together."""


class Question(msgspec.Struct, frozen=True, tag="experiment"):
    """Hashable, so that those who ask the same at once can be told the same."""

    directory: str
    environment: str
    experiment: str
    map_bytes: int
    lead_us: int
    complete: bool = False
    attribute: str | None = None
    daily: bool = False


class UsageQuestion(msgspec.Struct, frozen=True, tag="usage"):
    """Of a flag: `fanion.results.usage`."""

    directory: str
    environment: str
    flag: str
    by: Literal["day", "hour"]
    days: int
