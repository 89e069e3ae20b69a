"""Overrides of one environment, as its sources ask for them (docs/overrides.md).

A source that lowers a flag asks `choose`, and lowers a chosen answer as if the definitions said nothing else: no
rules, switched on, everyone has it. So whatever is made of the definitions, in every API and where flags ask each
other, knows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from fanion.definitions.lowering.values import identity
from fanion.definitions.reading.documents import DocumentError, parse_json
from fanion.definitions.reading.report import shown
from fanion.definitions.reading.values import value_defect
from fanion.model.override import Override

UNTYPED: Final = object()
"""As `like`: only a variant can be chosen."""

_KINDS: Final[tuple[tuple[str, tuple[type, ...]], ...]] = (
    ("true or false", (bool,)),
    ("a number", (int, float)),
    ("a text", (str,)),
    ("an object", (dict,)),
    ("a list", (list,)),
)


class Chosen(NamedTuple):
    """`variant`: its name, where it is one of the flag's."""

    variant: str | None
    value: Any


class Unmet(NamedTuple):
    """An override that nothing could be done with, and why."""

    override: Override
    found: str
    allowed: str


class Overriding:
    """Which of the overrides were asked for, and which couldn't be laid."""

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self._overrides: dict[str, list[Override]] = {}
        for override in overrides:
            self._overrides.setdefault(override.flag, []).append(override)
        self._met: set[Override] = set()
        self._refused: dict[Override, Unmet] = {}

    def choose(
        self, source: str, flag: str, variants: Mapping[str, Any], *, like: Any = UNTYPED
    ) -> Chosen | None:
        """What stands in the flag's place; None where nothing does. A variant's name counts before a value. `like`:
        a value of the flag's, whose kind another one may have; without it only what a variant has."""
        override = self._of(source, flag)
        if override is None:
            return None
        if override.answer in variants:
            self._met.add(override)
            return Chosen(override.answer, variants[override.answer])
        value = _value(override.answer, like if like is not UNTYPED else next(iter(variants.values()), None))
        same = [name for name, one in variants.items() if identity(one) == identity(value)]
        if same:
            self._met.add(override)
            return Chosen(same[0], variants[same[0]])
        if like is UNTYPED:
            named = ", ".join(sorted(map(shown, variants))) or "a flag with variants"
            self._refused[override] = Unmet(override, shown(override.answer), f"one of {named}")
            return None
        kind = _kind(like)
        if like is not None and kind != _kind(value):
            named = f", or one of {', '.join(sorted(map(shown, variants)))}" if variants else ""
            found = shown(override.answer)
            self._refused[override] = Unmet(override, found, f"{kind}, as the flag's values are{named}")
            return None
        if (defect := value_defect(value, None)) is not None:
            self._refused[override] = Unmet(override, *defect)
            return None
        self._met.add(override)
        return Chosen(None, value)

    def lies_on(self, source: str, flag: str) -> bool:
        """Whether something stands in the flag's place: then nobody draws."""
        return self._of(source, flag) in self._met

    def __bool__(self) -> bool:
        return bool(self._overrides)

    def unmet(self) -> list[Unmet]:
        """Those that changed nothing, and why."""
        found = []
        for many in self._overrides.values():
            for one in many:
                if one not in self._met:
                    where = f" of {one.source}" if one.source else ""
                    none = Unmet(one, f"no flag {shown(one.flag)}{where}", "a flag of the environment")
                    found.append(self._refused.get(one, none))
        return found

    def _of(self, source: str, flag: str) -> Override | None:
        """The source's own before that of all."""
        known = self._overrides.get(flag)
        if known is None:
            return None
        return next((one for name in (source, "") for one in known if one.source == name), None)


def _value(answer: str, like: Any) -> Any:
    """What is meant; plain text where the flag has texts. JSON is held to the rules of definitions."""
    try:
        value = parse_json(answer)
    except DocumentError:
        return answer
    return answer if isinstance(like, str) and not isinstance(value, str) else value


def _kind(value: Any) -> str:
    return next((name for name, types in _KINDS if isinstance(value, types)), "null")
