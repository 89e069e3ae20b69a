"""Writing and reading back the nodes that choose by numbers (`fanion.model.choice`).

Texts, pieces and targets are `fanion.bundle.sections`' to write.
"""

from __future__ import annotations

import itertools
import math

from fanion.bundle import format as f
from fanion.bundle.format import NodeType, Section
from fanion.bundle.sections import SectionReader, SectionWriter
from fanion.model.choice import Alternative, KeyedWeights, NumberTerm, Scores, TextTerm, Vector


def write_scores(writer: SectionWriter, node: Scores, number: int, count: int) -> bytes:
    """The node's row; its model, alternatives and terms are appended."""
    if not 0 < len(node.alternatives) <= f.ALTERNATIVES_MAX:
        raise writer.refuse(f"{len(node.alternatives)} alternatives", f"1 to {f.ALTERNATIVES_MAX}")
    terms = sum(len(alternative.terms) for alternative in node.alternatives)
    if terms > f.TERMS_MAX:
        raise writer.refuse(f"{terms} terms", f"at most {f.TERMS_MAX}")
    first = len(writer.rows[Section.ALTERNATIVES])
    for alternative in node.alternatives:
        term_first = len(writer.rows[Section.TERMS])
        for term in alternative.terms:
            writer.rows[Section.TERMS].append(_term(writer, term))
        target = writer.target(alternative.target, number, count)
        base = _finite(writer, alternative.base)
        row = f.ALTERNATIVE.pack(base, term_first, len(alternative.terms), target, 0)
        writer.rows[Section.ALTERNATIVES].append(row)
    model = f.MODEL.pack(
        _finite(writer, node.gamma), _finite(writer, node.floor), first, len(node.alternatives)
    )
    writer.rows[Section.MODELS].append(model)
    return f.BRANCH.pack(NodeType.SCORES, len(writer.rows[Section.MODELS]) - 1, 1, 0)


def _term(writer: SectionWriter, term: NumberTerm | TextTerm) -> bytes:
    slot = writer.slot(term.slot)
    missing = _finite(writer, term.missing)
    if isinstance(term, NumberTerm):
        return f.TERM.pack(_finite(writer, term.coefficient), missing, slot, f.TERM_NUMBER, 0, 0)
    writer.needs[slot] |= f.NEEDS_TEXT
    first = len(writer.rows[Section.VALUES])
    texts = [text.encode() for text, _ in term.values]
    _ascending(writer, texts)
    for text, (_, value) in zip(texts, term.values, strict=True):
        writer.rows[Section.VALUES].append(f.VALUE.pack(*writer.blob(text), _finite(writer, value)))
    return f.TERM.pack(0.0, missing, slot, f.TERM_TEXT, first, len(texts))


def write_keyed(writer: SectionWriter, node: KeyedWeights, number: int, count: int) -> bytes:
    """The node's row; its vectors and targets are appended."""
    dynamic = node.count_slot >= 0
    alternatives = node.count_max if dynamic else len(node.targets)
    if not 0 < alternatives <= f.ALTERNATIVES_MAX or (dynamic and len(node.targets) != 1):
        raise writer.refuse(
            f"{alternatives} alternatives, {len(node.targets)} targets",
            f"1 to {f.ALTERNATIVES_MAX}, one target where a slot says how many",
        )
    if len(node.vectors) > f.VECTORS_MAX:
        raise writer.refuse(f"{len(node.vectors)} sets of weights", f"at most {f.VECTORS_MAX}")
    first = _vectors(writer, node.vectors)
    fallback = f.NONE if node.fallback is None else _vectors(writer, (node.fallback,))
    target_first = len(writer.rows[Section.TARGETS])
    targets = [writer.target(target, number, count) for target in node.targets]
    writer.rows[Section.TARGETS] += [f.NUMBER.pack(target) for target in targets]
    slot = writer.slot(node.count_slot) if dynamic else f.NONE
    pieces = writer.pieces(node.pieces)
    record = (*pieces, first, len(node.vectors), fallback, slot, alternatives, target_first)
    writer.rows[Section.KEYED].append(f.KEYED.pack(*record))
    on_none = writer.target(node.on_none, number, count)
    return f.BRANCH.pack(NodeType.KEYED, len(writer.rows[Section.KEYED]) - 1, 1, on_none)


def _vectors(writer: SectionWriter, vectors: tuple[Vector, ...]) -> int:
    """Number of the first; equal ones, which several nodes may use, are stored once."""
    if vectors not in writer.vectors:
        _ascending(writer, [vector.key.encode() for vector in vectors])
        writer.vectors[vectors] = len(writer.rows[Section.VECTORS])
        for vector in vectors:
            _vector(writer, vector)
    return writer.vectors[vectors]


def _vector(writer: SectionWriter, vector: Vector) -> None:
    first = len(writer.rows[Section.NUMBERS])
    writer.rows[Section.NUMBERS] += [f.DOUBLE.pack(_finite(writer, weight)) for weight in vector.weights]
    span = (first, len(vector.weights))
    writer.rows[Section.VECTORS].append(
        f.VECTOR.pack(*writer.text(vector.key), *span, *writer.text(vector.note))
    )


def _ascending(writer: SectionWriter, keys: list[bytes]) -> None:
    if any(not left < right for left, right in itertools.pairwise(keys)):
        raise writer.refuse("keys out of order", "unique ones, in the order of their UTF-8 bytes")


def _finite(writer: SectionWriter, number: float) -> float:
    if not math.isfinite(number):
        raise writer.refuse(f"the number {number}", "finite ones")
    return number


def read_scores(reader: SectionReader, number: int) -> Scores:
    """The way back."""
    gamma, floor, first, count = reader.row(Section.MODELS, f.MODEL, number)
    alternatives = []
    for n in range(first, first + count):
        base, term_first, term_count, target, _ = reader.row(Section.ALTERNATIVES, f.ALTERNATIVE, n)
        terms = tuple(_read_term(reader, term_first + k) for k in range(term_count))
        alternatives.append(Alternative(base, terms, target))
    return Scores(tuple(alternatives), gamma, floor)


def _read_term(reader: SectionReader, number: int) -> NumberTerm | TextTerm:
    coefficient, missing, slot, kind, first, count = reader.row(Section.TERMS, f.TERM, number)
    if kind == f.TERM_NUMBER:
        return NumberTerm(slot, coefficient, missing)
    rows = [reader.row(Section.VALUES, f.VALUE, first + n) for n in range(count)]
    return TextTerm(slot, tuple((reader.text(row[0], row[1]), row[2]) for row in rows), missing)


def read_keyed(reader: SectionReader, number: int, on_none: int) -> KeyedWeights:
    """The way back."""
    row = reader.row(Section.KEYED, f.KEYED, number)
    piece_first, piece_count, first, vectors, fallback, slot, alternatives, target_first = row
    dynamic = slot != f.NONE
    targets = range(target_first, target_first + (1 if dynamic else alternatives))
    return KeyedWeights(
        pieces=reader.pieces(piece_first, piece_count),
        vectors=tuple(read_vector(reader, first + n) for n in range(vectors)),
        fallback=None if fallback == f.NONE else read_vector(reader, fallback),
        targets=tuple(reader.row(Section.TARGETS, f.NUMBER, n)[0] for n in targets),
        on_none=on_none,
        count_slot=slot if dynamic else -1,
        count_max=alternatives if dynamic else 0,
    )


def read_vector(reader: SectionReader, number: int) -> Vector:
    key, size, first, count, note, note_size = reader.row(Section.VECTORS, f.VECTOR, number)
    weights = tuple(reader.row(Section.NUMBERS, f.DOUBLE, first + n)[0] for n in range(count))
    return Vector(reader.text(key, size), weights, reader.text(note, note_size))
