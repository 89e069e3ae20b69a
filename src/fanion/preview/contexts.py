"""Who is asked for: flat contexts, as OpenFeature has them, with the unit under `targetingKey`.

Made-up ones hold what the rules in question look at: of each attribute one of the values that a rule names, one
that none names, or nothing, each as likely. So they reach every rule, and say nothing about how many people a rule
takes.
"""

from __future__ import annotations

import enum
import random
import zlib
from collections.abc import Iterable, Iterator
from gzip import GzipFile
from pathlib import Path
from typing import IO, Any, Final

import msgspec

from fanion.errors import ConfigError
from fanion.model.expression import StepOp
from fanion.model.parts import PieceKind
from fanion.model.program import Comparator, Hash, Op, Slot, Source, Test, Version
from fanion.model.shape import ContextShape
from fanion.plain_files import open_plain
from fanion.preview.contents import Contents

TARGETING_KEY: Final = "targetingKey"
SUBJECTS: Final = (TARGETING_KEY, "userId")
VALUES_MAX: Final = 50
"""Of one attribute."""
LINE_BYTES_MAX: Final = 1 << 20


class Instead(enum.Enum):
    """In the place of a value: none, or an id of its own for each unit. The same in every process."""

    MISSING = 0
    DRAWN = 1


MISSING: Final = Instead.MISSING
DRAWN: Final = Instead.DRAWN

Path_ = tuple[str, ...]


class MadeUp:
    """Contexts from what decisions look at. `values`: by the attribute's path in a flat context."""

    def __init__(self, values: dict[Path_, list[Any]], seed: int = 0) -> None:
        self.values = values
        self._seed = seed

    @classmethod
    def of(cls, asked: Iterable[tuple[Contents, int, ContextShape | None]], seed: int = 0) -> MadeUp:
        """`asked`: decisions, with the shape of the source that each is of."""
        values: dict[Path_, dict[str, Any]] = {}
        for contents, decision, shape in asked:
            for one in contents.reached_from(decision):
                for node in one.nodes:
                    if isinstance(node, Test) and node.slot >= 0:
                        slot = contents.lowered.slots[node.slot]
                        _take(values, contents, slot, shape, _values_of(node))
                    elif isinstance(node, Hash):
                        for piece in node.pieces:
                            if piece.kind is not PieceKind.LITERAL:
                                _take(values, contents, contents.lowered.slots[piece.slot], shape, [DRAWN])
        found = {path: list(many.values())[:VALUES_MAX] for path, many in sorted(values.items())}
        return cls(found, seed)

    def contexts(self, first: int, count: int) -> Iterator[dict[str, Any]]:
        """Of so many units; the same ones for the same numbers."""
        drawn = random.Random(f"{self._seed}:{first}")
        choices = [(path, [*many, "something else", MISSING]) for path, many in self.values.items()]
        for _ in range(count):
            made: dict[str, Any] = {TARGETING_KEY: f"unit-{drawn.getrandbits(64):016x}"}
            for path, many in choices:
                value = many[int(drawn.random() * len(many))]
                if value is DRAWN:
                    value = f"id-{drawn.getrandbits(64):016x}"
                if value is not MISSING:
                    _put(made, path, value)
            yield made


def read_contexts(path: Path) -> Iterator[dict[str, Any]]:
    """A file of flat contexts, a JSON object a line (gzip too). Raises ConfigError, which names the line."""
    try:
        with open_plain(path) as plain:
            file: IO[bytes] = GzipFile(fileobj=plain) if path.suffix == ".gz" else plain  # type: ignore[assignment]
            yield from contexts_in(file, str(path))
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: can't be read: {reason}") from None


def contexts_in(file: IO[bytes], name: str) -> Iterator[dict[str, Any]]:
    """Of what was opened, called `name`. Raises ConfigError, which names the line, and what reading does."""
    number = 0
    while line := file.readline(LINE_BYTES_MAX + 1):
        number += 1
        if line.strip():
            yield _context(line, f"{name}: line {number}")


def _context(line: bytes, where: str) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        raise ConfigError(f"{where}: longer than {LINE_BYTES_MAX:,} bytes; one context a line is allowed")
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: not JSON ({error}); one object a line is allowed") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{where}: {type(found).__name__}; one object a line is allowed")
    return found


def subject_of(context: dict[str, Any]) -> str | None:
    """Who is asked for."""
    found = next((context[name] for name in SUBJECTS if name in context), None)
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else None


def _put(made: dict[str, Any], path: Path_, value: Any) -> None:
    for step in path[:-1]:
        inner = made.setdefault(step, {})
        if not isinstance(inner, dict):
            return
        made = inner
    made.setdefault(path[-1], value)


def _take(
    values: dict[Path_, dict[str, Any]],
    contents: Contents,
    slot: Slot,
    shape: ContextShape | None,
    found: list[Any],
) -> None:
    if slot.source is Source.COMPUTED:
        constants = [step.value for step in slot.steps if step.op is StepOp.CONSTANT and _plain(step.value)]
        for step in slot.steps:
            if step.op is StepOp.LOAD:
                _take(values, contents, contents.lowered.slots[step.operand], shape, constants)
        return
    path = path_of(slot, shape)
    if path is not None:
        many = values.setdefault(path, {})
        for value in found:
            many.setdefault(repr(value) if value is not DRAWN else "", value)


def path_of(slot: Slot, shape: ContextShape | None) -> Path_ | None:
    """Where a flat context has what a slot looks up; None where that is the unit, or nothing of a flat context."""
    shape = shape or ContextShape()
    name = slot.name
    match slot.source:
        case Source.ATTRIBUTE:
            found: Path_ | None = tuple(name.split(".")) if slot.dotted else (name,)
            return None if name == shape.unit else found
        case Source.MEMBER:
            attribute = next((one for one, member in shape.members.items() if member == name), None)
            return None if attribute is None else (attribute,)
        case Source.MEMBER_OR_ATTRIBUTE:
            return None if name == shape.subject else (name,)
        case Source.CONTEXT_KEY:
            return None if slot.context_type == shape.context_type else (slot.context_type, "key")
        case Source.CONTEXT_ATTRIBUTE:
            return (name,) if slot.context_type == shape.context_type else (slot.context_type, name)
        case _:
            return None


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _values_of(node: Test) -> list[Any]:
    """Values on both sides of what a test asks."""
    operand = node.operand
    if isinstance(operand, bool):
        return [True, False]
    if isinstance(operand, int | float):
        return [operand, operand - 1, operand + 1]
    if isinstance(operand, tuple):
        return [_version(one.low) if isinstance(one, Comparator) else one for one in operand]
    if not isinstance(operand, str):
        return []
    if node.op in (Op.STRING_STARTS, Op.TEXT_STARTS):
        return [f"{operand}x"]
    if node.op in (Op.STRING_ENDS, Op.TEXT_ENDS, Op.STRING_CONTAINS, Op.TEXT_CONTAINS):
        return [f"x{operand}"]
    return [DRAWN] if node.op is Op.LIST_MEMBER else [operand]


def _version(version: Version) -> str:
    pre = f"-{version.pre}" if version.pre else ""
    return f"{version.major}.{version.minor}.{version.patch}{pre}"
