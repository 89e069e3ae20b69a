"""Feather's results, rendered when definitions are published (docs/apis/feather.md: Evaluate one, Evaluate
many, Order of evaluation).

A fragment is the inside of a result object: `"value":...,"reason":...[,"ruleId":...][,"variant":...]`. The
single endpoint puts `"flagKey"` before it and `"requestId"` after it; the bulk endpoint puts braces around
it.

What Feather can't express is not in its table, and so an unknown flag: values that are objects or arrays, and
parameters of definitions in another system's own format.
"""

from __future__ import annotations

import msgspec

from fanion.dialects.feather.words import NAME
from fanion.model.parts import Fragment
from fanion.model.program import Answer, Entry, Lowered, Resolution, Table

SOURCES = frozenset({"native", NAME})

REASONS = {
    Resolution.MATCHED: "RULE_MATCH",
    Resolution.SPLIT: "ROLLOUT",
    Resolution.DEFAULT: "DEFAULT",
    Resolution.OFF: "DISABLED",
    Resolution.MISSING: "FLAG_NOT_FOUND",
    Resolution.RESTRICTED: "FLAG_NOT_FOUND",  # CLIENT_RESTRICTED never shows on the wire
    Resolution.ERROR: "ERROR",
    Resolution.NO_VALUE: "DEFAULT",
}
WITH_RULE = frozenset({Resolution.MATCHED, Resolution.SPLIT})
WITHOUT_VARIANT = frozenset({Resolution.MISSING, Resolution.RESTRICTED, Resolution.ERROR})

ABSENT: Fragment = (b'"value":', b"null", b',"reason":"FLAG_NOT_FOUND"')


def render(lowered: Lowered) -> Table:
    """Feather's table of an environment."""
    made: dict[tuple[Answer, ...], tuple[Fragment, ...] | None] = {}
    entries = []
    for parameter in lowered.parameters:
        if parameter.source not in SOURCES:
            continue
        answers = parameter.answers
        if answers not in made:
            made[answers] = tuple(map(fragment, answers)) if are_expressible(answers) else None
        fragments = made[answers]
        if fragments is not None:
            entries.append(Entry(parameter.key, parameter.decision, fragments, parameter.client_safe))
    return Table(tuple(entries), ABSENT)


def are_expressible(answers: tuple[Answer, ...]) -> bool:
    """Whether every value is a boolean, a string, a number or null."""
    return not any(answer.value is not None and answer.value.lstrip()[:1] in ("{", "[") for answer in answers)


def fragment(answer: Answer) -> Fragment:
    """One result's inside. The value stands alone, so that a bundle stores it once for all dialects."""
    rest = f',"reason":"{REASONS[answer.resolution]}"'
    if answer.rule_id is not None and answer.resolution in WITH_RULE:
        rest += f',"ruleId":{quoted(answer.rule_id)}'
    if answer.variant is not None and answer.resolution not in WITHOUT_VARIANT:
        rest += f',"variant":{quoted(answer.variant)}'
    value = "null" if answer.value is None else answer.value
    return (b'"value":', value.encode(), rest.encode())


def quoted(text: str) -> str:
    return msgspec.json.encode(text).decode()
