"""Prepared lists: where a list is found, when it is prepared, what is kept of it and how much (see
`fanion._core.prepared`). That answers are the same stands in `tests/property/test_prepared_lists.py`."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

from fanion._core import prepared
from fanion._core.evaluate import Bundle
from fanion._core.prepared import ListPlace, PreparedList, PreparedLists
from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.dialects.feather.routes import DIALECT
from fanion.dialects.wire.prepared import distinct
from fanion.engine.evaluator import open_environment
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.metrics import Metrics
from fanion.telemetry.prepared import PreparedNumbers

PLACE = ListPlace(b"{", b'"flags":', b"", b"}")
NONE = (None, None, None)
NESTED = ListPlace(b"", b'"fanion":{"flags":', b"}", b"}}")


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"flags":["a"],"context":{}}', (b'["a"]', b'{"context":{}}')),
        (b' { "flags" : ["a", "b"] , "context":{}}', (b'["a", "b"]', b'{"context":{}}')),
        (b'{"context":{},"flags":["a"]}', (b'["a"]', b'{"context":{}}')),
        (b'{"context":{} , "flags" : ["a"] } ', (b'["a"]', b'{"context":{}}')),
        (b'{"flags":["a]b"],"context":{}}', None),  # cut inside the text, where no comma stands
        (b'{"context":{},"flags":["a[b"]}', None),
        (b'{"flags":["a"]}', None),  # no rest
        (b'{"flags":["a"],}', None),
        (b'{,"flags":["a"]}', None),
        (b'{"a":1,,"flags":["a"]}', None),
        (b'{"a":1,"fl ags":["a"]}', None),
        (b'{"a":1,"flags":["a"],"b":2}', None),
        (b'{"a":1,"flags":["a"]}}', None),
        (b'{"a":1,"flags":["a"]', None),
        (b'{"flags":[', None),
        (b'{"flags":', None),
        (b"{", None),
        (b"", None),
    ],
)
def test_a_list_is_found_at_either_end_of_a_body(body: bytes, found: tuple[bytes, bytes] | None) -> None:
    assert PLACE.find(body) == found


def test_a_list_within_two_objects_is_found_at_the_end() -> None:
    body = b'{"context":{"a":1,"fanion":{"flags":["x"]}}}'
    assert NESTED.find(body) == (b'["x"]', b'{"context":{"a":1}}')
    assert NESTED.find(b'{"context":{"fanion":{"flags":["x"]},"a":1}}') is None
    assert NESTED.find(b'"fanion":{"flags":["x"]},"a":1}}') == (b'["x"]', b'"a":1}}')  # the rest is no object


def test_a_list_at_the_end_of_memory_is_looked_for_no_further() -> None:
    first, last = b'{"flags":["a"],"context":{}}', b'{"context":{},"flags":["a"]}'
    for length in range(len(last)):
        assert PLACE.find(last[:length]) is None
        found = PLACE.find(first[:length])
        assert found == (None if length < 16 else (b'["a"]', b"{" + first[15:length]))


def make_bundle() -> Bundle:
    builder = Builder("env", {DIALECT.name: {}}, "production")
    return open_environment("env", compile_bundle(builder.finish(), {DIALECT.name: DIALECT.render}))


def make_lists(bundle: Bundle, read: list[bytes] | None = None) -> PreparedLists:
    def make(text: bytes) -> tuple[list[str], None, int] | None:
        if read is not None:
            read.append(text)
        keys = json.loads(text)
        return distinct(keys) if len(keys) < 2_000 else None

    return PreparedLists(bundle, bundle.table(DIALECT.name), PLACE, make, mapped=True)


def body_of(*keys: str) -> bytes:
    return json.dumps({"flags": keys, "context": {}}).encode()


@pytest.fixture
def bounds() -> Iterator[None]:
    yield
    prepared.bound(prepared.TOTAL_BYTES_MAX, prepared.OWN_BYTES_MAX)


def test_a_list_is_read_when_it_comes_for_the_second_time_and_never_again() -> None:
    read: list[bytes] = []
    lists = make_lists(make_bundle(), read)
    assert lists.take(body_of("a", "b"), False) is None
    assert read == []
    for _ in range(3):
        found = lists.take(body_of("a", "b"), False)
        assert found is not None
        assert found[0].names == ["a", "b"]
        assert found[0].put_map(None, None, None, b"{", b"}").startswith(b'{"a":{')
    assert read == [b'["a", "b"]']


def test_client_keys_have_lists_of_their_own() -> None:
    lists = make_lists(make_bundle())
    for _ in range(2):
        server = lists.take(body_of("a"), False)
    assert server is not None
    assert lists.take(body_of("a"), True) is None
    client = lists.take(body_of("a"), True)
    assert client is not None
    assert client[0] is not server[0]


def test_a_list_beyond_16_kib_is_never_prepared() -> None:
    lists = make_lists(make_bundle())
    key = "k" * (prepared.LIST_BYTES_MAX - 4)
    for _ in range(3):
        assert lists.take(body_of(key + "k"), False) is None
    assert lists.take(body_of(key), False) is None
    assert lists.take(body_of(key), False) is not None


def test_a_list_that_can_not_be_read_is_remembered_as_such() -> None:
    read: list[bytes] = []
    lists = make_lists(make_bundle(), read)
    body = b'{"flags":[' + b'"",' * 2_000 + b'""],"context":{}}'
    for _ in range(4):
        assert lists.take(body, False) is None
    assert len(read) == 1


def test_what_is_kept_stays_within_its_bounds_and_goes_with_its_bundle(bounds: None) -> None:
    gc.collect()
    before, _, _, dropped, held = prepared.counts()
    prepared.bound(held + 40_000, 20_000)
    one, other = make_bundle(), make_bundle()
    lists = [make_lists(one), make_lists(other), make_lists(other)]
    for number in range(100):
        for some in lists:
            for _ in range(40):  # as many as pay for preparing one
                some.take(body_of(*(f"flag-{number}-{n}" for n in range(20))), False)
            assert prepared.counts()[4] <= held + 40_000
    hits, _, _, gone, now = prepared.counts()
    assert hits - before == 39 * 100 * len(lists)
    assert gone - dropped > 250
    assert now - held > 20_000
    del lists, some, one, other
    gc.collect()
    assert prepared.counts()[4] == held


def test_a_list_asked_for_all_along_survives_those_that_come_twice(bounds: None) -> None:
    prepared.bound(8 << 20, 50_000)
    read: list[bytes] = []
    lists = make_lists(make_bundle(), read)
    asked = body_of(*(f"flag-{n}" for n in range(20)))
    for number in range(500):
        lists.take(asked, False)
        for _ in range(40):
            lists.take(body_of(*(f"other-{number}-{n}" for n in range(20))), False)
    assert read.count(asked[asked.index(b"[") : asked.index(b"]") + 1]) < 40


def test_of_many_lists_that_come_twice_few_are_prepared() -> None:
    lists = make_lists(make_bundle())
    before = prepared.counts()[2]
    for number in range(1_000):
        for _ in range(2):
            lists.take(body_of(f"flag-{number}"), False)
    assert 64 <= prepared.counts()[2] - before <= 64 + 2_000 // 32


def test_a_closed_bundle_refuses_to_answer() -> None:
    bundle = make_bundle()
    lists = make_lists(bundle)
    for _ in range(2):
        found = lists.take(body_of("a"), False)
    assert found is not None
    bundle.close()
    with pytest.raises(ValueError, match="closed"):
        lists.take(body_of("a"), False)
    with pytest.raises(ValueError, match="closed"):
        found[0].put_map(None, None, None, b"", b"")
    with pytest.raises(ValueError, match="closed"):
        found[0].put_each(None, None, None)


def test_a_list_that_nobody_made_answers_nothing() -> None:
    for ask in (
        lambda: PreparedList().put_map(None, None, None, b"", b""),
        lambda: PreparedList().put_each(*NONE),
    ):
        with pytest.raises(RuntimeError, match="PreparedLists"):
            ask()


def test_how_often_lists_answer_is_a_metric(tmp_path: Any) -> None:
    metrics = Metrics.open(tmp_path)
    numbers = PreparedNumbers(metrics)
    numbers.update()
    before = prepared.counts()
    lists = make_lists(make_bundle())
    for _ in range(5):
        lists.take(body_of("x", "y"), False)
    numbers.update()
    text = Exposition(tmp_path).text().decode()
    assert f'fanion_prepared_lists_total{{what="answered"}} {before[0] + 4}' in text
    assert f'fanion_prepared_lists_total{{what="prepared"}} {before[2] + 1}' in text
    assert "\nfanion_prepared_bytes " in text
    metrics.close()
