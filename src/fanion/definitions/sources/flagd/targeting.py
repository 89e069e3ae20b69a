"""Targeting rules as they are read: JSONLogic with flagd's own operations (docs/apis/flagd.md: Operations).

A rule is a constant, a list, a look at the context or an operation on operands. What no evaluator of flagd could
run is a problem with its path: an unknown operation, an object that is none, a look at what isn't there. Too few
operands are a warning, since evaluators give an answer then. A reference is replaced by what it names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec

from fanion.definitions.reading import limits
from fanion.definitions.reading.report import Report, join, shown
from fanion.model.text import counted, ecmascript_number

RULES_MAX: Final = 10_000
"""Constants, lists and operations of one flag's targeting, what it refers to included."""
WHOLE_MAX: Final = 2**53
REFERENCE: Final = "$ref"
FLAG_KEY: Final = "$flagd.flagKey"
TIMESTAMP: Final = "$flagd.timestamp"
OWN: Final = "$flagd"

Scope = Literal["context", "item", "reduce"]
"""What a look finds: the context; in a loop's body its item; in that of `reduce` the item and what was made so
far."""

ANY: Final = 1_000_000
OPERANDS: Final[dict[str, tuple[int, int]]] = {
    "var": (1, 2),
    "if": (1, ANY),
    "and": (1, ANY),
    "or": (1, ANY),
    "!": (1, 1),
    "!!": (1, 1),
    "==": (2, ANY),
    "===": (2, ANY),
    "!=": (2, ANY),
    "!==": (2, ANY),
    ">": (2, ANY),
    ">=": (2, ANY),
    "<": (2, ANY),
    "<=": (2, ANY),
    "in": (2, 2),
    "cat": (1, ANY),
    "substr": (2, 3),
    "+": (1, ANY),
    "-": (1, ANY),
    "*": (1, ANY),
    "/": (2, ANY),
    "%": (2, ANY),
    "min": (1, ANY),
    "max": (1, ANY),
    "missing": (1, ANY),
    "missing_some": (2, 2),
    "merge": (1, ANY),
    "map": (2, 2),
    "filter": (2, 2),
    "all": (2, 2),
    "some": (2, 2),
    "none": (2, 2),
    "reduce": (2, 3),
    "starts_with": (2, 2),
    "ends_with": (2, 2),
    "sem_ver": (3, 3),
    "fractional": (1, ANY),
}
"""Each operation, with how few and how many operands it is made for."""
LOOPS: Final = frozenset({"map", "filter", "all", "some", "none", "reduce"})


class Constant(msgspec.Struct, frozen=True, gc=False):
    """Null, true or false, a number (always a double), a text."""

    value: bool | float | str | None


class Items(msgspec.Struct, frozen=True, gc=False):
    """A list that is written out."""

    items: tuple[Rule, ...]


class Look(msgspec.Struct, frozen=True, gc=False):
    """`var`: a path, and what counts where nothing is found."""

    path: Rule
    default: Rule | None
    scope: Scope


class Operation(msgspec.Struct, frozen=True, gc=False):
    """`bare`: its one operand stands there without a list around it."""

    name: str
    operands: tuple[Rule, ...]
    scope: Scope
    bare: bool = False


Rule = Constant | Items | Look | Operation
NULL: Final = Constant(None)


class Evaluator(NamedTuple):
    """What may be referred to; None where it has a problem. `size`: as the function says."""

    rule: Rule | None
    size: int


class TargetingReader:
    """Reads the rules of one place in a file. `evaluators` may be referred to; where they are read themselves there
    are none. `unresolved`: references to what isn't there. `written`, `repeated`: rules and values that stand
    there, and those that references bring."""

    def __init__(self, report: Report, file: str, evaluators: Mapping[str, Evaluator] | None) -> None:
        self._report = report
        self._file = file
        self._evaluators = evaluators
        self.written = self.repeated = 0
        self.unresolved: list[str] = []

    def read(self, value: Any, path: str) -> Rule | None:
        """The rule; None where it has a problem, or a reference that can't be followed."""
        rule = self._read(value, path, "context", 1)
        count = self.written + self.repeated
        if count > RULES_MAX:
            self._report.problem(self._file, path, f"{count} rules and values", f"at most {RULES_MAX}")
            return None
        return None if self.unresolved else rule

    def _refuse(self, path: str, found: str, allowed: str) -> None:
        self._report.problem(self._file, path, found, allowed)

    def _read(self, value: Any, path: str, scope: Scope, depth: int) -> Rule | None:
        self.written += 1
        if depth > limits.DEPTH_MAX:
            self._refuse(path, "nesting too deep", f"at most {limits.DEPTH_MAX} levels")
            return None
        if isinstance(value, dict):
            return self._operation(value, path, scope, depth)
        if isinstance(value, list):
            items = self._all(value, path, scope, depth)
            return None if items is None else Items(items)
        return self._constant(value, path)

    def _constant(self, value: Any, path: str) -> Rule | None:
        if isinstance(value, str):
            if len(value.encode()) > limits.TEXT_BYTES_MAX:
                self._refuse(path, "a longer text", f"at most {limits.TEXT_BYTES_MAX} bytes")
                return None
        elif isinstance(value, int) and not isinstance(value, bool):
            if abs(value) > WHOLE_MAX:
                self._refuse(path, shown(value), f"at most {WHOLE_MAX}: rules compare doubles")
                return None
            return Constant(float(value))
        return Constant(value)

    def _all(self, values: list[Any], path: str, scope: Scope, depth: int) -> tuple[Rule, ...] | None:
        read = [self._read(one, f"{path}[{n}]", scope, depth + 1) for n, one in enumerate(values)]
        rules = [one for one in read if one is not None]
        return tuple(rules) if len(rules) == len(read) else None

    def _operation(self, value: dict[str, Any], path: str, scope: Scope, depth: int) -> Rule | None:
        if len(value) != 1:
            found = "an empty object" if not value else f"an object of {len(value)} members"
            self._refuse(path, found, "one operation, or a value")
            return None
        ((name, given),) = value.items()
        place = join(path, name)
        if name == REFERENCE:
            return self._refer(given, place)
        if name not in OPERANDS:
            self._refuse(place, f"the operation {shown(name)}", f"one of {', '.join(OPERANDS)}")
            return None
        bare = not isinstance(given, list)
        values = [given] if bare else given
        operands: tuple[Rule, ...] | None
        if name in LOOPS:
            operands = self._loop(name, values, place, scope, depth)
        elif bare:
            only = self._read(given, place, scope, depth + 1)
            operands = None if only is None else (only,)
        else:
            operands = self._all(values, place, scope, depth)
        if operands is None:
            return None
        self._counted(name, len(operands), place)
        if name == "var":
            return self._look(operands, place, scope)
        return Operation(name, operands, scope, bare)

    def _counted(self, name: str, count: int, path: str) -> None:
        least, most = OPERANDS[name]
        if not least <= count <= most and not (name == "var" and not count):
            many = str(least) if least == most else f"{least} to {most}" if most < ANY else f"{least} or more"
            found = counted(count, "operand")
            self._report.warning(self._file, path, found, f"{many} would mean something")

    def _loop(
        self, name: str, values: list[Any], path: str, scope: Scope, depth: int
    ) -> tuple[Rule, ...] | None:
        inner: Scope = "reduce" if name == "reduce" else "item"
        read = [
            self._read(one, f"{path}[{n}]", inner if n == 1 else scope, depth + 1)
            for n, one in enumerate(values)
        ]
        rules = [one for one in read if one is not None]
        return tuple(rules) if len(rules) == len(read) else None

    def _refer(self, name: Any, path: str) -> Rule | None:
        if not isinstance(name, str):
            self._refuse(path, shown(name), "the name of one of $evaluators")
            return None
        if self._evaluators is None:
            self._refuse(path, "a reference within $evaluators", "operations: references don't nest")
            return None
        if name not in self._evaluators:
            self._report.warning(
                self._file, path, f"the evaluator {shown(name)}", "unknown, so the flag answers PARSE_ERROR"
            )
            self.unresolved.append(name)
            return None
        rule, size = self._evaluators[name]
        self.repeated += size
        return rule

    def _look(self, operands: tuple[Rule, ...], path: str, scope: Scope) -> Rule | None:
        """A path is text; a number is an index, null and nothing all that there is."""
        where = operands[0] if operands else NULL
        if isinstance(where, Constant):
            if isinstance(where.value, bool):
                self._refuse(path, shown(where.value), "a path")
                return None
            if isinstance(where.value, float):
                where = Constant(ecmascript_number(where.value))
            name = where.value or ""
            if scope == "context" and isinstance(name, str) and name.partition(".")[0] == OWN:
                if name not in (FLAG_KEY, TIMESTAMP):
                    self._refuse(path, shown(name), f"{FLAG_KEY} or {TIMESTAMP}")
                    return None
            elif scope == "reduce" and str(name).partition(".")[0] not in ("current", "accumulator"):
                self._refuse(path, shown(name), "current or accumulator, or what is in them")
                return None
        elif scope == "reduce":
            self._refuse(path, "a path that is computed", "a constant one in the body of reduce")
            return None
        return Look(where, operands[1] if len(operands) > 1 else None, scope)


def size(rule: Rule) -> int:
    """How many constants, lists and operations a rule has."""
    match rule:
        case Items(parts) | Operation(_, parts):
            return 1 + sum(map(size, parts))
        case Look(path, default):
            return 1 + size(path) + (0 if default is None else size(default))
    return 1


def uses(rule: Rule, name: str) -> bool:
    """Whether an operation of this name, or a constant look at this path in the context, is in it."""
    match rule:
        case Items(parts):
            return any(uses(part, name) for part in parts)
        case Operation(own, parts):
            return own == name or any(uses(part, name) for part in parts)
        case Look(path, default, scope):
            if path == Constant(name) and scope == "context":
                return True
            return uses(path, name) or (default is not None and uses(default, name))
    return False
