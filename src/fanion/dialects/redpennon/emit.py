"""Red Pennon's results, rendered when definitions are published (docs/apis/redpennon.md: Evaluate one,
Evaluate many, Traces).

A fragment is a result without its `{"key":...,`. It ends in one of two ways:

    ...,"evaluation_trace":null}                   nothing to trace: it is whole
    ...,"evaluation_trace": HOLE "rpe_v1:SSSSSSSSSSSS    the beginning of a token, with the variation's scope in it

The second is finished by the request: without an identity `ANONYMOUS` takes the token's place, else a signer
appends the rest of it. So an evaluation runs once, and what a token is scoped to needs no table.

Native flags are variables whose feature is the flag itself; a boolean's values without names are variations `on`
and `off`. A flag that is off serves nothing here, as targeting that is OFF.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import msgspec

from fanion.dialects.redpennon.trace import MARK, scope_of
from fanion.dialects.redpennon.words import NAME
from fanion.model.parts import Fragment, Hole
from fanion.model.program import Answer, Cause, Entry, Lowered, Parameter, Resolution, Table

SOURCES: Final = frozenset({"native", NAME})
CATALOGUE: Final = "redpennon.catalogue"
SETTINGS: Final = "redpennon"

REASONS: Final = {
    Cause.NONE: "targeting_disabled",
    Cause.RULE: "targeting_rule_matched",
    Cause.ROLLOUT: "targeting_rule_matched",
    Cause.PINNED: "self_targeting_override",
    Cause.UNMATCHED: "no_rule_matched",
    Cause.DEFAULT: "default_variation",
    Cause.OFF: "targeting_disabled",
    Cause.COMPLETE: "feature_complete",
    Cause.ARCHIVED: "feature_archived",
    Cause.DELETED: "feature_deleted",
    Cause.PREREQUISITE: "no_rule_matched",
    Cause.UNREADABLE: "targeting_disabled",
}
_REASONS: Final = {cause: reason.encode() for cause, reason in REASONS.items()}
UNSERVED: Final = frozenset({Resolution.OFF, Resolution.MISSING, Resolution.RESTRICTED, Resolution.ERROR})
BOOLEANS: Final = {"true": "on", "false": "off"}

VALUE: Final = b'"value":'
UNVARIED: Final = b',"variation":null,"reason":"'
UNTRACED: Final = b'"evaluation_trace":null}'
TOKEN_CUT: Final = len(b'"' + MARK) + 12
"""Bytes of a fragment's end that are the beginning of a token, its quote included."""
ANONYMOUS: Final = b"null}"
TRACE: Final = Hole(0)
"""What stands behind it is the beginning of a token."""

ABSENT: Final[Fragment] = (
    b'"value":',
    b"null",
    b',"variation":null,"reason":"variable_not_found","feature":null,' + UNTRACED,
)


class Settings(msgspec.Struct, frozen=True):
    """What an evaluation has to know of its environment. `native`: there are native flags, which read the user
    under other names."""

    native: bool


class Catalogue(msgspec.Struct, frozen=True):
    """What an event is held against. `variables`: key -> (feature's number, shown to client keys)."""

    features: list[tuple[str, list[str]]]
    variables: dict[str, tuple[int, bool]]


def render(lowered: Lowered) -> Table:
    """Red Pennon's table of an environment, with its settings and its catalogue."""
    shown = [parameter for parameter in lowered.parameters if parameter.source in SOURCES]
    scopes = _Scopes(lowered.environment)
    settings = Settings(native=any(parameter.source != NAME for parameter in shown))
    entries = [Entry(one.key, one.decision, tuple(fragments(one, scopes)), one.client_safe) for one in shown]
    return Table(
        entries=tuple(entries),
        absent=ABSENT,
        documents={
            SETTINGS: msgspec.json.encode(settings),
            CATALOGUE: msgspec.json.encode(catalogue(shown)),
        },
    )


def catalogue(shown: list[Parameter]) -> Catalogue:
    """Every variable but those of deleted features, which events don't know any more."""
    numbers: dict[tuple[str, str], int] = {}
    features: list[tuple[str, list[str]]] = []
    variables: dict[str, tuple[int, bool]] = {}
    deleted: dict[tuple[Answer, ...], bool] = {}
    for parameter in shown:
        answers = parameter.answers
        if answers not in deleted:
            deleted[answers] = any(answer.cause is Cause.DELETED for answer in answers)
        if deleted[answers]:
            continue
        feature = (parameter.source, parameter.group)
        if feature not in numbers:
            numbers[feature] = len(features)
            features.append((parameter.group, variations(parameter)))
        variables[parameter.key] = (numbers[feature], parameter.client_safe)
    return Catalogue(features, variables)


def variations(parameter: Parameter) -> list[str]:
    """All variations of a parameter's feature."""
    if parameter.variants:
        return list(parameter.variants)
    values = {answer.value for answer in parameter.answers}
    return list(BOOLEANS.values()) if values <= BOOLEANS.keys() else []


def fragments(parameter: Parameter, scopes: _Scopes) -> Iterator[Fragment]:
    """One result for each answer. The value stands alone, so that a bundle stores it once for all dialects."""
    feature = parameter.group
    owner = b'","feature":%b,' % quoted(feature)
    untraced, traced = owner + UNTRACED, owner + b'"evaluation_trace":'
    for answer in parameter.answers:
        value = answer.value
        reason = _REASONS[answer.cause]
        if value is None or answer.resolution in UNSERVED:
            yield (VALUE, b"null", UNVARIED + reason + untraced)
            continue
        variation = answer.variant
        if variation is None and not parameter.variants:
            variation = BOOLEANS.get(value)
        if variation is None:
            yield (VALUE, value.encode(), UNVARIED + reason + untraced)
            continue
        head = b',"variation":%b,"reason":"%b%b' % (quoted(variation), reason, traced)
        yield (VALUE, value.encode(), head, TRACE, b'"' + MARK + scopes.of(feature, variation))


class _Scopes:
    """Scopes of an environment, each hashed once: variables of one feature share them."""

    def __init__(self, environment: str) -> None:
        self._environment = environment
        self._known: dict[tuple[str, str], bytes] = {}

    def of(self, feature: str, variation: str) -> bytes:
        known = self._known.get((feature, variation))
        if known is None:
            known = self._known[feature, variation] = scope_of(self._environment, feature, variation)
        return known


def quoted(text: str) -> bytes:
    return msgspec.json.encode(text)
