"""No `Any` in what other rooms see of `http`, `dialects` and `store`: a type checker can't hold what it isn't told.

Looked at are the annotations of public functions and methods, of public attributes, and public aliases. Where a
decoder needs `Any` at run time, the checker is given the real type beside it (`if TYPE_CHECKING`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "src" / "fanion"
ROOMS = ("http", "dialects", "store")

ANY = re.compile(r"\bAny\b")


def names_any(annotation: ast.expr | None) -> bool:
    if annotation is None:
        return False
    for node in ast.walk(annotation):
        if isinstance(node, ast.Name) and node.id == "Any":
            return True
        if isinstance(node, ast.Attribute) and node.attr == "Any":
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and ANY.search(node.value):
            return True
    return False


def is_public(name: str) -> bool:
    return not name.startswith("_") or (name.startswith("__") and name.endswith("__"))


def untyped_function(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    arguments = function.args
    listed = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    listed += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return any(names_any(one.annotation) for one in listed) or names_any(function.returns)


def attributes(function: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Public attributes that a method annotates with `Any`."""
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            target = node.target
            own = isinstance(target.value, ast.Name) and target.value.id == "self"
            if own and is_public(target.attr) and names_any(node.annotation):
                yield target.attr


def untyped(body: list[ast.stmt], place: str) -> Iterator[str]:
    """Public names of a module or class that say `Any`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if is_public(node.name) and untyped_function(node):
                yield f"{place}{node.name}"
            yield from (f"{place}{name}" for name in attributes(node))
        elif isinstance(node, ast.ClassDef) and is_public(node.name):
            yield from untyped(node.body, f"{place}{node.name}.")
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = (
                node.value
                if isinstance(node.value, ast.expr) and "Alias" in ast.dump(node.annotation)
                else None
            )
            if is_public(node.target.id) and (names_any(node.annotation) or names_any(value)):
                yield f"{place}{node.target.id}"
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript | ast.BinOp | ast.Name):
            for target in node.targets:
                if isinstance(target, ast.Name) and is_public(target.id) and names_any(node.value):
                    yield f"{place}{target.id}"


def found() -> set[str]:
    names = set()
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
            names |= set(untyped(ast.parse(path.read_text()).body, f"{module}:"))
    return names


def test_public_signatures_say_what_they_take() -> None:
    assert sorted(found()) == []


def test_what_says_any_is_found() -> None:
    text = """
Alias = dict[str, Any]
Named: TypeAlias = list[Any]
_hidden = dict[str, Any]
class Open:
    field: Any
    _own: Any
    def __init__(self, x: Any) -> None:
        self.seen: "list[Any]" = []
        self._unseen: Any = None
    def _private(self, x: Any) -> None: ...
class _Closed:
    field: Any
def f(*args: typing.Any) -> None: ...
def g() -> Any: ...
def h(x: int) -> str: ...
"""
    assert sorted(untyped(ast.parse(text).body, "m:")) == [
        "m:Alias",
        "m:Named",
        "m:Open.__init__",
        "m:Open.field",
        "m:Open.seen",
        "m:f",
        "m:g",
    ]
