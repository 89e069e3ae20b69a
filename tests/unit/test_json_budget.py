"""Every API refuses a batch by counting, before anything is built of it: names and values, then its events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fanion._core import json_scan
from fanion.config import Limits
from fanion.dialects import served as dialects
from fanion.dialects.feather.schema import Schema as Feather
from fanion.dialects.neutral.schema import Schema as Neutral
from fanion.dialects.redpennon.schema import Bodies as RedPennon
from fanion.dialects.stitchd.schema import Bodies as Stitchd
from fanion.dialects.traffical.envelope import EVENTS_MAX, NO_EVENTS
from fanion.dialects.traffical.schema import Schema as Traffical
from fanion.dialects.wire.endpoint import Scan
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.ingest import ECHO_BYTES_MAX, echoed
from fanion.dialects.wire.json_bounds import FREE_BYTES_MAX, UNSCANNED_BYTES_MAX, Condensed, check_body
from fanion.dialects.wire.refusals import refusals
from tests.unit.http_standins import make_services

TOKENS_MAX = 1_024
LIMITS = Limits(ingest_json_tokens_max=TOKENS_MAX)
READERS: dict[str, Callable[[bytes], Any]] = {
    "feather": Feather(LIMITS).events.read,
    "redpennon": RedPennon(LIMITS).decode_batch,
    "stitchd": Stitchd(LIMITS).batch,
    "traffical": Traffical(LIMITS).check_batch,
    "neutral": Neutral(LIMITS).check,
}


def batch(tokens: int) -> bytes:
    """A body of that many names, values and brackets, large enough to be scanned."""
    values = b",".join([b"1"] * (tokens - 10))
    return b'{"pad":"%s","events":[],"zz":[%s]}' % (b"x" * UNSCANNED_BYTES_MAX, values)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_batch_of_too_many_values_is_refused_while_counting(read: Callable[[bytes], Any]) -> None:
    with pytest.raises(Fault, match=f"more than {TOKENS_MAX} members and values") as refused:
        read(batch(TOKENS_MAX + 1))
    assert refused.value.kind is FaultKind.INVALID_JSON


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_batch_of_as_many_values_as_allowed_is_not_refused_for_them(read: Callable[[bytes], Any]) -> None:
    said = ""
    try:
        read(batch(TOKENS_MAX))
    except Fault as fault:
        said = fault.message  # an empty batch may be refused for being empty
    assert "members and values" not in said


@pytest.mark.parametrize("schema", [Traffical(Limits()), Neutral(Limits())], ids=["traffical", "neutral"])
def test_a_large_batch_of_few_values_is_left_to_the_judge(schema: Traffical | Neutral) -> None:
    most = Limits().ingest_json_tokens_max
    long = b'{"events":[%b]}' % b",".join([b'["%b"]' % (b"x" * 1_000)] * (most // 1_000 + 1))
    assert len(long) > most
    assert schema.is_judged_first(long)
    assert schema.is_judged_first(b"1," * (most // 2))
    assert not schema.is_judged_first(b"1," * most)
    with pytest.raises(Condensed) as turn:
        schema.is_judged_first(b'{"events":[%b]}' % (b" " * most))
    assert msgspec.json.decode(turn.value.body) == {"events": []}
    assert len(turn.value.body) < most


def events_of(count: int) -> bytes:
    return b'{"pad":"%s","events":[%s]}' % (b"x" * UNSCANNED_BYTES_MAX, b",".join([b"{}"] * count))


def test_traffical_counts_events_before_it_reads_one() -> None:
    schema = Traffical(Limits())
    schema.check_batch(events_of(EVENTS_MAX))
    with pytest.raises(Fault) as refused:
        schema.check_batch(events_of(EVENTS_MAX + 1))
    assert (refused.value.kind, refused.value.message) == (FaultKind.INVALID_SHAPE, NO_EVENTS)


def test_events_that_the_decoder_refuses_are_counted_before_they_are_looked_at() -> None:
    """A lone surrogate makes the decoder refuse the whole body; its events are then cut by brackets alone."""
    body = b'{"events":["\\ud800",%s]}' % b",".join([b"1"] * EVENTS_MAX)
    with pytest.raises(Fault) as refused:
        Traffical(Limits()).events(body)
    assert refused.value.message == NO_EVENTS


def test_what_an_answer_repeats_of_a_batch_is_bounded() -> None:
    names = ["x" * 1_000] * 100
    shown = echoed(names, len)
    assert shown == names[: ECHO_BYTES_MAX // 1_000]
    assert echoed(names[:65], len) == names[:65]
    assert echoed(["x" * ECHO_BYTES_MAX], len) == ["x" * ECHO_BYTES_MAX]
    assert echoed(["x" * (ECHO_BYTES_MAX + 1)], len) == []


@pytest.mark.parametrize("size", [1, 40, 500, 70_000])
def test_refusals_are_those_that_an_answer_has_room_for(size: int) -> None:
    said = refusals("reason")
    entries = []
    for number in range(0, 3_000, 3):
        message = f'{number % 5}: ü"' + "x" * (size if number != 600 else 1)
        said.say(number, message)
        entries.append({"index": number, "reason": message})
    told = echoed(entries, lambda entry: len(msgspec.json.encode(entry)))
    assert said.list() == msgspec.json.encode(told)
    assert said.count == len(entries)
    assert said.full is (len(told) < len(entries))


def slow_numbers(count: int) -> bytes:
    """A document with numbers at which decoders take 150 times as long as at others."""
    return b'{"events":[],"zz":[%s]}' % b",".join([b"1e300"] * count)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_small_batch_of_numbers_that_are_slow_to_read_is_refused_before_they_are(
    read: Callable[[bytes], Any],
) -> None:
    body = slow_numbers(FREE_BYTES_MAX // len(b"1e300"))
    assert FREE_BYTES_MAX < len(body) < UNSCANNED_BYTES_MAX
    with pytest.raises(Fault, match=f"more than {TOKENS_MAX} members and values"):
        read(body)


def test_a_body_of_numbers_that_are_slow_to_read_is_refused_before_they_are() -> None:
    most = Limits().json_tokens_max // json_scan.HUGE_TOKENS
    check_body(slow_numbers(most - 1), Limits())
    with pytest.raises(Fault, match="members and values") as refused:
        check_body(slow_numbers(most), Limits())
    assert refused.value.kind is FaultKind.INVALID_JSON


def test_only_batches_and_ofrep_bound_their_bodies_by_themselves() -> None:
    """Batches know a quicker way for what is usual, OFREP mends and looks through each of its bodies; every other
    body is looked through before its handler sees it."""
    services = make_services()
    later = {
        (dialect.name, endpoint.name)
        for dialect in dialects()
        for route in dialect.routes(services)
        for endpoint in route.methods.values()
        if endpoint.scan is Scan.LATER
    }
    events = {(name, "events") for name in ("feather", "neutral", "redpennon", "stitchd", "traffical")}
    others = {("traffical", "decide_batch"), ("stitchd", "event"), ("ofrep", "flag"), ("ofrep", "flags")}
    assert later == events | others
