"""Whatever a line of the log is to say beside its message is among the members that lines may have."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import fanion
from fanion.telemetry.logs import FIELDS

LEVELS = {"debug", "info", "warning", "error", "critical", "exception", "log"}


def members_of(tree: ast.Module) -> Iterator[str]:
    """Of what is given as `extra` to a logger, in place or by that name."""
    for node in ast.walk(tree):
        given: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            given = [keyword.value for keyword in node.keywords if keyword.arg == "extra"]
        elif isinstance(node, ast.Assign):
            (target, *others) = node.targets
            given = (
                [node.value] if isinstance(target, ast.Name) and target.id == "extra" and not others else []
            )
        for value in given:
            if isinstance(value, ast.Dict):
                yield from (key.value for key in value.keys if isinstance(key, ast.Constant))


def test_no_member_of_a_line_is_dropped() -> None:
    texts = [path.read_text() for path in Path(fanion.__file__).parent.rglob("*.py")]
    given = {member for text in texts if "extra" in text for member in members_of(ast.parse(text))}
    assert len(given) > 10
    assert given <= FIELDS
