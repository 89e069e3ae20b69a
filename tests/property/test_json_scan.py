"""The native pass over a JSON text says what the plain one says: the same bound, or none, and the same items."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fanion._core import json_scan

TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*+"(\s*+:)?|[\[\]{}]|-?[0-9][0-9.eE+-]*+|[a-z]++|"', re.DOTALL)


def plain_scan(body: bytes, depth_max: int, keys_max: int, digits_max: int, tokens_max: int) -> int:
    """The twin of `json_scan.scan`."""
    depth, members, count = 0, [0], 0
    for token in TOKENS.finditer(body):
        count += 1
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
            if b"e" in text.lower():
                if not is_finite(text):
                    return json_scan.NOT_FINITE
                count += tokens_of(text) - 1
            if len(text) > json_scan.DIGITS_USUAL:
                count += len(text) // json_scan.TOKEN_DIGITS - 1
        if count > tokens_max:
            return json_scan.TOO_MANY_TOKENS
    return json_scan.WITHIN


def tokens_of(number: bytes) -> int:
    """What a number with an exponent counts as."""
    exponent = int(b"0" + re.sub(rb"[^0-9]", b"", number.lower().partition(b"e")[2]))
    if exponent >= json_scan.EXPONENT_HUGE:
        return json_scan.HUGE_TOKENS
    return json_scan.LARGE_TOKENS if exponent >= json_scan.EXPONENT_LARGE else 1


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
            "7" * 33,
            "7" * 40,
            "\\u00e4",
            "\\ud83d",
            "\\ude00",
            "  ",
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


@given(
    BODIES, st.integers(1, 6), st.integers(0, 6), st.integers(1, 12) | st.integers(30, 60), st.integers(1, 40)
)
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


EXPONENT = re.compile(rb"(?:^|(?<=[,:\[ \n\r\t]))-?[0-9.]++[eE][+-]?[0-9]{2}[0-9.eE+-]*+")
SOME = [b"1e300", b"-1.5E-20", b"1e9", b"1.e10", b".e10", b"e10", b"0x1e10", b'"3e45"', b",", b" "]


@given(
    st.lists(
        st.sampled_from(SOME) | st.binary(max_size=3) | st.integers(0, 300).map(lambda size: b"x" * size)
    ).map(b"".join)
)
@example(b"1e10")
@example(b"x" * 255 + b"," + b"1e10")
@example(b"x" * 254 + b"," + b"1e10")
def test_a_number_with_an_exponent_is_seen_wherever_it_stands(text: bytes) -> None:
    tokens = sum(tokens_of(found.group()) for found in EXPONENT.finditer(text))
    assert json_scan.exponents(text, 10_000) == tokens
    assert (json_scan.exponents(text, 0) > 0) == (tokens > 0)


@pytest.mark.parametrize(
    ("number", "tokens"), [(b"1e19", 1), (b"1E-20", 16), (b"1.5e+99", 16), (b"1e-100", 256)]
)
def test_a_number_with_a_large_exponent_counts_as_many_tokens(number: bytes, tokens: int) -> None:
    for most, verdict in ((tokens, json_scan.WITHIN), (tokens - 1, json_scan.TOO_MANY_TOKENS)):
        assert json_scan.scan(number, 64, 1_000, 400, most) == verdict
        assert plain_scan(number, 64, 1_000, 400, most) == verdict


ESCAPES = re.compile(
    rb"\\(?:(u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
PIECES_OF_TEXT = st.sampled_from(
    [*'\\u89abdDfF0x"', r"\ud83d", r"\uDE00", r"\ud7ff", r"\ue000", r"\\", r"\n", "é"]
)


def plain_mend(body: bytes) -> bytes | None:
    """The twin of `json_scan.mend`."""
    found = ESCAPES.sub(lambda escape: rb"\ufffd" if escape.group(2) else escape.group(), body)
    return None if found == body else found


@given(st.lists(PIECES_OF_TEXT, max_size=30).map(lambda pieces: "".join(pieces).encode()) | BODIES)
@example(rb"\ud83d\ud83d\ude00")
@example(rb"\ude00\ud83d")
@example(rb"\\ud83d")
@example(rb"\ud83")
@example(rb"\\")
@example(b"\\")
def test_the_native_pass_mends_the_half_pairs_that_the_plain_one_mends(body: bytes) -> None:
    assert json_scan.mend(body) == plain_mend(body)


@given(st.text(st.characters(), max_size=8))
def test_mended_text_is_what_python_reads_with_its_half_pairs_replaced(text: str) -> None:
    sent = json.dumps(text)
    meant = json_scan.mend(sent.encode()) or sent.encode()
    assert msgspec.json.decode(meant) == re.sub("[\ud800-\udfff]", "\ufffd", json.loads(sent))


def test_mending_leaves_what_it_was_given_alone() -> None:
    body = rb'"\ud83d"'
    assert json_scan.mend(body) == rb'"\ufffd"'
    assert body == rb'"\ud83d"'


def test_text_of_more_halves_than_any_cut_makes_is_left_as_it_is() -> None:
    assert json_scan.mend(rb"\ud83d" * json_scan.HALVES_MAX) == rb"\ufffd" * json_scan.HALVES_MAX
    assert json_scan.mend(rb"\ud83d" * (json_scan.HALVES_MAX + 1)) is None
    assert json_scan.mend(rb"\ud83d\ude00" * (json_scan.HALVES_MAX + 1)) is None


ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL
)
PARTS = re.compile(r'"(?:[^"\\]|\\.)*+"|"|[ \t\r\n]++', re.DOTALL)


def plain_condense(body: bytes) -> bytes:
    """The twin of what `json_scan.condense` makes of a text that is worth it."""

    def unescaped(found: re.Match[str]) -> str:
        text = found.group()
        if text[1] != "u" or len(text) < 6:
            return text
        character = json.loads(f'"{text}"')
        return (
            text if character < " " or character in '"\\' or "\ud800" <= character <= "\udfff" else character
        )

    def shortened(found: re.Match[str]) -> str:
        text = found.group()
        return ESCAPE.sub(unescaped, text) if text[0] == '"' else text[0]

    whole = body.decode("utf-8", "surrogateescape")
    open_at = next((part.start() for part in PARTS.finditer(whole) if part.group() == '"'), len(whole))
    tail = ESCAPE.sub(unescaped, whole[open_at:])
    return (PARTS.sub(shortened, whole[:open_at]) + tail).encode("utf-8", "surrogateescape")


FILL = " " * 64
"""Put before a text so that it is worth condensing."""


@given(BODIES)
@example(b'"\\u0022\\u005c\\u001f\\u0020\\u00E4\\u20ac"')
@example(b'"\\ud83d\\ude00\\ud83d\\ud83d\\ude00\\ude00"')
@example(b'"\\ud83d\\u00e4"')
@example(b'"\\\\u00e4"')
@example(b'"\\u00e')
@example(b'"\xc3\\u0080"')
def test_a_condensed_text_is_what_the_plain_pass_makes_of_it_and_reads_the_same(body: bytes) -> None:
    text = FILL.encode() * (1 + len(body) // 32) + body
    condensed = json_scan.condense(text)
    assert condensed == plain_condense(text)
    assert json_scan.condense(condensed) is None
    assert plain_condense(condensed) == condensed
    assert read(condensed) == read(text)


def read(text: bytes) -> Any:
    """What the decoder makes of it; None where it refuses."""
    try:
        return repr(msgspec.json.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def test_a_text_that_has_little_to_save_is_left_alone() -> None:
    for text in (b"", b"{}", b'{"a": "b", "c": [1, 2, 3]}', rb'"\ud83d"' * 100, rb'"\n\n"' * 100):
        assert json_scan.condense(text) is None


def test_a_text_of_half_pairs_alone_is_told_apart_and_not_condensed() -> None:
    for count, worth in ((json_scan.HALVES_MAX, True), (json_scan.HALVES_MAX + 1, False)):
        text = b'"' + rb"\ud83d" * count + rb"\u00e4" * count + b'"'
        assert bool(json_scan.condense(text)) == worth
        assert (json_scan.condense(text) == b"") != worth


@given(BODIES, st.integers(0, 8), st.integers(0, 8))
@example(b"[" * 128 + b"x" * 128 + b"[", 128, 0)
@example(b"{:" * 128, 128, 128)
def test_few_brackets_and_colons_are_what_counting_them_says(body: bytes, brackets: int, colons: int) -> None:
    counted = body.count(b"{") + body.count(b"["), body.count(b":")
    assert json_scan.few(body, brackets, colons) == (counted[0] <= brackets and counted[1] <= colons)


@given(BODIES, st.integers(0, 200))
@example(b"{" * 64 + b"[" * 64, 1_000)
@example(b"," * 65, 65)
def test_as_many_tokens_as_there_may_be_are_what_counting_separators_says(body: bytes, most: int) -> None:
    opened = body.count(b"{") + body.count(b"[")
    counted = 1 + body.count(b",") + body.count(b":") + 2 * opened
    found = json_scan.tokens_at_most(body, most)
    assert found == counted if counted <= most else most < found <= counted


@given(DOCUMENTS)
def test_no_document_has_more_tokens_than_it_may_have(document: Any) -> None:
    body = json.dumps(document).encode()
    bound = json_scan.tokens_at_most(body, len(body)) + json_scan.exponents(body, 1 << 40)
    assume(not json_scan.long_number(body, json_scan.DIGITS_USUAL))
    assert json_scan.scan(body, 512, len(body) + 1, 4_096, bound) == json_scan.WITHIN


@given(
    st.lists(st.sampled_from([b"1", b"-2.5e", b"9999", b"x", b'"']), max_size=40).map(b"".join),
    st.integers(1, 9),
)
@example(b"12345", 5)
@example(b"x12345", 4)
def test_a_long_number_is_seen_wherever_it_stands(text: bytes, most: int) -> None:
    runs = re.findall(rb"[0-9.eE+-]++", text)
    assert json_scan.long_number(text, most) == any(len(run) > most for run in runs)


@given(BODIES | st.lists(PIECES_OF_TEXT, max_size=8).map(lambda pieces: f'"{"".join(pieces)}"'.encode()))
@example(b'{"a":[1,{"b":[]},{}],"c":null}')
@example(b'{"a" : [ 1 , true , false , "\\n" ] }')
@example(b"[1,]")
@example(b"{,}")
@example(b'{"a":1,}')
@example(b"[}")
@example(b'{"a"}')
@example(b"-")
@example(b"01")
@example(b"1.")
@example(b"1e999")
@example(b'"\x1f"')
@example(b'"\\x"')
@example(b"[" * 512 + b"]" * 512)
def test_a_valid_value_ends_where_the_decoder_that_reads_it_ends(body: bytes) -> None:
    try:
        body.decode()
    except UnicodeDecodeError:
        return
    end = json_scan.valid_end(body, 0)
    if end is not None:
        msgspec.json.decode(body[:end])
    elif read(body) is not None:
        assert (
            len(body) > json_scan.VALID_DIGITS_MAX
            or body.count(b"[") + body.count(b"{") > json_scan.DEPTH_MAX
        )


@given(DOCUMENTS)
def test_a_value_is_valid_with_whatever_stands_behind_it(value: Any) -> None:
    text = json.dumps(value, allow_nan=False).encode() if not _odd(value) else b"1"
    assert json_scan.valid_end(b" " + text + b",]", 1) == len(text) + 1
    assert json_scan.valid_end(text, len(text)) is None


def _odd(value: Any) -> bool:
    """Whether JSON has no word for it, or it is longer than a number may be."""
    if isinstance(value, dict):
        return any(map(_odd, value.values()))
    if isinstance(value, list):
        return any(map(_odd, value))
    return isinstance(value, float) and not math.isfinite(value)


def test_a_number_that_no_double_holds_or_that_is_long_is_not_valid() -> None:
    most = json_scan.VALID_DIGITS_MAX
    for number, valid in (
        (b"1e308", True),
        (b"1e309", False),
        (b"7" * most, True),
        (b"7" * (most + 1), False),
    ):
        assert (json_scan.valid_end(number, 0) == len(number)) == valid
        assert (
            json_scan.valid_end(b"[" * 512 + b"]" * 512, 0),
            json_scan.valid_end(b"[" * 513 + b"]" * 513, 0),
        ) == (
            1024,
            None,
        )


def test_long_numbers_count_as_many() -> None:
    usual, long = b"7" * json_scan.DIGITS_USUAL, b"7" * 320
    for number, tokens in ((usual, 1), (usual + b"7", 4), (long, 40)):
        assert json_scan.scan(number, 64, 9, 400, tokens) == json_scan.WITHIN
        assert json_scan.scan(number, 64, 9, 400, tokens - 1) == json_scan.TOO_MANY_TOKENS
