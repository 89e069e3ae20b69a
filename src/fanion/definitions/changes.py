"""What a change of some flags comes to, without lowering the others.

An excerpt of the files before the change and one of those after it (`reading.excerpt`) are loaded as
definitions are. When they differ in nothing but what single flags say, so do the whole files. Why: a flag is
checked by itself, since nothing asks for one, and lowered by itself but for what it shares with others in the
order of first use: slots, segments' decisions, names of lists. Which of those there are, and in which order,
depends on what stands before the excerpt's flags, on the order among these, and on what stands behind them; the
first and the last are the same, and the excerpts show that the order among these is, too. What can't be seen
like this is no `Change`, and all is lowered."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from fanion.definitions.loading import Loaded, load_stored
from fanion.definitions.reading.excerpt import excerpt_of
from fanion.errors import DefinitionError
from fanion.model.program import Lowered, Parameter
from fanion.model.vocabulary import Vocabulary

_SAME = ("slots", "documents", "identifiers", "lists", "layers", "shapes", "source_order", "splits")


class Change(msgspec.Struct, frozen=True):
    """One environment's excerpt, lowered, before and after. `parameters`: numbers of those that differ, or whose
    decision does; each has a decision of its own."""

    before: Lowered
    after: Lowered
    parameters: tuple[int, ...]


class Changed(msgspec.Struct, frozen=True):
    """`loaded`: of the excerpt after the change, but with the whole files as `sources`. `changes`: by
    environment."""

    loaded: Loaded
    changes: dict[str, Change]


def load_changed(
    before: Mapping[str, bytes],
    after: Mapping[str, bytes],
    vocabulary: Vocabulary,
    variables: Mapping[str, str],
) -> Changed | None:
    """`before`: what an earlier `load` gave as `sources`, without a warning; `after`: files of the same names as
    they are now. None where the whole has to be loaded, if only for what is wrong with it."""
    excerpt = excerpt_of(before, after)
    if excerpt is None:
        return None
    try:
        old = load_stored(excerpt.before, vocabulary, variables=variables)
        new = load_stored(excerpt.after, vocabulary, variables=variables)
    except DefinitionError:
        return None
    if old.warnings or new.warnings or old.lists or new.lists or old.keys != new.keys:
        return None
    if new.sources != excerpt.after:
        return None
    changes = {}
    for one, other in zip(old.environments, new.environments, strict=True):
        change = _change(one, other)
        if change is None:
            return None
        changes[other.environment] = change
    return Changed(msgspec.structs.replace(new, sources=dict(after)), changes)


def _change(before: Lowered, after: Lowered) -> Change | None:
    if before.environment != after.environment or before.splits or before.layers:
        return None
    if any(getattr(before, name) != getattr(after, name) for name in _SAME):
        return None
    if [one.key for one in before.decisions] != [one.key for one in after.decisions]:
        return None
    if list(map(_place, before.parameters)) != list(map(_place, after.parameters)):
        return None
    asked = {
        number
        for number, (one, other) in enumerate(zip(before.decisions, after.decisions, strict=True))
        if one != other
    }
    pairs = enumerate(zip(before.parameters, after.parameters, strict=True))
    differ = tuple(number for number, (one, other) in pairs if one != other or other.decision in asked)
    decisions = [after.parameters[number].decision for number in differ]
    owners = [one.decision for one in after.parameters if one.decision in decisions]
    if len(owners) != len(differ) or asked - set(decisions):
        return None  # a segment, or a feature of several variables
    return Change(before, after, differ)


def _place(parameter: Parameter) -> tuple[str, str, int, str]:
    return parameter.key, parameter.group, parameter.decision, parameter.source
