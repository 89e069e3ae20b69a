"""OFREP's settings, the group `ofrep`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta


class OfrepSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses of event streams."""

    stream_address_s: Annotated[
        float,
        Meta(
            ge=1,
            le=2_592_000,
            description="seconds that the address of an event stream is good for at least; at most twice that",
        ),
    ] = 43_200.0
    stream_base: Annotated[
        str,
        Meta(
            pattern=r"^((https?://[^/?#\s\"\\]+)?(/[^/?#\s\"\\]+)*)$",
            description="where browsers reach this server's event streams: an origin, a path before ours, or both; "
            "empty: the origin that they ask for flags",
        ),
    ] = ""
