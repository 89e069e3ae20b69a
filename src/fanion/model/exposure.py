"""What an environment's exposures carry, as whoever records them reads it: a document of the bundle, which is there
only where some are recorded (docs/exposures.md)."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

DOCUMENT: Final = "exposures"

AttributeType = Literal["text", "number", "boolean"]


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """`attributes`: those that travel along, by name. `assigned`: whether answers that return everything leave
    rows. `anonymous`: whether a unit that is only known by its anonymous id does. `keyed`: whether
    digests are keyed."""

    attributes: dict[str, AttributeType] = {}
    assigned: bool = False
    anonymous: bool = False
    keyed: bool = False
