"""What is rendered of definitions when they are published."""

from __future__ import annotations

from typing import Final

from fanion.dialects.wire.rendering import Rendering
from fanion.model.program import Entry, Lowered, Table


def render(lowered: Lowered) -> Table:
    """Every flag of every source, by its value."""
    entries = (
        Entry(
            key=parameter.key,
            decision=parameter.decision,
            fragments=tuple((b'"value":', (answer.value or "null").encode()) for answer in parameter.answers),
            client_safe=parameter.client_safe,
        )
        for parameter in lowered.parameters
    )
    return Table(entries=tuple(entries), absent=(b'"value":', b"null"))


RENDERING: Final = Rendering(render)
