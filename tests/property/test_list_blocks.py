"""The compiled blocks of lists equal their twin, damaged ones too, and read no byte that isn't theirs."""

from __future__ import annotations

import os
import random
from collections.abc import Callable

import pytest

from fanion._core.list_block import ListReader, pack, rows_of, unpack
from tests.property import list_blocks as twin

SEED = int(os.environ.get("FANION_TEST_SEED", "20261121"))
LENGTHS = (1, 2, 7, 8, 9, 15, 16, 21, 300, 1_024)
NUMBER, SECRET = 7, 0xFEDCBA9876543210


def reader(block: bytes, number: int = NUMBER, secret: int = SECRET) -> ListReader:
    return ListReader(lambda key: True, lambda: memoryview(block), number, secret)


def answer(ask: Callable[[], bool]) -> bool | str:
    try:
        return ask()
    except ValueError:
        return "damaged"


def members(draw: random.Random, count: int) -> list[bytes]:
    return [draw.randbytes(draw.choice(LENGTHS)) for _ in range(count)]


def block_of(draw: random.Random, depth: int) -> tuple[bytes, list[bytes]]:
    """A sealed block and its members: of a depth that they all share by chance only where it is 0."""
    prefix = draw.getrandbits(64) >> 64 - depth << 64 - depth if depth else 0
    found = [
        (prefix | int.from_bytes(row[:8], "big") >> depth).to_bytes(8, "big") + row[8:]
        for row in rows_of(NUMBER, SECRET, members(draw, draw.choice((0, 1, 2, 3, 50))))
    ]
    rows = sorted({*found, *(row[:8] + b"twin" for row in found[:2])})  # two members of one hash
    packed = pack(NUMBER, prefix, depth, rows)
    assert packed == twin.pack(NUMBER, prefix, depth, rows)
    assert unpack(packed) == ([row[8:] for row in rows], prefix, depth)
    return bytes(8) + packed, [row[8:] for row in rows]


def test_twin_hashes_as_published() -> None:
    key = [int.from_bytes(bytes(range(first, first + 8)), "little") for first in (0, 8)]
    assert twin.siphash(key[0], key[1], bytes(range(15))) == 0xA129CA6149BE45E5
    assert twin.siphash(key[0], key[1], b"") == 0x726FDB47DD0E0E31


def test_rows_are_those_of_the_twin() -> None:
    draw = random.Random(SEED)
    for _ in range(50):
        number, secret = draw.getrandbits(64), draw.getrandbits(64)
        some = [*members(draw, 10), b""]
        assert rows_of(number, secret, some) == twin.rows_of(number, secret, some)


@pytest.mark.parametrize("depth", [0, 1, 2, 13, 62, 63])
def test_blocks_are_those_of_the_twin_and_their_members_are_found(depth: int) -> None:
    draw = random.Random(SEED + depth)
    for _ in range(50):
        block, own = block_of(draw, depth)
        for member in [*own, *members(draw, 20), b""]:
            expected = answer(lambda: twin.holds(block, NUMBER, SECRET, member))  # noqa: B023 - called at once
            assert answer(lambda: reader(block).holds(member)) == expected  # noqa: B023
            assert depth or expected == (member in own) or member == b"twin"


def test_two_members_of_one_hash_are_told_apart() -> None:
    rows = rows_of(NUMBER, SECRET, [b"mine"])
    block = bytes(8) + pack(NUMBER, 0, 0, [rows[0][:8] + b"first", rows[0]])
    assert reader(block).holds(b"mine")
    assert not reader(bytes(8) + pack(NUMBER, 0, 0, [rows[0][:8] + b"first"])).holds(b"mine")


def test_block_that_was_changed_answers_as_the_twin_does_and_is_never_read_outside() -> None:
    draw = random.Random(SEED)
    seen = set()
    for _ in range(300):
        block, own = block_of(draw, 0)
        for _ in range(10):
            hostile = bytearray(block)
            for _ in range(draw.randrange(1, 4)):
                at = draw.randrange(min(len(hostile), draw.choice((40, 60, 5_000))))
                hostile[at] = draw.choice((0, 1, 255, draw.randrange(256)))
            end = draw.choice((len(hostile), len(hostile), draw.randrange(len(hostile))))
            changed = bytes(hostile[:end])
            member = draw.choice([*own, b"another"])
            expected = answer(lambda: twin.holds(changed, NUMBER, SECRET, member))  # noqa: B023
            assert answer(lambda: reader(changed).holds(member)) == expected  # noqa: B023
            seen.add(expected)
            try:
                unpack(changed[8:])
            except ValueError:
                seen.add("unreadable")
    assert seen == {True, False, "damaged", "unreadable"}


def test_reader_remembers_blocks_of_every_depth() -> None:
    draw = random.Random(SEED)
    rows = sorted(rows_of(NUMBER, SECRET, [b"%d" % n for n in range(2_000)]))
    blocks: dict[bytes, bytes] = {}

    def cut(prefix: int, depth: int, own: list[bytes]) -> None:
        if depth < 2 or (depth < 6 and draw.random() < 0.7):
            middle = prefix | 1 << 63 - depth
            cut(prefix, depth + 1, [row for row in own if row[:8] < middle.to_bytes(8, "big")])
            cut(middle, depth + 1, [row for row in own if row[:8] >= middle.to_bytes(8, "big")])
            return
        last = prefix | (1 << 64 - depth) - 1
        blocks[NUMBER.to_bytes(8, "big") + last.to_bytes(8, "big")] = bytes(8) + pack(
            NUMBER, prefix, depth, own
        )

    cut(0, 0, rows)
    asked: list[bytes] = []

    def set_range(key: bytes) -> bool:
        asked.append(min(at for at in blocks if at >= key))
        return True

    found = ListReader(set_range, lambda: memoryview(blocks[asked[-1]]), NUMBER, SECRET)
    assert all(found.holds(b"%d" % n) == (n < 2_000) for n in range(4_000))
    assert len({block[8 + 22] for block in blocks.values()}) > 2
    assert set(asked) == blocks.keys()
    asked.clear()
    assert all(found.holds(b"%d" % n) == (n < 2_000) for n in range(4_000))
    assert not asked
    found.close()
    found.close()
    with pytest.raises(ValueError, match="closed"):
        found.holds(b"1")


def test_list_without_the_block_that_a_hash_belongs_to_is_damaged() -> None:
    with pytest.raises(ValueError, match="list 7 is damaged"):
        ListReader(lambda key: False, lambda: memoryview(b""), NUMBER, SECRET).holds(b"a")
    with pytest.raises(ValueError, match="list 7 is damaged"):
        reader(bytes(8) + pack(8, 0, 0, [])).holds(b"a")


def test_rows_that_are_no_block_are_refused() -> None:
    row = bytes(8)
    for rows, depth in (
        ([b"\1" + row, row], 0),
        ([row + b"b", row + b"a"], 0),
        ([row, row], 0),
        ([b"\x80" + row], 1),
        ([row[:7]], 0),
        ([row], 64),
        ([row], -1),
        ([row + b"%02d" % n + bytes(1_022) for n in range(64)], 0),
    ):
        with pytest.raises(ValueError, match=r".+"):
            pack(NUMBER, 0, depth, rows)
    largest = [b"%02d" % n + bytes(1_020) for n in range(63)]
    assert unpack(pack(NUMBER, 0, 0, [row + member for member in largest]))[0] == largest
