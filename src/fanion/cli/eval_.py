"""`fanion eval`: one flag, evaluated offline, with the reason and the path taken through its program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from fanion import app
from fanion.bundle.describe import describe, patching
from fanion.bundle.reader import BundleReader
from fanion.cli.common import data_option, open_store
from fanion.cli.inspect import find_bundle
from fanion.cli.text import echo
from fanion.dialects import vocabulary
from fanion.dialects.wire.bodies import mended
from fanion.engine.evaluator import Bundle, laid_over, open_environment
from fanion.engine.externals import make_external
from fanion.engine.reference import trace
from fanion.engine.sources import sources_in
from fanion.errors import ConfigError, StoreError
from fanion.model import canonical
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.program import Cause, Lowered, Op, Outcome
from fanion.model.shape import NATIVE, ContextShape

SUBJECTS = ("targetingKey", "userId")
"""Where a flat context says who is asked for."""


@click.command()
@data_option
@click.argument("environment")
@click.argument("flag")
@click.argument("context_json", required=False, default="{}")
def command(data: Path, environment: str, flag: str, context_json: str) -> None:
    """Evaluate FLAG in ENVIRONMENT for a context, without a server.

    CONTEXT_JSON is an object: identities (userId, anonymousId) and attributes side by side, or attributes in a
    member "attributes" of their own. "contexts" holds typed contexts: [{"type", "key", "attributes"}]; without it a
    stitchd flag is asked for one context, of the type that it looks at (else "user"), whose key is targetingKey or
    userId. For a Red Pennon variable it is the API's user, "custom_data" included.

    Each API's result is shown as JSON, without what only a request adds: a Red Pennon trace, which is issued with
    every answer, ends in "...".

    \b
    fanion eval --data ./data env_prod new-checkout '{"userId": "user_123", "country": "DE"}'
    """
    context = parse_context(context_json)
    with open_store(data) as store:
        pinned = store.pin()
        try:
            buffer = find_bundle(pinned, environment)

            def is_member(name: str, member: str) -> bool:
                return pinned.member(environment, name, member.encode())

            echo(explain(environment, buffer, flag, context, make_external(is_member)))
        finally:
            pinned.release()


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
        raise ConfigError(f"CONTEXT_JSON is not JSON: {error}") from None
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
    looks at. Raises ConfigError where it lacks the key for that."""
    if shape is not None and shape.clock is not None:
        return msgspec.structs.replace(context, members=context.members | shape.time())
    if shape is None or not shape.keyed or context.contexts:
        return context
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


def explain(environment: str, buffer: bytes, flag: str, context: EvaluationContext, external: Any) -> str:
    """The answer of every dialect that serves the flag, and the nodes that the evaluation ran through.

    Raises StoreError where no dialect serves the flag.
    """
    reader = BundleReader(buffer)
    program = reader.program()
    bundle = open_environment(
        environment, buffer, lambda name, member: external(Op.LIST_MEMBER, name, member)
    )
    directory = sources_in(bundle)
    sources, _ = directory.place(flag)
    given = context
    lines: list[str] = []
    shown: set[int] = set()
    for dialect, content in reader.tables().items():
        table = bundle.table(dialect)
        decision = bundle.decision(table, flag)
        if decision < 0:
            continue
        source = dialect if dialect in sources else next(iter(sources), NATIVE)
        context = as_named(source, as_read(directory.shape(source), given, source))
        typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
        decisions = patching(content, flag)
        if decisions:
            answer = laid_over(bundle, table, content.views, flag, context)
        else:
            decisions = [decision]
            asked = context.members, context.attributes, typed
            answer = bundle.put_one(table, flag, False, *asked, b"", b"")
        lines.append(f"{dialect}: {app.shown(dialect, answer, given.members)}")
        for number in decisions:
            if number not in shown:
                shown.add(number)
                lines += path_of(program, bundle, number, context, external)
    if not lines:
        raise StoreError(f"environment {environment}: no dialect serves a flag {flag!r}")
    return "\n".join(lines)


def path_of(
    program: Lowered, bundle: Bundle, decision: int, context: EvaluationContext, external: Any
) -> list[str]:
    """How a decision came out, and the nodes that it ran through."""
    typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
    outcome, bucket = bundle.evaluate(decision, context.members, context.attributes, typed)
    result, path = trace(program, decision, context, external)
    last = program.decisions[decision].nodes[path[-1][1]]
    assert isinstance(last, Outcome)
    where = "" if bucket < 0 else f", bucket {bucket}"
    cause = "" if last.cause is Cause.NONE else f" by {last.cause.name}"
    lines = [f"  resolution {last.resolution.name}{cause}, outcome {outcome}{where}"]
    if result != (outcome, bucket):  # pragma: no cover - held equal by the property tests
        lines.append(
            f"  the twin disagrees: outcome {result.outcome}, bucket {result.bucket}; please report it"
        )
    for asked, node in path:
        text = describe(program.decisions[asked], program.slots)[node]
        lines.append(f"  {program.decisions[asked].key}:{text}")
    return lines
