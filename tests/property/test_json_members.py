"""Where members stand in a JSON text: as a decoder that keeps places says; of other bytes nothing outside them."""

from __future__ import annotations

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fanion._core.json_members import has, members_of, objects_at, same_ends
from tests.property.bending import bend
from tests.rounds import rounds

ROUNDS = rounds(2_000, 50_000)
KEYS = st.sampled_from(["a", "b", "flags", "", "é", "{", '"', "\\", "a:", "}", ", "])
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(KEYS, st.integers(), st.floats(allow_nan=False), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(KEYS, inner, max_size=4),
        st.fixed_dictionaries({"a": inner}),
    ),
    max_leaves=20,
)
PATHS = st.lists(st.one_of(st.none(), KEYS), max_size=3)


def written(path: list[str | None]) -> tuple[bytes | None, ...]:
    return tuple(None if key is None else json.dumps(key).encode() for key in path)


def found_plainly(value: Any, path: list[str | None]) -> list[Any]:
    """The native search's twin, on the value."""
    if not isinstance(value, dict):
        return []
    if not path:
        return [value]
    return [
        one
        for key, inner in value.items()
        if path[0] in (None, key)
        for one in found_plainly(inner, path[1:])
    ]


@given(VALUES, PATHS, st.sampled_from([None, 0, 2]))
def test_objects_are_found_where_they_stand(value: Any, path: list[str | None], indent: int | None) -> None:
    text = json.dumps(value, indent=indent).encode()
    spans = objects_at(text, written(path))
    assert [json.loads(text[first:end]) for first, end in spans] == found_plainly(value, path)
    assert spans == sorted(spans)


@given(st.dictionaries(KEYS, VALUES, max_size=5), st.sampled_from([None, 0, 2]))
def test_members_are_found_with_their_keys(value: dict[str, Any], indent: int | None) -> None:
    text = b"[" + json.dumps(value, indent=indent).encode() + b"]"
    spans = members_of(text, 1, len(text) - 1, 0, len(text), 0)
    read = [json.loads(b"{" + text[first:end] + b"}") for first, end in spans]
    assert read == [{key: one} for key, one in value.items()]


@given(
    st.dictionaries(st.text("ab", max_size=3), st.integers(0, 3), max_size=12),
    st.integers(0, 120),
    st.integers(0, 120),
    st.integers(0, 4),
)
def test_members_around_a_stretch_are_those_of_all(
    value: dict[str, int], at: int, behind: int, beside: int
) -> None:
    text = json.dumps(value).encode()
    every = members_of(text, 0, len(text), 0, len(text), 0)
    one = sum(end < at for _, end in every)
    other = sum(max(start <= behind, end < at) for start, end in every)
    assert members_of(text, 0, len(text), at, behind, beside) == every[max(0, one - beside) : other + beside]


@given(st.binary(max_size=40), st.binary(max_size=3))
def test_a_word_is_found_where_python_finds_it(text: bytes, word: bytes) -> None:
    assert has(text, word) is (word in text)


@given(st.lists(st.binary(max_size=9_000), min_size=2, max_size=4))
def test_ends_that_are_the_same_are_measured(parts: list[bytes]) -> None:
    one, other = b"".join(parts), b"".join(parts[:1] + parts[2:])
    first, last = same_ends(one, other)
    least = min(len(one), len(other))
    assert first + last <= least
    assert one[:first] == other[:first]
    assert one[len(one) - last :] == other[len(other) - last :]
    assert first == least or one[first] != other[first]
    assert first + last == least or one[-last - 1] != other[-last - 1]


def test_of_other_bytes_only_what_lies_in_them_is_said() -> None:
    draw = random.Random(3)
    text = json.dumps(
        {"a": {"b": {"x": [1, {"y": "z\\"}], "é": None}}, "b": {"b": {"k": -1.5e3}}}, indent=1
    ).encode()
    for _ in range(ROUNDS):
        bent = bend(draw, text)
        for first, end in objects_at(bent, (None, b'"b"')):
            assert 0 <= first < end <= len(bent)
            for start, behind in members_of(bent, first, end, 0, len(bent), 0):
                assert first < start < behind <= end
