"""Bodies, headers and routes: limits at the bound and one beyond, in whatever way the bytes come."""

from __future__ import annotations

import gzip
import logging
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import zstandard

from fanion._core.stamps import RequestIds, UtcClock
from fanion.config import Config, Limits
from fanion.dialects.feather.routes import DIALECT
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import check_bounds
from fanion.dialects.wire.path import decode_segment
from fanion.errors import StoreError
from fanion.http import steps as http_steps
from fanion.http.encoding import STREAMS_MAX
from fanion.http.router import Router
from fanion.telemetry.logs import Sparing
from tests.unit.http_standins import Caller, make_services

BULK = "/v1/evaluate/bulk"
OK_BODY = b'{"flags":["open"],"context":{}}'


def limited(**limits: Any) -> Caller:
    return Caller(make_services(msgspec.structs.replace(Config(), limits=Limits(**limits))))


def padded(size: int) -> bytes:
    return OK_BODY + b" " * (size - len(OK_BODY))


def test_a_body_at_the_limit_is_read_and_one_byte_more_is_413() -> None:
    assert limited(body_bytes_max=2048).call("POST", BULK, padded(2048)).status == 200
    answer = limited(body_bytes_max=2048).call("POST", BULK, padded(2049))
    assert (answer.status, answer.json()["error"]["code"]) == (413, "PAYLOAD_TOO_LARGE")


def test_a_declared_length_over_the_limit_is_refused_before_the_first_byte() -> None:
    caller = Caller()
    assert caller.call("POST", BULK, [OK_BODY], {"content-length": str(10**9)}).status == 413
    assert caller.received == 0


def test_a_moderate_body_over_the_limit_is_read_and_dropped_so_that_its_answer_arrives() -> None:
    caller = limited(body_bytes_max=2048, body_chunk_timeout_s=0.05, body_timeout_s=1)
    pieces = [b" " * 1024] * 4
    assert caller.call("POST", BULK, pieces, {"content-length": "4096"}).status == 413
    assert caller.received == 4
    assert caller.call("POST", BULK, pieces[:2], {"content-length": "4096"}, stall=True).status == 413


def test_an_undeclared_body_is_counted_while_it_comes() -> None:
    caller = limited(body_bytes_max=2048)
    assert caller.call("POST", BULK, [b" " * 1024] * 1000).status == 413
    assert caller.received == 3


def test_a_body_that_came_whole_is_not_asked_for_its_end() -> None:
    caller = Caller()
    assert caller.call("POST", BULK, OK_BODY).status == 200
    assert caller.received == 1


def test_a_body_in_pieces_is_joined() -> None:
    pieces = [OK_BODY[at : at + 3] for at in range(0, len(OK_BODY), 3)]
    assert Caller().call("POST", BULK, pieces).status == 200
    assert Caller().call("POST", BULK, pieces, {"content-length": str(len(OK_BODY))}).status == 200


@pytest.mark.parametrize("pieces", [[], [OK_BODY[:5]]])
def test_a_body_that_stalls_is_408(pieces: list[bytes]) -> None:
    caller = limited(body_chunk_timeout_s=0.05, body_timeout_s=1)
    answer = caller.call("POST", BULK, pieces, {"content-length": "31"}, stall=True)
    assert (answer.status, answer.json()["error"]["code"]) == (408, "REQUEST_TIMEOUT")


def raw_deflate(body: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(body) + deflater.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", ENCODERS)
def test_an_encoded_body_is_read(encoding: str) -> None:
    body = ENCODERS[encoding](OK_BODY)
    assert Caller().call("POST", BULK, body, {"content-encoding": encoding}).status == 200


def test_deflate_without_its_wrapper_is_read() -> None:
    assert Caller().call("POST", BULK, raw_deflate(OK_BODY), {"content-encoding": "deflate"}).status == 200


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "snappy"])
def test_an_encoding_that_is_not_understood_is_415(encoding: str) -> None:
    assert Caller().call("POST", BULK, OK_BODY, {"content-encoding": encoding}).status == 415


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_bytes_that_are_not_in_their_encoding_are_400(encoding: str) -> None:
    whole = ENCODERS[encoding](OK_BODY)
    for body in (OK_BODY, whole[:-1], whole[: len(whole) // 2]):
        assert Caller().call("POST", BULK, body, {"content-encoding": encoding}).status == 400


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_may_come_in_several_streams_of_which_all_count(encoding: str) -> None:
    encode = ENCODERS[encoding]
    cuts = [OK_BODY[:20], OK_BODY[20:21], b"", OK_BODY[21:]]
    for pieces in (
        cuts,
        [OK_BODY, b""],
        [b"", OK_BODY],
        [OK_BODY[start : start + 1] for start in range(len(OK_BODY))],
    ):
        body = b"".join(map(encode, pieces))
        assert Caller().call("POST", BULK, body, {"content-encoding": encoding}).status == 200
    assert Caller().call("POST", BULK, encode(OK_BODY) * 2, {"content-encoding": encoding}).status == 400


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_stream_that_is_cut_or_has_bytes_behind_it_is_refused(encoding: str) -> None:
    whole = ENCODERS[encoding](OK_BODY)
    for body in (whole + b"x", whole + b"\0", whole + whole[:-1], whole + whole[:5], whole[:-4]):
        assert Caller().call("POST", BULK, body, {"content-encoding": encoding}).status == 400


def test_a_zstd_frame_without_its_last_block_is_refused() -> None:
    """Everything is there but the end: what a reader of whole output would take for the body."""
    compressor = zstandard.ZstdCompressor().compressobj()
    body = compressor.compress(OK_BODY) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    assert Caller().call("POST", BULK, body, {"content-encoding": "zstd"}).status == 400


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_as_many_streams_as_allowed_are_read_and_no_more(encoding: str) -> None:
    empty, last = ENCODERS[encoding](b""), ENCODERS[encoding](OK_BODY)
    for count, status in ((STREAMS_MAX, 200), (STREAMS_MAX + 1, 400)):
        body = empty * (count - 1) + last
        assert Caller().call("POST", BULK, body, {"content-encoding": encoding}).status == status


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_an_inflated_body_over_the_limit_is_413(encoding: str) -> None:
    body = ENCODERS[encoding](padded(2**20 + 1))
    assert Caller().call("POST", BULK, body, {"content-encoding": encoding}).status == 413


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "zstd"])
def test_a_bomb_within_the_limit_ends_at_its_ratio(encoding: str) -> None:
    body = ENCODERS[encoding](padded(900_000))
    assert len(body) < 900_000 // 100
    assert Caller().call("POST", BULK, body, {"content-encoding": encoding}).status == 413


@pytest.mark.parametrize(
    "headers",
    [
        [("host", "other.test")],
        [("authorization", "Bearer pk_demo_client")],
        [("content-length", "31"), ("content-length", "31")],
    ],
)
def test_a_header_that_may_stand_once_is_400_when_it_stands_twice(headers: list[tuple[str, str]]) -> None:
    answer = Caller().call("POST", BULK, [OK_BODY], headers)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


def test_other_headers_may_be_repeated() -> None:
    assert Caller().call("POST", BULK, OK_BODY, [("accept", "a"), ("accept", "b")]).status == 200


def nested(depth: int) -> bytes:
    return b'{"flags":["open"],"context":{},"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_nesting_is_accepted_to_the_limit_and_refused_above() -> None:
    assert Caller().call("POST", BULK, nested(64)).status == 200
    answer = Caller().call("POST", BULK, nested(65))
    assert (answer.status, answer.json()["error"]["code"]) == (400, "INVALID_JSON")


@pytest.mark.parametrize("depth", [1_001, 100_000, 500_000])
def test_deep_nesting_is_400_whether_closed_or_not(depth: int) -> None:
    assert Caller().call("POST", BULK, nested(depth)).status == 400
    assert Caller().call("POST", BULK, b"[" * depth).status == 400


def test_brackets_in_text_are_not_nesting() -> None:
    body = msgspec.json.encode({"flags": ["open"], "context": {"userId": '\\"' + "[{" * 500}, "more": 1})
    assert Caller().call("POST", BULK, body).status == 200


@pytest.mark.parametrize(("count", "status"), [(1_000, 200), (1_001, 422), (60_000, 400)])
def test_attributes_are_accepted_to_the_limit(count: int, status: int) -> None:
    context = {"attributes": {f"k{number}": 1 for number in range(count)}}
    body = msgspec.json.encode({"flags": ["open"], "context": context})
    assert Caller().call("POST", BULK, body).status == status


@pytest.mark.parametrize(("size", "status"), [(65_536, 200), (65_537, 422)])
def test_a_string_is_accepted_to_the_limit(size: int, status: int) -> None:
    body = msgspec.json.encode({"flags": ["open"], "context": {"attributes": {"text": "x" * size}}})
    assert Caller().call("POST", BULK, body).status == status


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (b"9223372036854775807", 200),
        (b"-9223372036854775808", 200),
        (b"9223372036854775808", 200),
        (b"-9223372036854775809", 200),
        (b"1" + b"0" * 308, 200),
        (b"2" + b"0" * 308, 422),
        (b"9007199254740993", 200),
        (b"-0", 200),
        (b"1e308", 200),
        (b"1e999", 400),
        (b"NaN", 400),
        (b"Infinity", 400),
        (b"-Infinity", 400),
        (b"01", 400),
        (b"1" * 4_000, 400),
        (b"-1E+999", 400),
        (b"0." + b"1" * 4_000, 400),
    ],
)
def test_numbers_mean_what_they_say_or_are_refused(number: bytes, status: int) -> None:
    body = b'{"flags":["open"],"context":{"attributes":{"n":' + number + b"}}}"
    assert Caller().call("POST", BULK, body).status == status


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (b'"\\ud800"', 200),
        (b'"\\ud83d\\ude00"', 200),
        (b'"\\u0000"', 200),
        (b'"\x00"', 400),
        (b'"\xed\xa0\x80"', 400),
    ],
)
def test_text_is_valid_unicode_or_refused(text: bytes, status: int) -> None:
    body = b'{"flags":["open"],"context":{"userId":' + text + b"}}"
    assert Caller().call("POST", BULK, body).status == status


@pytest.mark.parametrize(
    ("value", "status"),
    [(b'"\xff"', 400), (b"1e999", 400), (b"-1E+999", 400), (b"1e", 400), (b"1e308", 200), (b"1e-999", 200)],
)
def test_a_member_that_nobody_reads_must_be_readable_all_the_same(value: bytes, status: int) -> None:
    body = b'{"x":' + value + b',"flags":["open"],"context":{}}'
    assert Caller().call("POST", BULK, body).status == status


@pytest.mark.parametrize(
    "context",
    [
        b'{"context":{"attributes":{"a":null}},"context":5,"flags":["open"]}',
        b'{"context":{"attributes":{"a":null}},"context":{},"flags":["open"]}',
        b'{"context":{"attributes":{"a":null},"attributes":5},"flags":["open"]}',
        b'{"context":{"attributes":{"a":null,"a":1}},"flags":["open"]}',
    ],
)
def test_a_wrong_attribute_in_a_repeated_member_is_422(context: bytes) -> None:
    answer = Caller().call("POST", BULK, context)
    assert (answer.status, answer.json()["error"]["details"]) == (422, {"path": "context.attributes"})


def test_of_a_repeated_member_the_last_counts() -> None:
    answer = Caller().call("POST", BULK, b'{"flags":["none"],"flags":["open"],"context":{}}')
    assert list(answer.json()["results"]) == ["open"]


def test_bounds_end_early_on_a_large_body() -> None:
    body = b'{"x":' + b"[]," * 300_000
    began = time.process_time()
    with pytest.raises(Fault):
        check_bounds(body, Limits())
    assert time.process_time() - began < 5  # a hang, not a figure


def test_the_api_s_port_says_only_that_the_worker_lives() -> None:
    caller = Caller()
    assert caller.call("GET", "/healthz", key=None).json() == {"status": "ok"}
    assert caller.call("GET", "/healthz", key=None, client="10.0.0.7").status == 200
    assert caller.call("HEAD", "/healthz", key=None).status == 200
    assert caller.call("POST", "/healthz", key=None).status == 405
    for path in ("/readyz", "/metrics", "/healthz/"):
        assert caller.call("GET", path, key=None).status == 404


def test_a_store_that_cannot_be_read_is_logged_once_a_minute_not_once_a_request(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(http_steps, "sparing", Sparing())
    caller = Caller()
    caller.parts.snapshots.error = StoreError("input/output error")
    with caplog.at_level(logging.ERROR):
        for moment in (1_000.0, 1_001.0, 1_059.0, 1_060.0):
            now = moment
            assert caller.call("POST", BULK, b"{}").status == 503
    lines = [record for record in caplog.records if record.message == "store can't be read"]
    assert [line.__dict__["count"] for line in lines] == [1, 3]


@pytest.mark.parametrize("coding", ["gzip, chunked", "chunked, chunked", "x,chunked", "deflate, Chunked", ""])
def test_a_transfer_coding_that_is_not_undone_is_refused(coding: str) -> None:
    answer = Caller().call("POST", BULK, [b'{"flags":["open"],"context":{}}'], {"transfer-encoding": coding})
    assert answer.status == 400
    assert "Transfer-Encoding" in answer.json()["error"]["message"]


def test_a_transfer_coding_in_two_headers_is_refused() -> None:
    pairs = [("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")]
    assert Caller().call("POST", BULK, [b'{"flags":["open"],"context":{}}'], pairs).status == 400


@pytest.mark.parametrize("coding", ["chunked", "Chunked", " chunked "])
def test_a_chunked_body_is_read(coding: str) -> None:
    body = [b'{"flags":["open"],', b'"context":{}}']
    assert Caller().call("POST", BULK, body, {"transfer-encoding": coding}).status == 200


def test_many_faults_at_once_do_not_fill_the_memory_of_what_was_logged() -> None:
    sparing = Sparing()
    assert all(sparing.due(f"fault {number}") == 1 for number in range(5_000))
    assert len(sparing._seen) <= 1_024


def fake_dialect(name: str, header: bytes, routes: list[Route]) -> Dialect:
    return replace(
        DIALECT,
        name=name,
        credential_header=header,
        recognises=lambda headers: header in headers,
        routes=lambda services: routes,
    )


def endpoint(name: str) -> Endpoint:
    return Endpoint(name, lambda *_: ({}, b""))


def router() -> Router:
    red = [
        Route(b"/v1/events", {"POST": endpoint("red events")}),
        Route(b"/v1/variables/", {"POST": endpoint("variable")}, prefix=True),
    ]
    blue = [
        Route(b"/v1/events", {"POST": endpoint("blue events")}),
        Route(b"/v1/environments/", {"POST": endpoint("one")}, prefix=True, rest=b"/events"),
        Route(b"/v1/environments/", {"POST": endpoint("many")}, prefix=True, rest=b"/events/batch"),
    ]
    dialects = [
        fake_dialect("red", b"x-api-key", red),
        fake_dialect("blue", b"authorization", blue),
    ]
    return Router([(dialect, dialect.routes(make_services())) for dialect in dialects])


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        (b"/v1/events", {b"x-api-key": b"k"}, "red events"),
        (b"/v1/events", {b"authorization": b"Bearer k"}, "blue events"),
        (b"/v1/events", {}, "red events"),
        (b"/blue/v1/events", {b"x-api-key": b"k"}, "blue events"),
        (b"/v1/variables/a%2Fb", {}, "variable"),
        (b"/v1/environments/E/events", {}, "one"),
        (b"/v1/environments/E/events/batch", {}, "many"),
        (b"/v1/environments//E/events", {}, "one"),
        (b"/v1/environments/E/events/", {}, None),
        (b"/v1/environments//events", {}, None),
        (b"/v1/variables/", {}, None),
        (b"/v1/variables", {}, None),
    ],
)
def test_a_raw_path_and_its_credentials_choose_the_route(
    path: bytes, headers: dict[bytes, bytes], name: str | None
) -> None:
    target, _ = router().find(path, "POST", headers)
    assert (target.methods["POST"].name if target else None) == name


def test_a_key_below_a_prefix_is_decoded_once() -> None:
    for encoded, key in [(b"a%2Fb", "a/b"), (b"p%252Fq", "p%2Fq"), (b"/caf%C3%A9", "café"), (b"a/b", "a/b")]:
        _, tail = router().find(b"/v1/variables/" + encoded, "POST", {})
        assert decode_segment(tail) == key
    assert decode_segment(b"%ff") is None


def test_a_path_of_nobody_is_answered_in_the_shape_that_its_credentials_suggest() -> None:
    known = router()
    assert known.answering(b"/x", {b"authorization": b"Bearer k"}).name == "blue"
    assert known.answering(b"/x", {b"x-api-key": b"k"}).name == "red"
    assert known.answering(b"/blue/x", {b"x-api-key": b"k"}).name == "blue"
    assert known.answering(b"/x", {}).name == "red"


def test_every_kind_of_fault_has_a_feather_shape() -> None:
    for kind in FaultKind:
        head, body = DIALECT.refuse(Fault(kind, "text", path="a", retry_after_s=1, allow=b"GET"))
        assert head.status == kind.status
        assert msgspec.json.decode(body)["error"]["message"] == "text"


def test_request_ids_are_version_4_and_never_repeat() -> None:
    ids = RequestIds()
    drawn = [ids.take() for _ in range(1_000)]
    assert len(set(drawn)) == 1_000
    assert {(text[14:15], chr(text[19]) in "89ab") for text in drawn} == {(b"4", True)}


def test_times_have_milliseconds_and_follow_the_clock_both_ways() -> None:
    clock = UtcClock()
    assert clock.text(1_769_941_800_123_000_000) == b"2026-02-01T10:30:00.123Z"
    assert clock.text(1_769_941_800_999_999_999) == b"2026-02-01T10:30:00.999Z"
    assert clock.text(1_769_941_801_000_000_000) == b"2026-02-01T10:30:01.000Z"
    assert clock.text(0) == b"1970-01-01T00:00:00.000Z"
