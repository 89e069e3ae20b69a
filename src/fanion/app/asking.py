"""A context as it is written down, asked of one flag through every API that serves it: what `fanion eval` and the
console's *What if* show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from fanion.app.compiling import shown
from fanion.bundle.describe import patching
from fanion.dialects import vocabulary
from fanion.dialects.wire.bodies import mended
from fanion.engine.evaluator import Bundle, laid_over
from fanion.engine.sources import sources_in
from fanion.errors import ConfigError
from fanion.model import canonical
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.program import Table
from fanion.model.shape import NATIVE, ContextShape

SUBJECTS = ("targetingKey", "userId")
"""Where a flat context says who is asked for."""


class Given(msgspec.Struct):
    """The members of CONTEXT_JSON that have a shape of their own."""

    contexts: tuple[TypedContext, ...] = ()
    attributes: dict[str, Any] | None = None


def parse_context(text: str) -> EvaluationContext:
    """The context that CONTEXT_JSON describes. Raises ConfigError for anything but such an object."""
    try:
        raw = text.encode()
        found: Any = msgspec.json.decode(mended(raw) or raw)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ConfigError(
            f'CONTEXT_JSON is not JSON: {error}; like \'{{"userId": "user_123", "country": "DE"}}\''
        ) from None
    except RecursionError:
        raise ConfigError("CONTEXT_JSON is nested too deeply") from None
    if not isinstance(found, dict):
        raise ConfigError("CONTEXT_JSON is not an object; an object is allowed")
    try:
        given = msgspec.convert(found, Given)
    except msgspec.ValidationError as error:
        raise ConfigError(f"CONTEXT_JSON: {error}") from None
    for name in ("contexts", "attributes"):
        found.pop(name, None)
    typed, attributes = given.contexts, found if given.attributes is None else given.attributes
    for api in vocabulary().apis:
        if api.inner_context is not None and isinstance(inner := found.get(api.inner_context), dict):
            typed = (*typed, TypedContext(api.inner_context, "", inner))
    return EvaluationContext(members=found, attributes=attributes, contexts=typed)


def as_read(shape: ContextShape | None, context: EvaluationContext, source: str) -> EvaluationContext:
    """The context as a flag's source reads it: a flat one becomes the one context that a source of typed contexts
    looks at, and a targeting key what the source knows its subject by, as OFREP has it. Raises ConfigError where it
    lacks the key for that."""
    if shape is not None and shape.clock is not None:
        return msgspec.structs.replace(context, members=context.members | shape.time())
    if shape is None or context.contexts:
        return context
    if not shape.keyed:
        return _known_by(shape, context)
    flat = {**context.members, **context.attributes}
    keys = [flat.pop(name, None) for name in SUBJECTS]
    key = next((str(one) for one in keys if isinstance(one, str | int)), None)
    if key is None:
        raise ConfigError(
            f"CONTEXT_JSON: a flag of {source} asks a context of type {shape.context_type!r}; "
            f'allowed: {" or ".join(SUBJECTS)} beside the attributes, or "contexts": '
            f'[{{"type": "{shape.context_type}", "key": "…", "attributes": {{}}}}]'
        )
    return shape.context(key, flat)


def _known_by(shape: ContextShape, context: EvaluationContext) -> EvaluationContext:
    key = context.members.get("targetingKey")
    if not isinstance(key, str):
        return context
    members, attributes = context.members, context.attributes
    if shape.subject is not None:
        members = {shape.subject: key} | members
    if shape.unit is not None:
        attributes = {shape.unit: key} | attributes
    return EvaluationContext(members, attributes, context.contexts)


def as_named(dialect: str, context: EvaluationContext) -> EvaluationContext:
    """The context as an API's request would be read: members that are names are text, also where they were sent as
    numbers. Raises ConfigError for what such a request is refused for."""
    names = next((api.named_members for api in vocabulary().apis if api.name == dialect), ())
    made: dict[str, Any] = {}
    for member in names:
        found = context.members.get(member)
        if found is None:
            continue
        text = canonical.name(found)
        if text is None:
            raise ConfigError(
                f'CONTEXT_JSON: "{member}" is {type(found).__name__}; a text or a number is allowed'
            )
        made[member] = text
    if not made:
        return context
    attributes = {**context.attributes, **{key: made[key] for key in made if key in context.attributes}}
    return EvaluationContext({**context.members, **made}, attributes, context.contexts)


class Answered(NamedTuple):
    """Of one API. `shown`: JSON without what only a request adds; `decisions`: those that decided it, in their
    order; `context`: as the flag's source reads it."""

    dialect: str
    shown: str
    decisions: list[int]
    context: EvaluationContext


def answers_of(
    bundle: Bundle, tables: Mapping[str, Table], flag: str, given: EvaluationContext, of: str = ""
) -> Iterator[Answered]:
    """Of every API that serves the flag. `of`: the source that is meant, where an API knows several with its key.
    Raises ConfigError where the context lacks what that source asks."""
    directory = sources_in(bundle)
    sources, _ = directory.place(flag)
    for dialect, content in tables.items():
        table = bundle.table(dialect)
        decision = bundle.decision(table, flag)
        if decision < 0:
            continue
        source = dialect if dialect in sources else of or next(iter(sources), NATIVE)
        context = as_named(source, as_read(directory.shape(source), given, source))
        typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
        decisions = patching(content, flag)
        if decisions:
            answer = laid_over(bundle, table, content.views, flag, context)
        else:
            decisions = [decision]
            asked = context.members, context.attributes, typed
            answer = bundle.put_one(table, flag, False, *asked, b"", b"")
        yield Answered(dialect, shown(dialect, answer, given.members), decisions, context)
