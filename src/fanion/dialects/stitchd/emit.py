"""stitchd's answers, rendered when definitions are published (docs/apis/stitchd.md: Routes, Evaluate).

A fragment is the rest of an answer after the flag's key: the variant's key and the flag's switch. A native flag
answers the name of its value's variant or, without one, the value itself as text; one whose values are objects
or lists without names is not in the table, and so an unknown flag, as are other systems' definitions.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.dialects.stitchd.words import NAME
from fanion.model.parts import Fragment
from fanion.model.program import Answer, Entry, Lowered, Resolution, Table

SOURCES: Final = frozenset({"native", NAME})

ABSENT: Final[Fragment] = ()
"""An unknown flag is no answer: nothing of it is written, and the endpoint makes it a 404."""


def render(lowered: Lowered) -> Table:
    """stitchd's table of an environment."""
    made: dict[tuple[Answer, ...], tuple[Fragment, ...] | None] = {}
    entries = []
    for parameter in lowered.parameters:
        if parameter.source not in SOURCES:
            continue
        answers = parameter.answers
        if answers not in made:
            keys = variant_keys(answers)
            made[answers] = None if keys is None else tuple(map(fragment, keys, answers))
        fragments = made[answers]
        if fragments is not None:
            entries.append(Entry(parameter.key, parameter.decision, fragments, parameter.client_safe))
    return Table(tuple(entries), ABSENT)


def variant_keys(answers: tuple[Answer, ...]) -> list[str] | None:
    """The variant key of every outcome; None where stitchd can't express one."""
    keys = []
    for answer in answers:
        key = answer.variant if answer.variant is not None else value_key(answer.value)
        if key is None:
            return None
        keys.append(key)
    return keys


def value_key(value: str | None) -> str | None:
    """A scalar value as text."""
    if value is None:
        return ""
    decoded = msgspec.json.decode(value)
    if isinstance(decoded, str):
        return decoded
    return None if isinstance(decoded, dict | list) else value


def fragment(key: str, answer: Answer) -> Fragment:
    """`is_enabled` is the flag's switch, not whether the variant is truthy (docs/apis/stitchd.md:
    Evaluate)."""
    enabled = b"false" if answer.resolution is Resolution.OFF else b"true"
    return (b'"variant_key":', msgspec.json.encode(key), b',"is_enabled":' + enabled)
