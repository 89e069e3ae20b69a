"""What dialects are made from: heads, what a refusal adds to them, credentials, what is bound of an environment."""

from __future__ import annotations

from typing import Any

import pytest

from fanion.dialects.redpennon.routes import DIALECT as OWN_HEADER
from fanion.dialects.wire.bound import ELSEWHERE, finder, lenient_finder
from fanion.dialects.wire.credentials import bearer, bearer_begins, own_header
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import JSON_NO_STORE, with_fault
from fanion.dialects.wire.walk import ABSENT, look_up
from fanion.model.api_key import KeyRecord
from tests.unit.http_standins import Caller, View

RECORD = KeyRecord(id="key_1", environment="production", organisation="acme", kind="server")


class Snapshot:
    def __init__(self, **bound: Any) -> None:
        self.bound = bound

    def view(self, environment: str) -> View | None:
        return View(self.bound) if self.bound else None


def absent() -> Fault:
    return Fault(FaultKind.NOT_FOUND, "gone")


def test_the_first_message_of_a_prebuilt_head_is_made_once() -> None:
    from fanion.dialects.feather.envelope import OK

    caller = Caller()
    caller.call("GET", "/v1/sdk/context")
    start = OK.start
    assert start == {"type": "http.response.start", "status": 200, "headers": OK.headers}
    caller.call("GET", "/v1/sdk/context")
    assert OK.start is start


def test_what_a_fault_adds_leaves_the_common_headers_alone() -> None:
    before = list(JSON_NO_STORE)
    made = with_fault(JSON_NO_STORE, Fault(FaultKind.RATE_LIMITED, "", retry_after_s=0.2, allow=b"GET"))
    assert made == [*before, (b"retry-after", b"1"), (b"allow", b"GET")]
    assert before == JSON_NO_STORE


@pytest.mark.parametrize(
    "header",
    [{}, {b"authorization": b"Basic x"}, {b"authorization": b"Bearer "}, {b"authorization": b"Bearer"}],
)
def test_a_bearer_key_that_is_not_there_is_a_fault(header: dict[bytes, bytes]) -> None:
    with pytest.raises(Fault) as caught:
        bearer(header)
    assert caught.value.kind is FaultKind.NO_CREDENTIALS


def test_a_bearer_key_is_found_whatever_the_case_of_its_scheme() -> None:
    assert bearer({b"authorization": b"bEARER  sk_1 "}) == b"sk_1"
    assert bearer_begins({b"authorization": b"BEARER sk_1"}, (b"pk_", b"sk_"))
    assert not bearer_begins({b"authorization": b"Basic sk_1"}, b"sk_")
    assert not bearer_begins({}, b"")


def test_an_empty_header_of_the_api_s_own_is_a_fault() -> None:
    assert own_header({b"x-k": b" a "}, b"x-k", "missing") == b"a"
    with pytest.raises(Fault, match="missing"):
        own_header({b"x-k": b"  "}, b"x-k", "missing")


def test_a_key_header_of_a_dialect_may_stand_once() -> None:
    headers = [("x-api-key", "a"), ("x-api-key", "b")]
    assert (
        Caller(dialects=(OWN_HEADER,)).call("POST", "/v1/variables", b"{}", headers, key=None).status == 400
    )


def test_what_is_bound_is_found_under_the_dialect_s_name() -> None:
    assert finder("red", int, absent)(Snapshot(red=7), RECORD) == 7
    assert lenient_finder("red", int)(Snapshot(red=7), RECORD) == 7


def test_an_environment_that_is_not_there_is_what_the_dialect_says() -> None:
    with pytest.raises(Fault, match="gone"):
        finder("red", int, absent)(Snapshot(), RECORD)
    assert lenient_finder("red", int)(Snapshot(), RECORD) is None


def test_an_environment_of_other_apis_opens_nothing() -> None:
    for find in (finder("red", int, absent), lenient_finder("red", int)):
        with pytest.raises(Fault, match=ELSEWHERE) as caught:
            find(Snapshot(red=None), RECORD)
        assert caught.value.kind is FaultKind.UNKNOWN_KEY


@pytest.mark.parametrize(
    ("field", "found"),
    [
        ("a.b", 1),
        ("c.d", 2),
        ("list.0", "x"),
        ("list.length", 2),
        ("list.00", ABSENT),
        ("list.2", ABSENT),
        ("list.x", ABSENT),
        ("a.x", ABSENT),
        ("c.d.e", ABSENT),
    ],
)
def test_dotted_names_are_walked(field: str, found: object) -> None:
    context: Any = {"a": {"b": 1}, "c.d": 2, "c": {"d": 3}, "list": ["x", "y"]}
    assert look_up(context, field) == found
