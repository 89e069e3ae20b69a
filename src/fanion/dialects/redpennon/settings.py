"""Red Pennon's settings, the group `redpennon`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class RedPennonSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an organisation may do through Red Pennon's API where its definition doesn't say otherwise."""

    rate_per_s: Annotated[
        float,
        Meta(ge=0, le=1e9, description="requests a second of one organisation; 0: no limit"),
    ] = 0.0
    burst: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000,
            description="requests that an organisation may send at once; 0: a second's worth",
        ),
    ] = 0
    batch_keys_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="variables of one batch evaluation"),
    ] = 100
    batch_events_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="events of one batch"),
    ] = 1_000
    trace_ttl_s: Annotated[
        float,
        Meta(ge=1, le=86_400, description="seconds for which an evaluation's trace verifies an event"),
    ] = 300.0
