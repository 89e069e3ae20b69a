"""Texts around the sizes at which the core compares and copies in another way: 3, 4, 7, 8, 16 and 17 bytes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fanion._core.evaluate import Bundle
from fanion.bundle.compiler import compile_bundle
from fanion.model import program as p

LENGTHS = range(1, 41)
ABSENT = b"absent"


def text_of(length: int) -> str:
    return "".join(chr(ord("a") + n % 23) for n in range(length))


def one_off(text: str) -> Iterator[str]:
    """The text with each of its characters changed in turn."""
    for at in range(len(text)):
        yield f"{text[:at]}!{text[at + 1 :]}"


def test_a_key_of_any_length_is_found_and_its_answer_copied_whole() -> None:
    lowered = p.Lowered("env", (), (p.Decision("all", (p.Outcome(p.Resolution.DEFAULT),)),))
    entries = tuple(p.Entry(text_of(n), 0, ((text_of(n).encode(),),)) for n in LENGTHS)
    bundle = Bundle(compile_bundle(lowered, {"native": lambda _: p.Table(entries, (ABSENT,))}))
    table = bundle.table("native")
    for key in map(text_of, LENGTHS):
        assert bundle.put_one(table, key, False, {}, {}, None, b"<", b">") == b"<%b>" % key.encode()
        for other in one_off(key):
            assert bundle.put_one(table, other, False, {}, {}, None, b"", b"") == ABSENT


@pytest.mark.parametrize("op", [p.Op.EQ_STRING, p.Op.STRING_STARTS, p.Op.STRING_ENDS])
def test_a_text_of_any_length_equals_only_itself(op: p.Op) -> None:
    outcomes: tuple[p.Node, ...] = (p.Outcome(p.Resolution.MATCHED), p.Outcome(p.Resolution.DEFAULT))
    decisions = tuple(
        p.Decision(text_of(n), (p.Test(op, 0, text_of(n), 1, 2, 2, 2), *outcomes)) for n in LENGTHS
    )
    bundle = Bundle(compile_bundle(p.Lowered("env", (p.Slot(p.Source.ATTRIBUTE, "a"),), decisions), {}))
    for number, text in enumerate(map(text_of, LENGTHS)):
        assert bundle.evaluate(number, {}, {"a": text}, None)[0] == 0
        for other in one_off(text):
            assert bundle.evaluate(number, {}, {"a": other}, None)[0] == 1
