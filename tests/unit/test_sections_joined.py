"""Sections that grow where they will stand are joined to the bytes of those that grow by themselves."""

from __future__ import annotations

import random

import pytest

from fanion._core.sections import Rows, expect, sealed

HEAD = bytes(32)
COVERED = 24


def joined(contents: list[bytes], sizes: list[int] | None) -> bytes:
    """`sizes`: what was expected of each; None: nothing."""
    rows = [Rows(1) for _ in contents]
    if sizes is not None:
        expect(rows, sizes, len(HEAD))
    for row, content in zip(rows, contents, strict=True):
        for first in range(0, len(content), 1_000):
            row.append(content[first : first + 1_000])
    whole = sealed(rows, HEAD, COVERED)
    assert [len(row) for row in rows] == [0] * len(rows)
    return whole


@pytest.mark.parametrize("seed", range(20))
def test_what_was_expected_of_sections_leaves_their_bytes_alone(seed: int) -> None:
    draw = random.Random(seed)
    contents = [draw.randbytes(draw.choice([0, 1, 7, 8, 9, 5_000, 90_000])) for _ in range(6)]
    plain = joined(contents, None)
    sizes = list(map(len, contents))
    assert joined(contents, sizes) == plain
    assert joined(contents, [size // 2 for size in sizes]) == plain  # the larger ones move out
    assert joined(contents, [0] * len(sizes)) == plain
    assert joined(contents, [size + draw.randrange(20_000) for size in sizes]) == plain


def test_sections_that_are_given_up_give_their_memory_back() -> None:
    for _ in range(50):
        rows = [Rows(1) for _ in range(3)]
        expect(rows, [100_000] * 3, len(HEAD))
        rows[1].append(b"x" * 500_000)
        rows[0].append(b"x")
        del rows


def test_a_section_with_something_in_it_expects_nothing_more() -> None:
    rows = [Rows(1)]
    rows[0].append(b"x")
    with pytest.raises(ValueError, match="isn't empty"):
        expect(rows, [8], len(HEAD))
