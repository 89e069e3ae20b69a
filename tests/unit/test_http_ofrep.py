"""OFREP over stand-ins and real bundles: keys, heads, errors, tags, limits, manifest (docs/apis/ofrep.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from fanion.errors import StoreError
from tests.unit.http_standins import Answered, Caller
from tests.unit.ofrep_world import CLIENT, FLAGS, SERVER, make_caller, post

MANIFEST = "/openfeature/v0/manifest"
BODY = b'{"context":{"targetingKey":"user-1"}}'
UUID = "6b0e0f5e-7d5c-4f0a-9d0a-0f3f2f4b7b01"


@pytest.fixture(scope="module")
def shared() -> Caller:
    return make_caller()


@pytest.fixture
def caller() -> Caller:
    """One whose parts a test may change."""
    return make_caller()


def error(answer: Answered) -> tuple[int, str]:
    body = answer.json()
    assert body["errorDetails"], "a published client reads an error without details as another"
    return answer.status, body["errorCode"]


# -- keys


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": f"Bearer {SERVER}"},
        {"authorization": f"bearer  {SERVER}"},
        {"x-api-key": SERVER},
        {"x-api-key": SERVER, "authorization": "Basic proxy"},
        {"x-api-key": "of somebody else", "authorization": f"Bearer {SERVER}"},
        {"x-api-key": UUID.upper()},
        {"authorization": f"Bearer {UUID}"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
def test_a_key_comes_in_either_header_and_a_bearer_key_counts(
    shared: Caller, headers: dict[str, str]
) -> None:
    assert shared.call("POST", f"{FLAGS}/plain", BODY, headers, key=None).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Basic x"},
        {"authorization": "Bearer "},
        {"x-api-key": " "},
        {"x-api-key": "nobody's"},
        {"authorization": "Bearer ofrep_other_api_key"},
        {"authorization": "Bearer ofrep_elsewhere_key"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/plain", MANIFEST])
def test_what_opens_nothing_is_401(shared: Caller, headers: dict[str, str], path: str) -> None:
    method, body = ("GET", b"") if path == MANIFEST else ("POST", BODY)
    answer = shared.call(method, path, body, headers, key=None)
    assert error(answer) == (401, "GENERAL")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/plain", MANIFEST])
def test_a_key_for_other_endpoints_is_403(shared: Caller, path: str) -> None:
    method, body = ("GET", b"") if path == MANIFEST else ("POST", BODY)
    assert error(shared.call(method, path, body, key=b"ofrep_events_key")) == (403, "GENERAL")


def test_a_key_header_that_comes_twice_is_refused(shared: Caller) -> None:
    headers = [("x-api-key", SERVER), ("x-api-key", CLIENT)]
    assert error(shared.call("POST", f"{FLAGS}/plain", BODY, headers, key=None)) == (400, "GENERAL")


# -- paths and heads


@pytest.mark.parametrize("prefix", ["", "/ofrep"])
def test_every_route_is_mounted_below_the_api_s_name_too(shared: Caller, prefix: str) -> None:
    assert post(shared, f"{prefix}{FLAGS}/plain", BODY).status == 200
    assert post(shared, f"{prefix}{FLAGS}", BODY).status == 200
    assert shared.call("GET", f"{prefix}{MANIFEST}", key=SERVER.encode()).status == 200


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/plain", MANIFEST])
def test_a_browser_may_ask(shared: Caller, path: str) -> None:
    answer = shared.call("OPTIONS", path, headers={"origin": "https://shop.example"}, key=None)
    assert (answer.status, answer.body) == (204, b"")
    asked = {"authorization", "x-api-key", "content-type", "if-none-match"}
    assert asked <= set(answer.headers["access-control-allow-headers"].split(", "))
    answer = post(shared, f"{FLAGS}/plain", BODY)
    assert answer.headers["access-control-expose-headers"] == "etag, retry-after"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", FLAGS, 405), ("PUT", f"{FLAGS}/plain", 405), ("POST", MANIFEST, 405), ("GET", "/ofrep/v2", 404)],
)
def test_other_methods_and_paths_are_refused_in_this_shape(
    shared: Caller, method: str, path: str, status: int
) -> None:
    answer = shared.call(method, path, key=SERVER.encode())
    assert error(answer) == (status, "GENERAL")
    assert ("allow" in answer.headers) == (status == 405)


def test_a_key_that_is_not_utf_8_is_unknown(shared: Caller) -> None:
    assert error(post(shared, f"{FLAGS}/%ff", BODY)) == (404, "FLAG_NOT_FOUND")


def test_a_path_without_a_key_is_no_flag(shared: Caller) -> None:
    assert post(shared, f"{FLAGS}/", BODY).status == 404


def test_a_body_beyond_the_limits_is_refused(shared: Caller) -> None:
    limits = shared.parts.config.limits
    large = b'{"context":{"a":"' + b"a" * limits.body_bytes_max + b'"}}'
    assert error(post(shared, f"{FLAGS}/plain", large)) == (413, "GENERAL")
    depth = limits.json_depth_max - 1
    nested = [b'{"context":{"a":' + b"[" * n + b"]" * n + b"}}" for n in (depth - 1, depth)]
    assert [post(shared, f"{FLAGS}/plain", body).status for body in nested] == [200, 400]
    members = [json.dumps({"context": {str(i): 1 for i in range(limits.json_keys_max + n)}}) for n in (0, 1)]
    assert [post(shared, f"{FLAGS}/plain", body.encode()).status for body in members] == [200, 400]


def test_a_byte_order_mark_is_passed_over(shared: Caller) -> None:
    assert post(shared, f"{FLAGS}/plain", b"\xef\xbb\xbf" + BODY).json()["value"] is True
    assert (
        post(shared, FLAGS, b"\xef\xbb\xbf" + BODY).headers["etag"]
        == post(shared, FLAGS, BODY).headers["etag"]
    )
    assert error(post(shared, f"{FLAGS}/plain", b"\xef\xbb\xbf")) == (400, "PARSE_ERROR")


def test_whole_numbers_beyond_64_bits_are_doubles(shared: Caller) -> None:
    for number in (2**63 - 1, 2**63, 2**64, 10**300):
        body = json.dumps({"context": {"targetingKey": "user-1", "country": number, "plan": number}}).encode()
        assert post(shared, f"{FLAGS}/country", body).json()["value"] == "rest"
        assert post(shared, FLAGS, body).status == 200


# -- all flags


def test_an_answer_that_the_client_has_is_304_before_anything_is_evaluated(caller: Caller) -> None:
    first = post(caller, FLAGS, BODY)
    tag = first.headers["etag"]
    assert tag[0] == tag[-1] == '"'
    at = caller.parts.snapshots.snapshot.views["env_ofrep"].bound["ofrep"]
    at.bundle = at.table = None  # whoever evaluates fails
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = post(caller, FLAGS, BODY, if_none_match=given)
        assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
        assert answer.headers["access-control-expose-headers"] == "etag, retry-after"
    assert post(caller, FLAGS, BODY, if_none_match='"other"').status == 500


def tag_of(caller: Caller, context: Any, key: str = SERVER, query: str = "") -> str:
    answer = post(caller, f"{FLAGS}{query}", json.dumps({"context": context}).encode(), key)
    assert answer.status == 200
    return answer.headers["etag"]


def test_the_tag_changes_with_the_context_and_the_kind_of_the_key(shared: Caller) -> None:
    contexts: list[Any] = [
        {},
        {"targetingKey": "a"},
        {"targetingKey": "b"},
        {"targetingKey": "a", "plan": "pro"},
        {"targetingKey": "a", "plan": ["pro"]},
        {"targetingKey": "a", "n": 1},
        {"targetingKey": "a", "n": 1.0},
        {"targetingKey": "a", "n": 2**64},
        {"targetingKey": "a", "n": True},
        {"targetingKey": "a", "n": {"x": 1, "y": 2}},
        {"targetingKey": "a", "fanion": {"flags": []}},
        {"targetingKey": "a", "fanion": {"flags": ["plain"]}},
    ]
    tags = [tag_of(shared, context) for context in contexts]
    assert len(set(tags)) == len(tags)
    assert tag_of(shared, {"targetingKey": "a"}, CLIENT) not in tags


def test_the_tag_is_the_same_for_the_same_context_however_it_is_written(shared: Caller) -> None:
    one = {"targetingKey": "a", "n": {"x": 1, "y": [1, {"b": 1, "c": 2}]}}
    other = {"n": {"y": [1, {"c": 2, "b": 1}], "x": 1}, "targetingKey": "a"}
    assert tag_of(shared, one) == tag_of(shared, other)
    assert tag_of(shared, one) == tag_of(shared, one, query="?flagConfigEtag=x&flagConfigLastModified=1")
    assert tag_of(shared, one, UUID) == tag_of(shared, one), "another key of the same kind"


def test_the_tag_changes_with_what_the_environment_is_answered_from(caller: Caller) -> None:
    before = post(caller, FLAGS, BODY).headers["etag"]
    caller.parts.snapshots.snapshot.contents["env_ofrep"] = b"another publication"
    assert post(caller, FLAGS, BODY).headers["etag"] != before


def test_all_flags_say_what_each_says_by_itself(shared: Caller) -> None:
    for key in (SERVER, CLIENT, "ofrep_ordered_key"):
        for context in ({}, {"targetingKey": "user-2", "plan": "pro"}, {"country": "FR", "visitorId": "v"}):
            body = json.dumps({"context": context}).encode()
            flags = post(shared, FLAGS, body, key).json()["flags"]
            assert len({flag["key"] for flag in flags}) == len(flags) > 5
            for flag in flags:
                alone = post(shared, f"{FLAGS}/{quote(flag['key'])}", body, key)
                assert alone.json() == flag
                assert (alone.status == 200) == ("errorCode" not in flag)


# -- governance


def organisation(tmp_path: Path, **members: Any) -> Caller:
    key = {"key": SERVER, "kind": "server"}
    flags = {"plain": {"type": "boolean", "default_value": True}}
    project = {"environments": {"production": {"id": "env", "keys": [key]}}, "flags": flags}
    world = {"fanion": 1, "organisations": {"org": {"projects": {"p": project}, **members}}}
    (tmp_path / "world.json").write_text(json.dumps(world))
    return make_caller(tmp_path / "world.json")


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/plain"])
@pytest.mark.parametrize("members", [{"suspended": True}, {"plan": "basic", "subscription_active": False}])
def test_a_closed_organisation_is_403(tmp_path: Path, members: dict[str, Any], path: str) -> None:
    assert error(post(organisation(tmp_path, **members), path, BODY)) == (403, "GENERAL")


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/plain"])
def test_a_rate_is_429_with_when_to_come_back(tmp_path: Path, path: str) -> None:
    caller = organisation(tmp_path, limits={"rate_per_s": 1, "burst": 1})
    assert post(caller, path, BODY).status == 200
    caller.parts.limiter.wait_s = 1.2
    answer = post(caller, path, BODY)
    assert error(answer) == (429, "GENERAL")
    assert answer.headers["retry-after"] == "2"


def test_users_are_counted_where_the_organisation_has_a_cap(tmp_path: Path) -> None:
    caller = organisation(tmp_path, limits={"monthly_active_users": 1})
    admitted: list[str] = []

    class Users:
        def admit(self, organisation: str, user: str, cap: int) -> bool:
            admitted.append(user)
            return len(set(admitted)) <= cap

    caller.parts.active_users = Users()
    assert post(caller, f"{FLAGS}/plain", BODY).status == 200
    assert error(post(caller, f"{FLAGS}/plain", b"")) == (403, "GENERAL")
    assert admitted == ["user-1", "anon:unidentified"]


# -- what the server can't do


def test_a_store_that_can_not_be_read_is_503(caller: Caller) -> None:
    caller.parts.snapshots.error = StoreError("gone")
    answer = post(caller, f"{FLAGS}/plain", BODY)
    assert error(answer) == (503, "GENERAL")
    assert "retry-after" in answer.headers


def test_an_environment_that_is_gone_is_503_and_a_defect_500(caller: Caller) -> None:
    caller.parts.snapshots.snapshot.views.pop("env_ofrep")
    assert error(post(caller, f"{FLAGS}/plain", BODY)) == (503, "GENERAL")
    caller.parts.snapshots.snapshot.views = None
    assert error(post(caller, f"{FLAGS}/plain", BODY)) == (500, "GENERAL")


# -- manifest


def test_the_manifest_names_every_flag_with_its_type_and_default(shared: Caller) -> None:
    flags = shared.call("GET", MANIFEST, key=SERVER.encode()).json()["flags"]
    by_key = {flag["key"]: flag for flag in flags}
    assert by_key["plain"] == {
        "key": "plain",
        "type": "boolean",
        "description": "The same for everyone.",
        "defaultValue": True,
    }
    assert by_key["checkout-flow"]["description"] == "How many pages."
    assert by_key["checkout-steps"]["description"] == "The checkout."
    types = {
        key: by_key[key]["type"] for key in ("country", "count", "price", "settings", "r-limit", "t.size")
    }
    assert types == {
        "country": "string",
        "count": "integer",
        "price": "float",
        "settings": "object",
        "r-limit": "float",
        "t.size": "float",
    }
    assert json.dumps(by_key["price"]["defaultValue"]) == "1.0"
    assert "r-gone" not in by_key, "a flag without a value has no default"
    assert "shared" not in by_key


def test_the_manifest_of_a_client_key_has_what_it_may_see(shared: Caller) -> None:
    keys = {flag["key"] for flag in shared.call("GET", MANIFEST, key=CLIENT.encode()).json()["flags"]}
    assert "plain" in keys
    assert not keys & {"hidden", "count", "redpennon:shared"}
