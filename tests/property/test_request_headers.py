"""Headers looked up where they stand against a dict of them: both interfaces' lists, any order, any repetition."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanion._core.request_headers import RequestHeaders, behind, of_pairs, of_text, sure_key
from fanion.dialects import served
from fanion.dialects.wire.credentials import AUTHORIZATION, bearer
from fanion.dialects.wire.fault import Fault
from fanion.http.request import UNREADABLE

Pairs = list[tuple[bytes, bytes]]

NAMES = [
    b"host",
    b"authorization",
    b"accept",
    b"x-a",
    b"x-b",
    b"content-length",
    b"content-lengti",
    b"",
    b"t",
]
VALUES = [b"", b"a", b"Bearer k", b"bearer k", b"Bearer ", b"Bearer  k", b"Bearer k\t", b"Bearer k k"]
UUID = b"5B1F6A52-0000-4000-8000-00000000000A"
lists = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=40)


class Named:
    """As RSGI has them; `unreadable` are named and not handed over."""

    def __init__(self, pairs: Pairs, unreadable: list[bytes]) -> None:
        self.pairs = [(name.decode(), value.decode()) for name, value in pairs]
        self.names = list(dict.fromkeys([*dict(self.pairs), *(name.decode() for name in unreadable)]))

    def items(self) -> list[tuple[str, str]]:
        return self.pairs

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def agrees(headers: RequestHeaders, pairs: Pairs, unreadable: list[bytes]) -> None:
    known = dict(pairs)
    for name in [*NAMES, b"x-none"]:
        assert headers.get(name) == known.get(name)
        assert headers.get(name, b"!") == known.get(name, b"!")
        assert (name in headers) == (name in known)
    assert headers.listed() == pairs + [(UNREADABLE, name) for name in unreadable for _ in range(2)]
    assert headers.plain == (len(known) == len(pairs) and bool(known.get(b"host")) and not unreadable)


@given(lists)
def test_a_list_of_bytes_answers_as_a_dict_of_it(pairs: Pairs) -> None:
    agrees(of_pairs(pairs), pairs, [])


@given(lists, st.lists(st.sampled_from([b"x-e", b"x-f"]), unique=True))
def test_a_list_of_text_answers_as_a_dict_of_its_bytes(pairs: Pairs, unreadable: list[bytes]) -> None:
    agrees(of_text(Named(pairs, unreadable)), pairs, unreadable)


@given(lists)
def test_a_bearer_key_is_read_as_out_of_a_dict(pairs: Pairs) -> None:
    def read(headers: RequestHeaders | dict[bytes, bytes]) -> bytes | str:
        try:
            return bearer(headers)
        except Fault as fault:
            return fault.message

    expected = read(dict(pairs))
    assert read(of_pairs(pairs)) == read(of_text(Named(pairs, []))) == expected
    assert behind(of_pairs(pairs), AUTHORIZATION, b"Bearer ") in (b"", expected)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"authorization", b"x-api-key", b"x-sdk-key"]),
            st.sampled_from([*VALUES, b"k", b" k", *(b"Bearer " * n + UUID for n in (0, 1)), UUID.lower()]),
        ),
        max_size=3,
    )
)
def test_a_key_that_is_sure_is_the_one_that_each_api_reads(pairs: Pairs) -> None:
    for dialect in served():
        place = dialect.key_place
        assert place is not None
        for headers in of_pairs(pairs), of_text(Named(pairs, [])):
            sure = sure_key(headers, *place)
            assert not sure or sure == dialect.credentials(dict(pairs))
    assert sure_key(dict(pairs), b"x-api-key", True, True) == b""


def test_headers_may_be_many_and_any_of_them_repeated() -> None:
    pairs = [(b"x-%d" % number, b"%d" % number) for number in range(1_000)]
    assert of_pairs([*pairs, (b"host", b"a")]).plain
    assert not of_pairs([*pairs, (b"host", b"a"), (b"x-7", b"")]).plain
    assert of_pairs(pairs).get(b"x-999") == b"999"


@pytest.mark.parametrize(
    "wrong", [[(b"a",)], [(b"a", b"b", b"c")], [[b"a", b"b"]], [("a", "b")], [(b"a", None)], [(None, b"a")]]
)
def test_what_is_no_pair_of_bytes_is_refused(wrong: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(TypeError, match="a header must be a pair"):
        of_pairs(wrong)


def test_text_beyond_ascii_is_refused() -> None:
    named = Named([], [])
    named.pairs = [("a", "\u00e9")]
    with pytest.raises(TypeError, match="ASCII"):
        of_text(named)
