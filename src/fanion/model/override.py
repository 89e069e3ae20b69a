"""What an operator lays over the definitions: an answer that stands in a flag's place until it is cleared or its
time is over (docs/overrides.md).

The store keeps those in force, by environment, and the last `TOLD_MAX` changes of them. Times are Unix seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final, Literal

import msgspec

TOLD_MAX: Final = 200
"""Workers read them with each new generation."""
IN_FORCE_MAX: Final = 1_000
"""Of one environment: more than that is a publication."""


class Override(msgspec.Struct, frozen=True, omit_defaults=True):
    """`flag`: a flag, feature, policy or parameter, by the name that its source has for it. `answer`: the name of a
    variant, else a value as JSON, or as plain text where the flag's values are text. `source`: of this format
    alone; "": of each that has the flag. `until`: None, until it is cleared. `by`, `why`: for people."""

    flag: str
    answer: str
    since: float
    until: float | None = None
    source: str = ""
    by: str = ""
    why: str = ""

    @property
    def subject(self) -> tuple[str, str]:
        """Of two with the same the later counts."""
        return self.flag, self.source

    def over(self, now: float) -> bool:
        return self.until is not None and self.until <= now


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """One change. `by`, `why`: of who cleared it, where that isn't in the override itself."""

    at: float
    environment: str
    change: Literal["set", "cleared", "ended"]
    override: Override
    by: str = ""
    why: str = ""


class Overrides(msgspec.Struct, frozen=True):
    """All of a store."""

    in_force: Mapping[str, tuple[Override, ...]] = {}
    told: tuple[Told, ...] = ()

    def of(self, environment: str, now: float) -> tuple[Override, ...]:
        """Those of an environment whose time isn't over."""
        return tuple(one for one in self.in_force.get(environment, ()) if not one.over(now))

    def next_end(self) -> float | None:
        """When the first of them is over."""
        ends = [one.until for many in self.in_force.values() for one in many if one.until is not None]
        return min(ends, default=None)

    def with_one(self, environment: str, override: Override) -> Overrides:
        """With one more, in the place of the one with its subject."""
        kept = [one for one in self.in_force.get(environment, ()) if one.subject != override.subject]
        told = Told(override.since, environment, "set", override)
        return self._changed({environment: (*kept, override)}, [told])

    def without(
        self, environment: str, gone: Iterable[Override], at: float, *, by: str = "", why: str = ""
    ) -> Overrides:
        """Without these, which were cleared."""
        gone = list(gone)
        kept = tuple(one for one in self.in_force.get(environment, ()) if one not in gone)
        return self._changed(
            {environment: kept}, [Told(at, environment, "cleared", one, by, why) for one in gone]
        )

    def without_ended(self, now: float) -> Overrides:
        """Without those whose time is over."""
        kept = {name: self.of(name, now) for name in self.in_force}
        told = [
            Told(one.until or now, name, "ended", one)
            for name, many in self.in_force.items()
            for one in many
            if one.over(now)
        ]
        return self._changed(kept, told) if told else self

    def _changed(self, changed: Mapping[str, tuple[Override, ...]], told: list[Told]) -> Overrides:
        in_force = {name: many for name, many in {**self.in_force, **changed}.items() if many}
        return Overrides(in_force, (*self.told, *told)[-TOLD_MAX:])


def laid(overrides: Iterable[Override]) -> str:
    """A digest of what these make of a bundle; "" of none."""
    said = sorted([one.flag, one.source, one.answer] for one in overrides)
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()[:32] if said else ""
