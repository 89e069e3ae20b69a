"""Who an API's requests are about, as exposures name them (docs/exposures.md: Units).

A dialect lists where to look in what it asks a bundle with; the first place that holds an id is the unit.
"""

from __future__ import annotations

from typing import NamedTuple

from fanion._core.exposures import ATTRIBUTE, CONTEXT, MEMBER, MEMBER_OR_ATTRIBUTE

__all__ = ["ATTRIBUTE", "CONTEXT", "MEMBER", "MEMBER_OR_ATTRIBUTE", "UnitPlace"]


class UnitPlace(NamedTuple):
    """`where`: one of the above. `name`: of the member or attribute; of CONTEXT, which is the question's first, its
    type where a `kind` is given, else the type of anonymous ones: the kind is its type then. `anonymous`: who is
    only known by this is recorded only where the environment wants it."""

    where: int
    name: str
    kind: str
    anonymous: bool = False
