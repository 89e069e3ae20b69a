"""The native pass over a JSON text says what the plain one says: the same bound, or none, and the same items."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fanion._core import json_scan

TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"(\s*+:)?|[\[\]{}]|-?[0-9][0-9.eE+-]*+|[a-z]++|"', re.DOTALL)


def plain_scan(body: bytes, depth_max: int, keys_max: int, digits_max: int, tokens_max: int) -> int:
    """The twin of `json_scan.scan`."""
    depth, members = 0, [0]
    for count, token in enumerate(TOKENS.finditer(body), 1):
        text = token.group()
        if text == b'"':
            break
        if text[0] == 0x22:
            if token.group(1) is not None:
                members[-1] += 1
                if members[-1] > keys_max:
                    return json_scan.TOO_MANY_MEMBERS
        elif text in (b"[", b"{"):
            depth += 1
            members.append(0)
            if depth > depth_max:
                return json_scan.TOO_DEEP
        elif text in (b"]", b"}"):
            depth -= 1
            if depth < 0:
                return json_scan.UNBALANCED
            members.pop()
        elif not text.isalpha():
            if len(text) > digits_max:
                return json_scan.TOO_LONG_NUMBER
            if (b"e" in text or b"E" in text) and not is_finite(text):
                return json_scan.NOT_FINITE
        if count > tokens_max:
            return json_scan.TOO_MANY_TOKENS
    return json_scan.WITHIN


def is_finite(number: bytes) -> bool:
    """Also true for what is no number: that is the decoder's to refuse."""
    try:
        return math.isfinite(float(number))
    except ValueError:
        return True


PIECES = re.compile(rb'"(?:[^"\\]|\\.)*+"|[\[\]{},]|"', re.DOTALL)


def plain_cut(body: bytes, wanted: bytes, items_max: int) -> Any:
    """The twin of `json_scan.cut`: by brackets and commas alone."""
    depth, start, first, name = 0, -1, 0, b""
    items: list[bytes] = []
    for token in PIECES.finditer(body):
        text = token.group()
        item = None
        if text == b'"':
            return None
        if text in (b"[", b"{"):
            depth += 1
            if text == b"[" and depth == 2 and name == wanted and start < 0:
                start = first = token.end()
        elif text in (b"]", b"}"):
            depth -= 1
            if depth < 0:
                return None
            if start >= 0 and depth == 1:
                last = body[first : token.start()].strip(b" \t\r\n")
                if last or items:
                    if len(items) == items_max:
                        return start, start, None
                    items.append(last)
                return start, token.start(), items
        elif text == b",":
            if start >= 0 and depth == 2:
                item = body[first : token.start()].strip(b" \t\r\n")
                first = token.end()
        elif depth == 1:
            name = text
        if item is not None:
            if len(items) == items_max:
                return start, start, None
            items.append(item)
    return None


DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=5),
    max_leaves=30,
)
SCRAPS = st.lists(
    st.sampled_from(
        [
            *'[]{},:" \n\\',
            '"events"',
            '"a":',
            "1e999",
            "-1.5E-3",
            "12345678901",
            "null",
            '\\"',
            "é",
            "0",
            "-",
            "1e5-",
            "tru",
            "1-e9",
        ]
    ),
    max_size=60,
)
BODIES = st.one_of(
    DOCUMENTS.map(lambda value: json.dumps(value).encode()),
    st.lists(DOCUMENTS, max_size=6).map(lambda items: json.dumps({"zz": 1, "events": items}).encode()),
    SCRAPS.map(lambda texts: "".join(texts).encode()),
    st.binary(max_size=60),
)


@given(BODIES, st.integers(1, 6), st.integers(0, 6), st.integers(1, 12), st.integers(1, 40))
@example(b'{"a":1', 4, 0, 9, 9)
@example(b'"\\', 4, 4, 9, 9)
@example(b"1" * 13, 4, 4, 12, 9)
def test_the_native_scan_finds_the_bound_that_the_plain_one_finds(
    body: bytes, depth_max: int, keys_max: int, digits_max: int, tokens_max: int
) -> None:
    bounds = depth_max, keys_max, digits_max, tokens_max
    assert json_scan.scan(body, *bounds) == plain_scan(body, *bounds)


@given(BODIES, st.integers(0, 8))
@example(b'{"events":[]}', 0)
@example(b'{"events":[1,]}', 2)
@example(b'{"events":[1', 2)
@example(b'{"events":1,"b":[2]}', 2)
@example(b'{"events":{"a":[1]},"b":[2]}', 2)
def test_the_native_cut_finds_the_items_that_the_plain_one_finds(body: bytes, items_max: int) -> None:
    assert json_scan.cut(body, b'"events"', items_max) == plain_cut(body, b'"events"', items_max)


@pytest.mark.parametrize(
    ("text", "bound", "at_bound"),
    [
        (lambda n: b"[" * n, json_scan.TOO_DEEP, 64),
        (
            lambda n: b"{" + b",".join(b'"%d":1' % i for i in range(n)) + b"}",
            json_scan.TOO_MANY_MEMBERS,
            1_000,
        ),
        (lambda n: b"1" * n, json_scan.TOO_LONG_NUMBER, 400),
        (lambda n: b"1 " * n, json_scan.TOO_MANY_TOKENS, 65_536),
    ],
    ids=["depth", "members", "digits", "tokens"],
)
def test_each_bound_holds_at_its_value_and_breaks_one_above(text: Any, bound: int, at_bound: int) -> None:
    assert json_scan.scan(text(at_bound), 64, 1_000, 400, 65_536) == json_scan.WITHIN
    assert json_scan.scan(text(at_bound + 1), 64, 1_000, 400, 65_536) == bound
