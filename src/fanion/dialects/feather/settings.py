"""Feather's settings, in the group `limiter` beside the server's own."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class FeatherSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rate of one key, over all workers."""

    feather_rate_per_s: Annotated[
        float,
        Meta(ge=0, le=1e9, description="requests a second of one Feather key; 0: no limit"),
    ] = 0.0
    feather_burst: Annotated[
        int,
        Meta(
            ge=0, le=1_000_000_000, description="requests a Feather key may send at once; 0: a second's worth"
        ),
    ] = 0
