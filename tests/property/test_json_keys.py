"""A native file that is read straight to structs says what it says by way of plain objects; a key that stands twice
is found."""

from __future__ import annotations

import json
import random
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanion._core.json_keys import DEPTH_MAX, FEW, keys_twice
from fanion.definitions.reading.documents import DocumentError, read_document, read_struct
from fanion.model.definition import File
from tests.property.bending import bend

KEYS = st.sampled_from(["a", "b", "ab", "", "é", ":", "{", '"', "\\", "a:", "}"])


class Pairs(list[tuple[str, Any]]):
    """An object's members as they stand, equal keys included."""


def texts(value: Any, space: str) -> str:
    if isinstance(value, Pairs):
        members = (f"{json.dumps(key, ensure_ascii=False)}{space}:{texts(one, space)}" for key, one in value)
        return "{" + f",{space}".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(texts(one, space) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(KEYS, st.integers(), st.booleans(), st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(st.tuples(KEYS, inner), max_size=6).map(Pairs)
    ),
    max_leaves=20,
)


def stands_twice(text: str) -> bool:
    found = False

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal found
        found = found or len(dict(pairs)) != len(pairs)
        return {}

    json.loads(text, object_pairs_hook=unique)
    return found


@given(VALUES, st.sampled_from(["", " ", "\n\t"]))
@example(Pairs([("a", Pairs([("a", 1)])), ("b", [Pairs([("a", 1)]), Pairs([("a", 2)])])]), "")
@example(Pairs([("a", "a"), ("b", "a")]), " ")
def test_a_key_that_stands_twice_is_found(value: Any, space: str) -> None:
    text = texts(value, space)
    escaped = "\\" in text
    assert keys_twice(text.encode()) >= stands_twice(text)
    assert escaped or keys_twice(text.encode()) == stands_twice(text)


@pytest.mark.parametrize("count", [FEW - 1, FEW, FEW + 1, 5 * FEW, 5_000])
def test_a_key_that_stands_twice_is_found_among_many(count: int) -> None:
    members = [f'"key-{number}":{{"id":1}}' for number in range(count)]
    assert not keys_twice(("{" + ",".join(members) + "}").encode())
    for again in (0, count // 2, count - 1):
        assert keys_twice(("{" + ",".join([*members, f'"key-{again}":2']) + "}").encode())


def test_more_levels_than_can_be_held_count_as_twice() -> None:
    assert not keys_twice(b"[" * DEPTH_MAX + b"]" * DEPTH_MAX)
    assert keys_twice(b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1))


@pytest.mark.parametrize("text", [b"", b"{", b'{"a', b"]", b'"a":', b'{"a":1,"a"', b"\xff", b'"\\'])
def test_what_is_no_json_is_survived(text: bytes) -> None:
    keys_twice(text)


WORLD = {
    "fanion": 1,
    "organisations": {
        "o": {
            "projects": {
                "p": {
                    "environments": {
                        "e": {"id": "e", "keys": [{"key": "sha256:" + "a" * 64, "kind": "server"}]}
                    },
                    "segments": {
                        "s": {"conditions": [{"attribute": "a", "operator": "in", "value": [1, "x"]}]}
                    },
                    "flags": {
                        "f": {
                            "type": "json",
                            "default_value": {"deep": [1, 2.5, {"x": None}], "text": "é\n"},
                            "rules": [
                                {
                                    "id": "r",
                                    "conditions": [{"not": {"segment": "s"}}],
                                    "value": -0.0,
                                    "rollout_percentage": 12,
                                }
                            ],
                        }
                    },
                }
            }
        }
    },
}
LITERALS = ["1e400", "-0", "1E2", "NaN", "01", "9" * 30, "9" * 5_000, "1.0", "[[]]", "null"]
LITERALS += ['"\\ud800"', '"\\u00e9"', '"\x01"']


def by_plain_objects(data: bytes) -> File | None:
    try:
        return msgspec.convert(read_document("a.json", data), File)
    except (DocumentError, msgspec.ValidationError, RecursionError):
        return None


@pytest.mark.parametrize("seed", range(8))
def test_what_is_read_straight_is_what_plain_objects_give(seed: int) -> None:
    chance = random.Random(seed)
    plain = json.dumps(WORLD, indent=chance.choice([None, 1])).encode()
    assert read_struct("a.json", plain, File) == by_plain_objects(plain) is not None
    taken = 0
    for _ in range(300):
        data = plain
        if chance.random() < 0.5:
            numbers = [at for at in range(len(data)) if data[at : at + 1].isdigit()]
            at = chance.choice(numbers)
            data = data[:at] + chance.choice(LITERALS).encode() + data[at + 1 :]
        else:
            data = bend(chance, data)
        read = read_struct("a.json", data, File)
        if read is not None:
            taken += 1
            plainly = by_plain_objects(data)
            assert plainly is not None, data
            assert msgspec.json.encode(read) == msgspec.json.encode(plainly), data
    assert taken


def test_yaml_and_files_with_an_escaped_key_are_read_by_plain_objects() -> None:
    assert read_struct("a.yaml", json.dumps(WORLD).encode(), File) is None
    assert (
        read_struct("a.json", json.dumps(WORLD).replace('"fanion"', '"f\\u0061nion"').encode(), File) is None
    )
