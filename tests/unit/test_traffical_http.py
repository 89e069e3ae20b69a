"""Traffical's endpoints but for events over stand-ins and a real bundle (docs/apis/traffical.md: Keys and scopes,
Routes)."""

from __future__ import annotations

import re
from typing import Any

import pytest

from fanion.dialects.wire.conditional import matches
from fanion.errors import StoreError
from tests.unit.traffical_standins import (
    BROWSER,
    IDS,
    KEY,
    OTHER,
    READ,
    TRACK,
    ULID,
    WRITE,
    make_caller,
    post,
)

# -- config


def test_a_config_comes_whole_with_a_strong_tag() -> None:
    caller = make_caller()
    answer = caller.call("GET", "/v1/config/proj%20t%2F1?env=production", key=KEY)
    assert answer.status == 200
    assert re.fullmatch('"[0-9a-f]{32}"', answer.headers["etag"])
    assert answer.headers["cache-control"] == "public, max-age=60, must-revalidate"
    assert "etag" in answer.headers["access-control-expose-headers"]
    document = answer.json()
    assert document["projectId"] == "proj t/1"
    assert document["hashing"]["algorithm"] == "sha256-v2"
    for path in (
        "/v1/config/proj%20t/1?env=production",
        "/v1/config/proj%20t%2F1",
        "/traffical/v1/config/proj%20t%2F1",
    ):
        again = caller.call("GET", path, key=BROWSER)
        assert (again.status, again.headers["etag"]) == (200, answer.headers["etag"])


def test_another_content_has_another_tag() -> None:
    first = make_caller().call("GET", "/v1/config/proj%20t%2F1", key=KEY)
    other = make_caller(version="2").call("GET", "/v1/config/proj%20t%2F1", key=KEY)
    assert first.headers["etag"] != other.headers["etag"]


def test_a_known_tag_is_answered_304_with_the_tag_again() -> None:
    caller = make_caller()
    tag = caller.call("GET", "/v1/config/proj%20t%2F1", key=KEY).headers["etag"]
    answer = caller.call(
        "GET", "/v1/config/proj%20t%2F1", headers={"if-none-match": f'"x", W/{tag}'}, key=KEY
    )
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", tag)
    assert answer.headers["cache-control"] == "public, max-age=60, must-revalidate"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, False),
        (b'"a"', True),
        (b'W/"a"', True),
        (b'"b", "a"', True),
        (b'"b" ,W/"a"', True),
        (b"*", True),
        (b'"b"', False),
        (b"a", False),
        (b"", False),
    ],
)
def test_if_none_match_is_read_as_http_says(given: bytes | None, expected: bool) -> None:
    assert matches(given, b'"a"') is expected


@pytest.mark.parametrize(
    "path", ["/v1/config/other", "/v1/config/proj%20t%2F1?env=staging", "/v1/config/%ff"]
)
def test_another_project_or_environment_is_forbidden(path: str) -> None:
    answer = make_caller().call("GET", path, key=KEY)
    assert answer.status == 403
    assert answer.json()["error"] == "Forbidden"


def test_refresh_hints_are_shown_where_clients_look_for_them() -> None:
    caller = make_caller(suggestedRefreshMs=5000)
    answer = caller.call("GET", "/v1/config/proj%20t%2F1", key=KEY)
    assert answer.headers["x-suggested-refresh-ms"] == "5000"
    assert answer.json()["suggestedRefreshMs"] == 5000
    assert post(caller, "/v1/resolve", {"context": {}}).json()["suggestedRefreshMs"] == 5000
    plain = post(make_caller(), "/v1/resolve", {"context": {}}).json()
    assert "suggestedRefreshMs" not in plain


# -- keys


@pytest.mark.parametrize("key", [None, b"traffical_sk_unknown", OTHER])
def test_unusable_keys_are_401(key: bytes | None) -> None:
    for method, path in (("GET", "/v1/config/p"), ("POST", "/v1/resolve"), ("POST", "/v1/events/batch")):
        answer = make_caller().call(method, path, key=key)
        assert answer.status == 401
        assert answer.json() == {"error": "Unauthorized", "message": "Invalid or expired API key"}
        assert answer.headers["www-authenticate"] == "Bearer"


def test_scopes_open_what_they_name() -> None:
    caller = make_caller()
    assert post(caller, "/v1/resolve", {"context": {}}, READ).status == 200
    assert post(caller, "/v1/resolve", {"context": {}}, WRITE).status == 403
    assert post(caller, "/v1/events/batch", {"events": [TRACK]}, WRITE).status == 200
    assert post(caller, "/v1/events/batch", {"events": [TRACK]}, READ).status == 403
    assert caller.call("GET", "/v1/config/proj%20t%2F1", key=WRITE).status == 403


def test_publishable_keys_may_read_config_and_send_events_but_not_resolve() -> None:
    caller = make_caller()
    assert post(caller, "/v1/resolve", {"context": {}}, BROWSER).status == 403
    assert post(caller, "/v1/events", {"events": [TRACK]}, BROWSER).status == 200
    assert (
        post(caller, "/v1/decide/edge_fixed", {"entityId": "e", "unitKeyValue": "u"}, BROWSER).status == 200
    )


# -- resolve


def test_resolve_answers_in_the_sdks_shape_with_the_documents_names_beside_it() -> None:
    answer = post(make_caller(), "/v1/resolve", {"context": {"userId": "user-abc"}, "env": "production"})
    assert answer.status == 200
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert ULID.fullmatch(document["decisionId"])
    assert document["assignments"] == {
        "ui.primaryColor": "#0000FF",
        "ui.buttonText": "Click Me",
        "pricing.discount": 0,
    }
    metadata = document["metadata"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", metadata["timestamp"])
    assert metadata["unitKeyValue"] == "user-abc"
    assert metadata["layers"][0] == {
        "layerId": "layer_ui",
        "bucket": 177,
        "policyId": "policy_color_test",
        "allocationName": "control",
    }
    edge = document["decisions"].pop()
    assert (edge["policyId"], edge["bucket"]) == ("edge_fixed", metadata["layers"][2]["bucket"])
    assert document["decisions"] == [
        {"layerId": "layer_ui", "policyId": "policy_color_test", "allocationName": "control", "bucket": 177}
    ]
    assert document["stateVersion"] == document["bundleVersion"] == "2024-01-01T00:00:00.000Z"


@pytest.mark.parametrize("body", [{}, {"context": {}}, {"context": []}, {"context": {"userId": None}}])
def test_a_context_without_a_unit_still_resolves(body: Any) -> None:
    document = post(make_caller(), "/v1/resolve", body).json()
    assert document["metadata"]["unitKeyValue"] == ""
    assert [row["bucket"] for row in document["metadata"]["layers"]] == [-1] * 4
    assert document["decisions"] == []
    assert len(document["assignments"]) == 3


def test_only_what_is_asked_for_is_assigned() -> None:
    caller = make_caller()

    def assigned(**more: Any) -> Any:
        return post(caller, "/v1/resolve", {"context": {"userId": "user-abc"}, **more}).json()["assignments"]

    assert assigned(parameters=["pricing.discount", "unknown", "pricing.discount"]) == {"pricing.discount": 0}
    assert assigned(parameters=[]) == {}
    brought = {"pricing.discount": 99, "mine": {"a": [1]}}
    assert assigned(parameters=["pricing.discount", "mine"], defaults=brought) == {
        "pricing.discount": 0,
        "mine": {"a": [1]},
    }
    assert list(assigned(defaults=brought))[-1] == "mine"
    rows = post(caller, "/v1/resolve", {"context": {"userId": "u"}, "parameters": []}).json()["metadata"][
        "layers"
    ]
    assert all(row["attributionOnly"] for row in rows)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"projectId": "other"}, {}),
        ({"orgId": "other"}, {}),
        ({"env": "staging"}, {}),
        ({}, {"x_project_id": "other"}),
        ({}, {"x_env": "staging"}),
        ({}, {"x_org_id": "other"}),
    ],
)
def test_a_request_for_another_project_is_forbidden(body: Any, headers: dict[str, str]) -> None:
    caller = make_caller()
    assert post(caller, "/v1/resolve", {"context": {}, **body}, **headers).status == 403
    assert post(caller, "/v1/decide/batch", {"requests": [], **body}, **headers).status == 403


def test_the_body_goes_before_the_headers() -> None:
    answer = post(
        make_caller(), "/v1/resolve", {"context": {}, "projectId": "proj t/1"}, x_project_id="other"
    )
    assert answer.status == 200


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"context":[1]}', b'{"context":null}', b'{"context":"x"}', b"\xff"]
)
def test_a_body_that_is_no_request_is_400(body: bytes) -> None:
    answer = make_caller().call("POST", "/v1/resolve", body, key=KEY)
    assert answer.status == 400
    assert answer.json()["error"] == "Bad Request"


@pytest.mark.parametrize(
    "value",
    [
        b"[" * 63 + b"]" * 63,
        b"{" + b",".join(b'"k%d":1' % n for n in range(1001)) + b"}",
        b"9" * 401,
    ],
)
def test_contexts_past_the_bounds_are_400(value: bytes) -> None:
    answer = make_caller().call("POST", "/v1/resolve", b'{"context":{"a":%b}}' % value, key=KEY)
    assert answer.status == 400


def test_contexts_at_the_bounds_resolve() -> None:
    for value in (b"[" * 62 + b"]" * 62, b"9" * 400, b'"%b"' % (b"[" * 1000)):
        answer = make_caller().call("POST", "/v1/resolve", b'{"context":{"a":%b}}' % value, key=KEY)
        assert answer.status == 200, value[:10]


def test_a_lost_environment_is_404_to_readers_and_overload_to_events() -> None:
    caller = make_caller()
    caller.parts.snapshots.snapshot.views = {}
    answer = post(caller, "/v1/resolve", {"context": {}})
    assert (answer.status, answer.json()) == (404, {"error": "Not Found", "message": "Project not found"})
    answer = post(caller, "/v1/events", {"events": [TRACK]})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")


def test_a_store_that_cannot_be_read_is_overload() -> None:
    caller = make_caller()
    caller.parts.snapshots.error = StoreError("gone")
    assert post(caller, "/v1/events", {"events": [TRACK]}).status == 503


# -- decide


def test_decide_draws_from_the_servers_weights() -> None:
    answer = post(
        make_caller(), "/v1/decide/edge_fixed", {"entityId": "mine", "unitKeyValue": "u", "context": {}}
    )
    assert answer.json() == {
        "policyId": "edge_fixed",
        "entityId": "mine",
        "allocationIndex": 1,
        "allocationName": "variant_b",
        "weights": [0, 1],
        "coldStart": False,
        "stateVersion": "entity",
    }
    other = post(make_caller(), "/v1/decide/edge_fixed", {"entityId": "e", "unitKeyValue": "u"}).json()
    assert (other["weights"], other["coldStart"], other["stateVersion"]) == ([0.5, 0.5], True, "global")


def test_decide_takes_the_count_of_a_dynamic_policy_from_the_request() -> None:
    caller = make_caller()
    request = {"entityId": "e", "unitKeyValue": "u", "allocationCount": 4}
    answer = post(caller, "/v1/decide/edge_dynamic", request).json()
    assert answer["weights"] == [0.25] * 4
    assert answer["allocationName"] == str(answer["allocationIndex"])
    assert (answer["coldStart"], answer["stateVersion"]) == (True, "2024-01-01T00:00:00.000Z")
    for count in (None, 0, -1, 10_001, 1e21, "4", True):
        assert post(caller, "/v1/decide/edge_dynamic", request | {"allocationCount": count}).status == 400
    fixed = post(caller, "/v1/decide/edge_fixed", request | {"allocationCount": 7}).json()
    assert len(fixed["weights"]) == 2


@pytest.mark.parametrize("policy", ["no_such", "policy_color_test", "%ff"])
def test_deciding_anything_but_a_running_edge_policy_is_404(policy: str) -> None:
    answer = post(make_caller(), f"/v1/decide/{policy}", {"entityId": "e", "unitKeyValue": "u"})
    assert answer.status == 404


@pytest.mark.parametrize(
    "body", [{"entityId": "e"}, {"unitKeyValue": "u"}, {"entityId": "", "unitKeyValue": "u"}, []]
)
def test_deciding_without_entity_or_unit_is_400(body: Any) -> None:
    assert post(make_caller(), "/v1/decide/edge_fixed", body).status == 400


@pytest.mark.parametrize("path", ["/v1/decide/batch", "/v1/decide/entity/batch"])
def test_a_batch_answers_every_item_in_its_place(path: str) -> None:
    good = {"policyId": "edge_fixed", "entityId": "mine", "unitKeyValue": "u"}
    items = [
        good,
        {"policyId": "nope", "entityId": "e", "unitKeyValue": "u"},
        "x",
        good | {"entityId": 5},
        good,
    ]
    answer = post(make_caller(), path, {"orgId": "org_t", "requests": items})
    assert answer.status == 200
    document = answer.json()
    assert document["responses"] == document["results"]
    assert [one and one["allocationIndex"] for one in document["responses"]] == [1, None, None, None, 1]


def test_batches_are_bounded() -> None:
    caller = make_caller()
    assert post(caller, "/v1/decide/batch", {"requests": [1] * 1000}).status == 200
    assert post(caller, "/v1/decide/batch", {"requests": [1] * 1001}).status == 400
    assert post(caller, "/v1/decide/batch", {"requests": {}}).status == 400
    assert post(caller, "/v1/decide/batch", {"requests": []}).json() == {"responses": [], "results": []}


def test_a_batch_cannot_ask_for_an_endless_answer() -> None:
    item = {"policyId": "edge_dynamic", "entityId": "e", "unitKeyValue": "u", "allocationCount": 10_000}
    assert post(make_caller(), "/v1/decide/batch", {"requests": [item] * 10}).status == 200
    assert post(make_caller(), "/v1/decide/batch", {"requests": [item] * 1000}).status == 400


def test_requests_as_ios_sends_them_are_answered() -> None:
    caller = make_caller()
    sdk = {"x_sdk_name": "ios", "x_sdk_version": "0.5.0"}
    answer = post(caller, "/v1/resolve", IDS | {"context": {"userId": "user-abc"}}, **sdk)
    assert answer.json()["metadata"]["layers"][0]["bucket"] == 177
    item = {"policyId": "edge_fixed", "entityId": "mine", "unitKeyValue": "u", "entityKeys": ["userId"]}
    answer = post(caller, "/v1/decide/entity/batch", IDS | {"requests": [item]}, **sdk)
    (decided,) = answer.json()["responses"]
    assert (decided["policyId"], decided["entityId"], decided["allocationIndex"]) == ("edge_fixed", "mine", 1)
