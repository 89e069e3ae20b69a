"""`fanion eval`: one flag, evaluated offline, with the reason and the path taken through its program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from fanion.app.asking import answers_of, parse_context
from fanion.bundle.describe import describe
from fanion.bundle.reader import BundleReader
from fanion.cli.common import data_option, open_store
from fanion.cli.inspect import find_bundle
from fanion.cli.text import echo
from fanion.engine.evaluator import Bundle, open_environment
from fanion.engine.externals import make_external
from fanion.engine.reference import trace
from fanion.errors import StoreError
from fanion.model.context import EvaluationContext
from fanion.model.nearest import nearest
from fanion.model.program import Cause, Lowered, Op, Outcome


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
    with open_store(data) as store, store.pin() as pinned:
        buffer = find_bundle(pinned, environment)

        def is_member(name: str, member: str) -> bool:
            return pinned.member(environment, name, member.encode())

        echo(explain(environment, buffer, flag, context, make_external(is_member)))


def explain(environment: str, buffer: bytes, flag: str, context: EvaluationContext, external: Any) -> str:
    """The answer of every dialect that serves the flag, and the nodes that the evaluation ran through.

    Raises StoreError where no API serves the flag.
    """
    reader = BundleReader(buffer)
    program = reader.program()
    bundle = open_environment(
        environment, buffer, lambda name, member: external(Op.LIST_MEMBER, name, member)
    )
    lines: list[str] = []
    shown: set[int] = set()
    for one in answers_of(bundle, reader.tables(fragments=False), flag, context):
        lines.append(f"{one.dialect}: {one.shown}")
        for number in one.decisions:
            if number not in shown:
                shown.add(number)
                lines += path_of(program, bundle, number, one.context, external)
    if not lines:
        keys = set[str]().union(*reader.keys().values())
        raise StoreError(f"environment {environment}: no API serves a flag {flag!r}{nearest(flag, keys)}")
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
