"""Traffical's endpoints over stand-ins and a real bundle (docs/apis/traffical.md: Keys and scopes, Routes,
Events). Long: all their cases stand here."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest

from fanion.bundle.compiler import compile_bundle
from fanion.config import Config
from fanion.config import Journal as JournalConfig
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.traffical.source import FORMAT
from fanion.dialects.redpennon.routes import DIALECT as REDPENNON
from fanion.dialects.traffical.decision_ids import DecisionIds
from fanion.dialects.traffical.events import check_events, check_plain
from fanion.dialects.traffical.routes import DIALECT
from fanion.dialects.traffical.schema import Schema
from fanion.dialects.wire.conditional import matches
from fanion.engine.evaluator import open_environment
from fanion.errors import JournalError, JournalFullError, StoreError
from fanion.model.api_key import KeyRecord
from tests.e2e.traffical_world import EVENT_DEFINITIONS, edge_policy, golden
from tests.unit.http_standins import Answered, Caller, FakeWindow, View, make_services

KEY = b"traffical_sk_unit"
BROWSER = b"traffical_pk_unit"
READ, WRITE = b"traffical_sk_read", b"traffical_sk_write"
OTHER = b"sk_other_system"
IDS = {"orgId": "org_t", "projectId": "proj t/1", "env": "production"}
TRACK = {"type": "track", "unitKey": "u", "timestamp": "2026-05-21T10:35:00Z", "event": "purchase"}
ULID = re.compile(r"dec_[0-7][0-9A-HJKMNP-TV-Z]{25}")


def bundle_bytes(**changes: Any) -> bytes:
    document = golden("upstream/bundle_basic.json") | IDS | {"eventDefinitions": EVENT_DEFINITIONS} | changes
    policies = [edge_policy("edge_fixed", 2), edge_policy("edge_dynamic", None)]
    document["layers"] += [{"id": f"lay_{policy['id']}", "policies": [policy]} for policy in policies]
    source = SourceFile(
        "bundle.json", json.dumps(document).encode(), {"weights": json.dumps(WEIGHTS).encode()}
    )
    report = Report()
    builder = Builder("production", {"traffical": {}})
    FORMAT.lower(FORMAT.parse(source, report), source, builder, report)
    assert report.problems == []
    return compile_bundle(builder.finish(), {"traffical": DIALECT.render})


WEIGHTS = {
    "edge_fixed": {
        "_global": {"weights": [0.5, 0.5], "computedAt": "global"},
        "entities": {"mine": {"weights": [0.0, 1.0], "computedAt": "entity"}},
    }
}

BEYOND_A_DOUBLE = (b"1e999", b"-1E+999", b"1" + b"0" * 200 + b"e110")


def make_caller(config: Config | None = None, **changes: Any) -> Caller:
    services: Any = make_services(config)
    services.event_ids = FakeWindow()
    snapshot = services.snapshots.snapshot
    environment = open_environment("production", bundle_bytes(**changes))
    snapshot.views = {"production": View({"traffical": DIALECT.bind(environment), "redpennon": None})}

    def record(kind: Any = "server", **more: Any) -> KeyRecord:
        return KeyRecord(id="k", environment="production", organisation="org_t", kind=kind, **more)

    snapshot.keys = {
        KEY: record(),
        BROWSER: record("client"),
        READ: record(scopes=("sdk:read",)),
        WRITE: record(scopes=("sdk:write",)),
        OTHER: record(dialects=("feather",)),
    }
    return Caller(services, (REDPENNON, DIALECT))


def post(caller: Caller, path: str, document: Any, key: bytes | None = KEY, **headers: str) -> Answered:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return caller.call("POST", path, json.dumps(document).encode(), named, key=key)


def send(caller: Caller, *events: Any, **more: Any) -> Any:
    answer = post(caller, "/v1/events/batch", {"events": list(events)}, **more)
    assert answer.status == 200, answer
    return answer.json()


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


# -- events

WITHIN_THE_CONTRACT = {"orgId", "projectId", "env", "assignments"}
"""What may be missing though the published schema asks for it (docs/apis/traffical.md: Event fields,
Vectors)."""
OUTSIDE_0_TO_1 = {"probability_0", "probability_1.0000001", "probability_-0.1"}


@pytest.mark.parametrize("case", golden("events.json")["cases"], ids=lambda case: case["name"])
def test_each_recorded_event_is_judged_by_the_published_schema(case: Any) -> None:
    event, name = case["event"], case["name"]
    if isinstance(event, dict):
        own = {"orgId": "org_t", "projectId": "proj t/1", "env": "production"}
        event = event | {key: value for key, value in own.items() if key in event}
    missing = name.rpartition("without_")[2]
    expected = case["sdkSchemaValid"] or missing in WITHIN_THE_CONTRACT or name == "docs_example_exposure"
    if name.partition("_")[2] in OUTSIDE_0_TO_1 or '"probability": "' in json.dumps(event):
        expected = False  # the copy of the schema is older than the rule
    if name.endswith("timestamp_not_iso"):
        expected = False  # the schema names the format; whether a validator looks at it is its own affair
    answer = send(make_caller(), event, TRACK)
    assert answer["accepted"] == 1 + expected, answer
    assert answer["written"] == 1 + expected
    assert [one["index"] for one in answer.get("validationErrors", [])] == ([] if expected else [0])


def test_the_quick_way_takes_nothing_that_the_plain_one_refuses() -> None:
    schema = Schema(Config().limits)
    at = make_caller().parts.snapshots.snapshot.view("production").bound["traffical"]
    own = {"orgId": "org_t", "projectId": "proj t/1", "env": "production"}
    taken = 0
    for case in golden("events.json")["cases"]:
        event = case["event"]
        if isinstance(event, dict):
            event = event | {key: value for key, value in own.items() if key in event}
        text = json.dumps(event).encode()
        quick = schema.plain_events(b'{"events":[%b]}' % text)
        if quick is not None:
            batch, slow = check_plain(at, quick), check_events(schema, at, [text])
            assert batch is not None
            assert (batch.accepted, batch.ids, batch.warnings) == (slow.accepted, slow.ids, slow.warnings)
            taken += 1
    assert taken > 20


@pytest.mark.parametrize(
    "event",
    [
        TRACK | {"more": 1},
        TRACK | {"properties": {"deep": {}}},
        TRACK | {"context": {f"k{n}": 1 for n in range(1001)}},
        TRACK | {"properties": {"n": 10**401}},
    ],
)
def test_the_quick_way_leaves_what_could_break_a_bound(event: Any) -> None:
    schema = Schema(Config().limits)
    assert schema.plain_events(json.dumps({"events": [event]}).encode()) is None


def test_a_bad_event_costs_only_itself() -> None:
    caller = make_caller()
    start = '{"type":"track","unitKey":"u","timestamp":"2026-05-21","event":"e","properties":{"a":'
    texts = [
        json.dumps(TRACK),
        '{"type":"track","unitKey":"u","timestamp":"2026-05-21","event":"e","value":1e999}',
        '{"type":"track","unitKey":NaN,"timestamp":"2026-05-21","event":"e"}',
        start + "[" * 70 + "]" * 70 + "}}",
        start + "[" * 2000 + "]" * 2000 + "}}",
        json.dumps(TRACK | {"value": 10**30}),
        json.dumps(TRACK | {"value": 1}).replace('"value": 1', '"value": ' + "9" * 401),
        json.dumps(TRACK | {"env": "staging"}),
        json.dumps(TRACK | {"projectId": "other", "orgId": "other"}),
    ]
    answer = caller.call("POST", "/v1/events", ('{"events":[' + ",".join(texts) + "]}").encode(), key=KEY)
    assert answer.status == 200, answer
    document = answer.json()
    assert (document["accepted"], document["written"]) == (2, 2)
    assert [one["index"] for one in document["validationErrors"]] == [1, 2, 3, 4, 6, 7, 8]
    record = caller.parts.journal.records[0]
    assert record["whole"] is False
    assert record["body"] == f"[{texts[0]},{texts[5]}]".encode()
    assert (record["dialect"], record["environment"]) == ("traffical", "production")


@pytest.mark.parametrize("more", [{}, {"properties": {"deep": {}}}, {"unknown": 1}])
def test_an_event_whose_time_is_none_is_reported_and_not_counted(more: dict[str, Any]) -> None:
    caller = make_caller()
    good, late = TRACK | more, TRACK | more | {"eventTimestamp": "2026-05-21"}
    bad = [TRACK | more | {"timestamp": "yesterday"}, TRACK | more | {"eventTimestamp": "1769000000000"}]
    document = send(caller, good, *bad, late)
    assert (document["accepted"], document["written"]) == (2, 2)
    assert document["validationErrors"] == [
        {"index": 1, "error": "timestamp: Expected an ISO 8601 time"},
        {"index": 2, "error": "eventTimestamp: Expected an ISO 8601 time"},
    ]
    (record,) = caller.parts.journal.records
    assert json.loads(record["body"]) == [good, late]


def test_bytes_that_are_not_text_never_reach_the_journal() -> None:
    caller = make_caller()
    good, bad = json.dumps(TRACK).encode(), json.dumps(TRACK | {"more": "?"}).encode().replace(b"?", b"\xff")
    answer = caller.call("POST", "/v1/events", b'{"events":[%b,%b]}' % (good, bad), key=KEY).json()
    assert answer["validationErrors"] == [{"index": 1, "error": "not UTF-8"}]
    assert caller.call("POST", "/v1/events", b'{"x":"\xff","events":[%b]}' % good, key=KEY).status == 200
    assert [record["body"] for record in caller.parts.journal.records] == [b"[%b]" % good] * 2


@pytest.mark.parametrize("number", BEYOND_A_DOUBLE)
def test_a_number_beyond_a_double_in_a_member_that_nobody_reads_rejects_its_event(number: bytes) -> None:
    good = json.dumps(TRACK | {"more": 1e308}).encode()
    for bad in (b'{"more":%b,' % number + good[1:], good[:-1] + b',"more":{"deep":[%b]}}' % number):
        caller = make_caller()
        document = caller.call("POST", "/v1/events", b'{"events":[%b,%b]}' % (good, bad), key=KEY).json()
        assert (document["accepted"], document["written"]) == (1, 1)
        assert [one["index"] for one in document["validationErrors"]] == [1]
        assert [record["body"] for record in caller.parts.journal.records] == [b"[%b]" % good]


@pytest.mark.parametrize("number", BEYOND_A_DOUBLE)
def test_what_stands_beside_the_events_is_not_kept(number: bytes) -> None:
    caller = make_caller()
    good = json.dumps(TRACK).encode()
    answer = caller.call("POST", "/v1/events", b'{"x":%b,"events":[%b]}' % (number, good), key=KEY)
    assert answer.body == b'{"accepted":1,"written":1}'
    assert [record["body"] for record in caller.parts.journal.records] == [b"[%b]" % good]


@pytest.mark.parametrize("number", BEYOND_A_DOUBLE)
def test_a_request_with_a_number_beyond_a_double_is_400(number: bytes) -> None:
    assert make_caller().call("POST", "/v1/resolve", b'{"x":%b}' % number, key=KEY).status == 400
    assert make_caller().call("POST", "/v1/resolve", b'{"defaults":{"a":%b}}' % number, key=KEY).status == 400
    assert make_caller().call("POST", "/v1/resolve", b'{"x":1e308}', key=KEY).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b'{"events":[{"a":"\\ud800"}',
        b'{"events":[{"a":"\\ud800"}],}',
        b'{"x":[{"a":"\\ud800"}]}',
        b'{"events":[1,]}',
    ],
)
def test_a_body_whose_frame_is_broken_is_400(body: bytes) -> None:
    assert make_caller().call("POST", "/v1/events", body, key=KEY).status == 400


def test_a_good_batch_is_kept_as_it_came() -> None:
    caller = make_caller()
    body = b' {"events" : [ %b ]}' % json.dumps(TRACK | {"id": "a"}).encode()
    assert caller.call("POST", "/v1/events/batch", body, key=KEY).body == b'{"accepted":1,"written":1}'
    record = caller.parts.journal.records[0]
    assert (record["body"], record["whole"], record["dispositions"], len(record["ids"])) == (
        body,
        True,
        b"\0",
        16,
    )
    assert caller.parts.event_ids.made[0].end == 1


def test_repeated_ids_are_acknowledged_and_counted_once() -> None:
    caller = make_caller()
    a, b = TRACK | {"id": "a"}, TRACK | {"id": "b"}
    assert send(caller, a, a, TRACK) == {"accepted": 3, "written": 2}
    assert send(caller, a, b) == {"accepted": 2, "written": 1}
    assert caller.parts.journal.records[1]["dispositions"] == b"\2\0"
    window = caller.parts.event_ids
    assert window.settled == 2
    assert send(caller, a, b) == {"accepted": 2, "written": 0}
    assert len(caller.parts.journal.records) == 2
    assert window.made[-1].end == "released"
    assert window.settled == 3


def test_events_without_ids_reserve_nothing() -> None:
    caller = make_caller()
    assert send(caller, TRACK, TRACK) == {"accepted": 2, "written": 2}
    assert caller.parts.event_ids.made == []


def test_schemas_warn_or_keep_out() -> None:
    caller = make_caller()
    answer = send(
        caller,
        TRACK | {"event": "strict", "properties": {"total": "3"}},
        TRACK | {"event": "strict"},
        TRACK | {"event": "strict", "properties": {"total": 3, "more": 1}},
        TRACK | {"event": "unchecked", "properties": {"total": "3"}},
        TRACK | {"event": "loose", "properties": LOOSE},
    )
    assert (answer["accepted"], answer["written"]) == (5, 3)
    warnings = answer["schemaWarnings"]
    assert [(one["index"], one["event"]) for one in warnings] == [(0, "strict"), (1, "strict"), (4, "loose")]
    assert warnings[0]["violations"] == [
        {"path": "/properties/total", "message": "must be number", "rule": "type"}
    ]
    assert [one["rule"] for one in warnings[1]["violations"]] == ["required"]
    assert [(one["path"], one["rule"]) for one in warnings[2]["violations"]] == [
        ("/properties/total", "minimum"),
        ("/properties/code", "maxLength"),
        ("/properties/code", "pattern"),
        ("/properties/at", "format"),
        ("/properties/items/0/id", "format"),
        ("/properties", "additionalProperties"),
    ]
    assert len(json.loads(caller.parts.journal.records[0]["body"])) == 3


LOOSE = {"total": -1, "code": "abcd", "at": "yesterday", "items": [{"id": "x"}], "a/b": 1}


def test_a_batch_that_schemas_keep_out_writes_nothing() -> None:
    caller = make_caller()
    answer = send(caller, TRACK | {"event": "strict", "id": "s"})
    assert (answer["accepted"], answer["written"]) == (1, 0)
    assert caller.parts.journal.records == []


@pytest.mark.parametrize(
    "body", [{}, {"events": []}, {"events": None}, {"events": {}}, {"events": [TRACK] * 1001}, []]
)
def test_no_array_of_1_to_1000_events_is_400(body: Any) -> None:
    answer = post(make_caller(), "/v1/events", body)
    assert answer.status == 400
    assert answer.json() == {
        "error": "Bad Request",
        "message": "events must be a non-empty array (max 1000)",
    }


def test_1000_events_are_taken() -> None:
    assert send(make_caller(), *([TRACK] * 1000)) == {"accepted": 1000, "written": 1000}


@pytest.mark.parametrize("error", [JournalFullError("full"), JournalError("broken")])
def test_what_cannot_be_kept_is_503_and_remembered_nowhere(error: Exception) -> None:
    caller = make_caller()
    caller.parts.journal.full = error
    answer = post(caller, "/v1/events", {"events": [TRACK | {"id": "a"}]})
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert caller.parts.event_ids.made[0].end == "released"


def test_a_window_that_is_not_ready_and_a_failed_sync_are_503() -> None:
    caller = make_caller()
    caller.parts.event_ids.error = JournalFullError("being rebuilt")
    assert post(caller, "/v1/events", {"events": [TRACK | {"id": "a"}]}).status == 503
    caller = make_caller()
    caller.parts.journal.sync_error = JournalError("disk")
    assert post(caller, "/v1/events", {"events": [TRACK]}).status == 503


def test_buffered_acknowledgements_do_not_wait_for_the_disk() -> None:
    caller = make_caller(Config(journal=JournalConfig(ack="buffered")))
    caller.parts.journal.sync_error = JournalError("disk")
    assert send(caller, TRACK | {"id": "a"}) == {"accepted": 1, "written": 1}


def test_a_slow_body_of_events_is_overload_but_elsewhere_a_time_out() -> None:
    config = Config()
    limits = type(config.limits)(body_chunk_timeout_s=0.05, body_timeout_s=0.1)
    for path, status in (("/v1/events", 503), ("/v1/resolve", 408)):
        caller = make_caller(Config(limits=limits))
        answer = caller.call("POST", path, [b'{"ev'], {"content-length": "100"}, key=KEY, stall=True)
        assert answer.status == status


def test_v1_events_belongs_to_the_system_whose_key_is_sent() -> None:
    caller = make_caller()
    assert send(caller, TRACK)
    bare = caller.call("POST", "/v1/events", b"{}", key=None)
    assert (bare.status, bare.json()) == (401, {"error": "Invalid or missing API key."})
    preflight = caller.call("OPTIONS", "/v1/events", key=None)
    assert preflight.status == 204
    allowed = preflight.headers["access-control-allow-headers"]
    assert all(
        name in allowed for name in ("authorization", "if-none-match", "x-project-id", "x-env", "x-org-id")
    )


def test_other_methods_and_paths_are_answered_in_the_same_shape() -> None:
    caller = make_caller()
    answer = caller.call("PUT", "/v1/resolve", key=KEY)
    assert (answer.status, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert answer.json()["error"] == "Method Not Allowed"
    assert caller.call("GET", "/v1/nothing", key=KEY).json()["error"] == "Not Found"


def test_decision_ids_are_ulids_that_sort_by_time() -> None:
    take = DecisionIds().take
    now = time.time_ns()
    ids = [take(now + number * 1_000_000) for number in range(600)]
    assert all(ULID.fullmatch(id.decode()) for id in ids)
    assert [id[:14] for id in ids] == sorted(id[:14] for id in ids)
    assert len(set(ids)) == 600
    assert take(0)[:14] == b"dec_0000000000"
