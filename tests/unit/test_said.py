"""What is said of wrong items: entries as a plain encoder writes them, as long as they keep within their room."""

from __future__ import annotations

import random

import msgspec
import pytest

from fanion._core.said import Said

ROOMS = [0, 1, 30, 31, 32, 33, 500, 5_000, 65_536]
MESSAGES = ["", "wrong", 'a "quote" \\ and \n', "é\U0001f600", "x" * 300]
INDEXES = [0, 8, 9, 10, 98, 99, 100, 998, 999, 1_000, 99_999, 2**32 - 1, 2**32, 2**64 - 2, 2**64 - 1]


def written(name: str, room: int, told: list[tuple[int, str]]) -> tuple[bytes, int, bool]:
    """The plain twin: the list, how many were told, and whether one had no room."""
    entries: list[bytes] = []
    for index, message in told:
        entry = msgspec.json.encode({"index": index, name: message})
        room -= len(entry)
        if room < 0:
            return b"[%b]" % b",".join(entries), len(told), True
        entries.append(entry)
    return b"[%b]" % b",".join(entries), len(told), False


@pytest.mark.parametrize("seed", range(20))
def test_entries_are_those_of_a_plain_encoder(seed: int) -> None:
    draw = random.Random(seed)
    for room in ROOMS:
        told: list[tuple[int, str]] = []
        for _ in range(draw.choice((0, 1, 3, 40))):
            first = draw.choice(INDEXES)
            last = min(first + draw.choice((1, 2, 3, 12)), 2**64)
            told += [(index, draw.choice(MESSAGES)) for index in range(first, last)]
        said = Said("reason", room, msgspec.json.encode)
        for index, message in told:
            said.say(index, message)
        assert (said.list(), said.count, said.full) == written("reason", room, told)


def test_an_entry_has_room_to_its_last_byte() -> None:
    entry = msgspec.json.encode({"index": 7, "error": "wrong"})
    for room, full in ((len(entry), False), (len(entry) - 1, True)):
        said = Said("error", room, msgspec.json.encode)
        said.say(7, "wrong")
        assert said.full == full
        assert said.list() == (b"[]" if full else b"[%b]" % entry)
