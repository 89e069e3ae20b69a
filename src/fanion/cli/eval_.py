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
from fanion.engine.evaluator import Bundle, laid_over, open_environment
from fanion.engine.externals import make_external
from fanion.engine.reference import trace
from fanion.errors import ConfigError, StoreError
from fanion.model.context import EvaluationContext, TypedContext
from fanion.model.program import Cause, Lowered, Op, Outcome

CUSTOM_DATA = "custom_data"


@click.command()
@data_option
@click.argument("environment")
@click.argument("flag")
@click.argument("context_json", required=False, default="{}")
def command(data: Path, environment: str, flag: str, context_json: str) -> None:
    """Evaluate FLAG in ENVIRONMENT for a context, without a server.

    CONTEXT_JSON is an object: identities (userId, anonymousId) and attributes side by side, or attributes in a
    member "attributes" of their own. "contexts" holds typed contexts: [{"type", "key", "attributes"}]. For a
    Red Pennon variable it is the API's user, "custom_data" included.

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

            click.echo(explain(environment, buffer, flag, context, make_external(is_member)))
        finally:
            pinned.release()


class Given(msgspec.Struct):
    """The members of CONTEXT_JSON that have a shape of their own."""

    contexts: tuple[TypedContext, ...] = ()
    attributes: dict[str, Any] | None = None


def parse_context(text: str) -> EvaluationContext:
    """The context that CONTEXT_JSON describes. Raises ConfigError for anything but such an object."""
    try:
        found: Any = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
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
    custom = found.get(CUSTOM_DATA)
    if isinstance(custom, dict):
        typed = (*typed, TypedContext(CUSTOM_DATA, "", custom))
    return EvaluationContext(members=found, attributes=attributes, contexts=typed)


def explain(environment: str, buffer: bytes, flag: str, context: EvaluationContext, external: Any) -> str:
    """The answer of every dialect that serves the flag, and the nodes that the evaluation ran through.

    Raises StoreError where no dialect serves the flag.
    """
    reader = BundleReader(buffer)
    program = reader.program()
    bundle = open_environment(
        environment, buffer, lambda name, member: external(Op.LIST_MEMBER, name, member)
    )
    typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
    lines: list[str] = []
    shown: set[int] = set()
    for name, content in reader.tables().items():
        table = bundle.table(name)
        decision = bundle.decision(table, flag)
        if decision < 0:
            continue
        decisions = patching(content, flag)
        if decisions:
            answer = laid_over(bundle, table, content.views, flag, context)
        else:
            decisions = [decision]
            asked = context.members, context.attributes, typed
            answer = bundle.put_one(table, flag, False, *asked, b"", b"")
        lines.append(f"{name}: {app.shown(name, answer, context.members)}")
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
