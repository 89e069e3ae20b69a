"""What a test compares with, written and read back: numbers, texts, sets of texts, versions and their bounds.

An operand that doesn't fit a node's eight bytes lies in a section of its own, equal ones once; the node then has
its number. Look-ups by operator are lists: an enumeration's own hash is a Python function.
"""

from __future__ import annotations

import xxhash

from fanion.bundle import format as f
from fanion.bundle.format import Section
from fanion.bundle.sections import SectionReader, SectionWriter, free_place
from fanion.model.program import (
    EXTERNAL_OPS,
    TEXT_BYTES_MAX,
    Comparator,
    DecisionVariant,
    Op,
    Operand,
    Test,
    Version,
)
from fanion.model.text import parse_version

_OPERAND_TYPE_OF: dict[Op, type] = {
    Op.EQ_BOOL: bool,
    Op.EQ_INT64: int,
    Op.EQ_DOUBLE: float,
    Op.EQ_NUMBER: float,
    Op.EQ_STRING: str,
    Op.EQ_VERSION: str,
    Op.ORDER_INT64: int,
    Op.ORDER_DOUBLE: float,
    Op.ORDER_NUMBER: float,
    Op.ORDER_VERSION: str,
    Op.ORDER_TEXT: float,
    Op.STRING_IN: tuple,
    Op.STRING_CONTAINS: str,
    Op.STRING_STARTS: str,
    Op.STRING_ENDS: str,
    Op.TEXT_IN: tuple,
    Op.TEXT_CONTAINS: str,
    Op.TEXT_STARTS: str,
    Op.TEXT_ENDS: str,
    Op.VERSION_MATCHES: tuple,
    Op.DECISION_IS: DecisionVariant,
    Op.TEXT_REGEX: str,
    Op.STRING_REGEX: str,
    Op.LIST_MEMBER: str,
}

_OPERAND_TYPES = [_OPERAND_TYPE_OF.get(op, type(None)) for op in Op]
_IS_EXTERNAL = [op in EXTERNAL_OPS for op in Op]


def write_operand(writer: SectionWriter, node: Test) -> bytes:
    """The eight bytes of its node. Raises ProgramError for one that its operator can't compare with."""
    operand = node.operand
    expected = _OPERAND_TYPES[node.op]
    if type(operand) is not expected:
        raise writer.refuse(f"{node.op.name} with operand {operand!r}", f"needs {expected.__name__}")
    match operand:
        case None:
            return bytes(8)
        case bool() | int():
            if not -(2**63) <= operand < 2**63:
                raise writer.refuse(f"{node.op.name} with operand {operand}", "needs a 64-bit integer")
            return f.INT64_OPERAND.pack(operand)
        case float():
            return f.DOUBLE_OPERAND.pack(operand + 0.0)  # equal tests are one, and so are both zeros
        case DecisionVariant():
            return f.ASKED_OPERAND.pack(operand.decision, operand.variant)
        case str():
            return _text_operand(writer, node, operand)
    if node.op is Op.VERSION_MATCHES:
        first = len(writer.rows[Section.COMPARATORS])
        for bound in operand:
            assert isinstance(bound, Comparator)
            writer.rows[Section.COMPARATORS].append(_comparator(writer, bound))
        return f.PAIR_OPERAND.pack(first, len(operand))
    return f.PAIR_OPERAND.pack(_set(writer, operand, node.fold), 0)  # type: ignore[arg-type]


def _text_operand(writer: SectionWriter, node: Test, operand: str) -> bytes:
    if len(operand.encode()) > TEXT_BYTES_MAX:
        raise writer.refuse(f"an operand of {len(operand.encode())} bytes", f"at most {TEXT_BYTES_MAX}")
    if _IS_EXTERNAL[node.op]:
        key = (node.op, node.slot, operand)
        if key not in writer.externals:
            writer.externals[key] = len(writer.externals)
            writer.rows[Section.EXTERNALS].append(f.EXTERNAL.pack(node.op, node.slot, *writer.text(operand)))
        return f.PAIR_OPERAND.pack(writer.externals[key], 0)
    if node.op is Op.EQ_VERSION or node.op is Op.ORDER_VERSION:
        version = parse_version(operand)
        if version is None:
            raise writer.refuse(f"{node.op.name} with operand {operand!r}", "needs a SemVer 2.0 version")
        return f.PAIR_OPERAND.pack(_version(writer, version), 0)
    return f.PAIR_OPERAND.pack(*writer.text(operand))


def _version(writer: SectionWriter, version: Version) -> int:
    if version not in writer.versions:
        writer.versions[version] = len(writer.versions)
        numbers = (version.major, version.minor, version.patch)
        texts = (*writer.text(version.pre), *writer.text(version.build))
        writer.rows[Section.VERSIONS].append(f.VERSION_RECORD.pack(*numbers, *texts))
    return writer.versions[version]


def _comparator(writer: SectionWriter, bound: Comparator) -> bytes:
    high = f.NONE if bound.high is None else _version(writer, bound.high)
    triple = bound.pre_of or (0, 0, 0)
    return f.COMPARATOR.pack(_version(writer, bound.low), high, bound.pre_of is not None, 0, *triple)


def _set(writer: SectionWriter, items: tuple[str, ...], fold: bool) -> int:
    unique = tuple(sorted(set(items)))
    key = (unique, fold)
    if key in writer.sets:
        return writer.sets[key]
    if len(unique) > f.SET_ITEMS_MAX:
        raise writer.refuse(f"a set of {len(unique)} texts", f"at most {f.SET_ITEMS_MAX}")
    encoded = [item.encode() for item in unique]
    if any(len(item) > TEXT_BYTES_MAX for item in encoded):
        raise writer.refuse("a text in a set is too long", f"at most {TEXT_BYTES_MAX} bytes")
    first = len(writer.rows[Section.SET_ITEMS])
    if fold or len(encoded) <= f.SET_LINEAR:
        capacity = len(encoded)
        writer.rows[Section.SET_ITEMS] += [f.SET_ITEM.pack(*writer.blob(item), 0, 0) for item in encoded]
    else:
        capacity = 1 << (2 * len(encoded) - 1).bit_length()
        places = [f.SET_ITEM.pack(0, f.NONE, 0, 0)] * capacity
        for item in encoded:
            digest = xxhash.xxh64_intdigest(item)
            at = free_place(places, digest, lambda place: place[4:8] == b"\xff\xff\xff\xff")
            places[at] = f.SET_ITEM.pack(*writer.blob(item), digest >> 32, 0)
        writer.rows[Section.SET_ITEMS] += places
    writer.sets[key] = len(writer.rows[Section.SETS])
    writer.rows[Section.SETS].append(f.SET.pack(first, capacity, fold, 0))
    return writer.sets[key]


def read_operand(reader: SectionReader, op: Op, raw: bytes) -> Operand:
    """The way back."""
    first, second = f.PAIR_OPERAND.unpack(raw)
    match op:
        case Op.PRESENT | Op.EQ_NULL:
            return None
        case Op.EQ_BOOL:
            return bool(f.INT64_OPERAND.unpack(raw)[0])
        case Op.EQ_INT64 | Op.ORDER_INT64:
            return int(f.INT64_OPERAND.unpack(raw)[0])
        case Op.EQ_DOUBLE | Op.EQ_NUMBER | Op.ORDER_DOUBLE | Op.ORDER_NUMBER | Op.ORDER_TEXT:
            return float(f.DOUBLE_OPERAND.unpack(raw)[0])
        case Op.EQ_VERSION | Op.ORDER_VERSION:
            return version_text(_read_version(reader, first))
        case Op.VERSION_MATCHES:
            return tuple(_read_comparator(reader, first + n) for n in range(second))
        case Op.DECISION_IS:
            return DecisionVariant(*f.ASKED_OPERAND.unpack(raw))
        case Op.STRING_IN | Op.TEXT_IN:
            return _read_set(reader, first)
    if op in EXTERNAL_OPS:
        return reader.text(*reader.row(Section.EXTERNALS, f.EXTERNAL, first)[2:])
    return reader.text(first, second)


def _read_set(reader: SectionReader, number: int) -> tuple[str, ...]:
    first, capacity, _, _ = reader.row(Section.SETS, f.SET, number)
    rows = (reader.row(Section.SET_ITEMS, f.SET_ITEM, first + n) for n in range(capacity))
    return tuple(sorted(reader.text(row[0], row[1]) for row in rows if row[1] != f.NONE))


def _read_version(reader: SectionReader, number: int) -> Version:
    row = reader.row(Section.VERSIONS, f.VERSION_RECORD, number)
    return Version(row[0], row[1], row[2], reader.text(row[3], row[4]), reader.text(row[5], row[6]))


def _read_comparator(reader: SectionReader, number: int) -> Comparator:
    low, high, has_pre, _, *triple = reader.row(Section.COMPARATORS, f.COMPARATOR, number)
    bound = None if high == f.NONE else _read_version(reader, high)
    return Comparator(
        _read_version(reader, low), bound, (triple[0], triple[1], triple[2]) if has_pre else None
    )


def version_text(version: Version) -> str:
    pre = f"-{version.pre}" if version.pre else ""
    build = f"+{version.build}" if version.build else ""
    return f"{version.major}.{version.minor}.{version.patch}{pre}{build}"
