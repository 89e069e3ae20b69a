"""Doors of the native entrance (`fanion._core.entrance`): what one method of a path asks of a usual request.

`fanion.http.entrance` puts the entrance together of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from fanion._core.entrance import Door, Entrance, Steps
from fanion._core.lane import Lane
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Scan
from fanion.model.api_key import KeyRecord

__all__ = ["Door", "Doors", "Entrance", "Lane", "Steps", "doors_of"]

Doors: TypeAlias = dict[str, Door]
"""By method."""


def doors_of(
    dialect: Dialect, methods: Mapping[str, Endpoint], limited: Callable[[KeyRecord], float] | None
) -> Doors:
    """None of a dialect that doesn't say where its keys stand. `limited`: how long a key has to wait."""
    place = dialect.key_place
    if place is None:
        return {}
    return {
        method: Door(
            dialect,
            endpoint,
            dialect_name=dialect.name,
            name=endpoint.name,
            scope=endpoint.scope,
            handler=endpoint.handler,
            limited=limited,
            own=place.own,
            bearer=place.bearer,
            folded=place.folded,
            scanned=endpoint.scan is not Scan.LATER,
            query=endpoint.query,
            bytes_max=endpoint.body_bytes_max,
        )
        for method, endpoint in methods.items()
    }
