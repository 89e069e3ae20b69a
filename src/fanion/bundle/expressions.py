"""The steps of computed slots, written and read back (`fanion.model.expression`); equal constants once.

What a run relies on is proven before a step is written, so that what gets through verifies when it is mapped.
"""

from __future__ import annotations

from fanion.bundle import format as f
from fanion.bundle.format import ConstantKind, Section
from fanion.bundle.sections import SectionReader, SectionWriter
from fanion.model.expression import Constant, Step, StepOp, Steps
from fanion.model.expression_proof import depth_of

_HAVE_VALUE = (StepOp.CONSTANT, StepOp.FIELD)


class ExpressionWriter:
    """Writes one environment's expressions, slot by slot in ascending order."""

    def __init__(self, writer: SectionWriter) -> None:
        self._writer = writer
        self._depths: list[int] = []
        """Of every slot so far: how deep it loads others, 0 where it is looked up."""
        self._constants: dict[tuple[type, str], int] = {}

    def write(self, slot: int, steps: Steps) -> int:
        """The expression's number; FANION_NONE where the slot is looked up, which has no steps. Raises ProgramError
        with the step that breaks a rule."""
        self._depths += [0] * (slot - len(self._depths))
        if not steps:
            return f.NONE
        self._writer.where = ("slot", slot)
        try:
            depth = depth_of(steps, slot, self._depths)
        except ValueError as error:
            found, _, allowed = str(error).partition("; ")
            raise self._writer.refuse(found, allowed or "see the rules of steps") from None
        self._depths.append(depth)
        rows = self._writer.rows
        first = len(rows[Section.STEPS])
        for step in steps:
            operand = self._constant(step.value) if step.op in _HAVE_VALUE else step.operand
            rows[Section.STEPS].append(f.STEP.pack(step.op, operand))
        rows[Section.EXPRESSIONS].append(f.EXPRESSION.pack(slot, first, len(steps), depth))
        return len(rows[Section.EXPRESSIONS]) - 1

    def _constant(self, value: Constant) -> int:
        same = (type(value), repr(value))  # true, 1 and "1" are three
        number = self._constants.get(same)
        if number is None:
            row = self._row(value)
            number = self._constants[same] = len(self._writer.rows[Section.CONSTANTS])
            self._writer.rows[Section.CONSTANTS].append(row)
        return number

    def _row(self, value: Constant) -> bytes:
        match value:
            case None:
                return f.CONSTANT.pack(ConstantKind.NULL, 0, bytes(8))
            case bool():
                return f.CONSTANT.pack(ConstantKind.TRUE if value else ConstantKind.FALSE, 0, bytes(8))
            case str():
                text = f.PAIR_OPERAND.pack(*self._writer.text(value))
                return f.CONSTANT.pack(ConstantKind.TEXT, 0, text)
            case tuple():
                items = [self._row(item) for item in value]
                rows = self._writer.rows[Section.CONSTANTS]
                first = len(rows)
                rows += items
                return f.CONSTANT.pack(ConstantKind.LIST, len(items), f.PAIR_OPERAND.pack(first, 0))
        try:
            number = float(value)
        except OverflowError:
            raise self._writer.refuse(f"the number {value}", "numbers that a double holds") from None
        return f.CONSTANT.pack(ConstantKind.NUMBER, 0, f.DOUBLE_OPERAND.pack(number))


def read_expression(reader: SectionReader, number: int) -> Steps:
    """The way back; numbers are doubles."""
    if number == f.NONE:
        return ()
    _, first, count, _ = reader.row(Section.EXPRESSIONS, f.EXPRESSION, number)
    return tuple(_read_step(reader, first + n) for n in range(count))


def _read_step(reader: SectionReader, number: int) -> Step:
    code, operand = reader.row(Section.STEPS, f.STEP, number)
    op = StepOp(code)
    return Step(op, value=_read_constant(reader, operand)) if op in _HAVE_VALUE else Step(op, operand)


def _read_constant(reader: SectionReader, number: int) -> Constant:
    kind, count, content = reader.row(Section.CONSTANTS, f.CONSTANT, number)
    match ConstantKind(kind):
        case ConstantKind.NULL:
            return None
        case ConstantKind.FALSE | ConstantKind.TRUE:
            return bool(kind == ConstantKind.TRUE)
        case ConstantKind.NUMBER:
            return float(f.DOUBLE_OPERAND.unpack(content)[0])
        case ConstantKind.TEXT:
            return reader.text(*f.PAIR_OPERAND.unpack(content))
    first = f.PAIR_OPERAND.unpack(content)[0]
    return tuple(_read_constant(reader, first + n) for n in range(count))
