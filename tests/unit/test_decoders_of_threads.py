"""What threads decode is decoded by decoders that were made while their module was imported: the library builds
what it knows of a type with its first use, and a second thread that meets it half built ends the process."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "fanion"
IN_CHILDREN = {"retention.py"}
"""It decodes its settings as a process of its own begins."""
READ_BY_THREADS = [
    *sorted((SOURCE / "journal").glob("*.py")),
    *sorted((SOURCE / "clock").glob("*.py")),
]


@pytest.mark.parametrize("path", READ_BY_THREADS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_type_is_met_for_the_first_time_in_a_thread(path: Path) -> None:
    if path.name in IN_CHILDREN:
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "decode":
            for given in node.keywords:
                text = ast.unparse(given.value)
                assert given.arg != "type" or text.startswith(
                    ("dict[str, msgspec.Raw", "list[msgspec.Raw")
                ), f"{path.name}:{node.lineno}: a Decoder({text}) made with the module"
