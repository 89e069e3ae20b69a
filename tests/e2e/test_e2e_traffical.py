"""The published Python SDK, and the recorded requests of the others, against a real server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fanion.dialects import canonical_forms
from fanion.journal.event import Event, expand
from fanion.journal.reader import JournalReader
from tests.e2e import traffical_world as world
from tests.e2e.server import Answer, Running, publish, start, wait_until
from tests.e2e.traffical_world import golden

traffical = pytest.importorskip("traffical", reason="the published SDK is part of the test extra")

PARAMETERS = {"ui.primaryColor": "#000000", "ui.buttonText": "Click Me", "pricing.discount": 0}


@pytest.fixture(scope="module")
def traffical_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("traffical") / "data"
    world.publish_world(data)
    return data


@pytest.fixture(scope="module")
def server(traffical_data: Path) -> Iterator[Running]:
    running = start(
        traffical_data.with_name("log"), "--workers", "2", "--ack", "buffered", data=traffical_data
    )
    yield running
    assert running.stop() == 0


class Flaky(httpx.BaseTransport):
    """Hands requests on to the server; the first `lies` answers to events are told to the client as 503."""

    def __init__(self, lies: int = 0) -> None:
        self.inner = httpx.HTTPTransport()
        self.lies = lies
        self.seen: list[tuple[str, str, int]] = []
        self.lock = threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self.inner.handle_request(request)
        response.read()
        with self.lock:
            self.seen.append((request.method, request.url.path, response.status_code))
            if request.url.path.startswith("/v1/events") and self.lies:
                self.lies -= 1
                return httpx.Response(503, json={"error": "Service Unavailable", "message": "lied"})
        return httpx.Response(response.status_code, headers=response.headers, content=response.content)

    def close(self) -> None:
        self.inner.close()


def client(running: Running, mode: str, **more: Any) -> Any:
    options = {
        "api_key": world.WIRE_KEY,
        "org_id": "org_test",
        "project_id": "proj test/1",
        "env": "production",
        "base_url": f"http://127.0.0.1:{running.port}",
        "evaluation_mode": mode,
        "flush_interval_seconds": 3600.0,
        "refresh_interval_seconds": 3600.0,
    }
    return traffical.TrafficalClient(traffical.TrafficalClientOptions(**(options | more)))


def journal_events(data: Path) -> list[Event]:
    records = JournalReader(data).read()
    found = [one.event for record in records for one in expand(record, canonical_forms())]
    return [event for event in found if event.dialect == "traffical"]


def kept(data: Path, unit: str) -> list[dict[str, Any]]:
    """What is in the journal for a unit, repeats left out."""
    found = [event for event in journal_events(data) if event.source.get("unitKey") == unit]
    return [event.source for event in found if event.disposition != "duplicate"]


@pytest.mark.parametrize("mode", ["bundle", "server"])
def test_the_sdk_decides_exposes_tracks_and_its_events_are_kept_once(
    server: Running, traffical_data: Path, mode: str
) -> None:
    transport = Flaky(lies=2)
    unit = f"user-{mode}"
    with client(server, mode, transport=transport) as sdk:
        assert sdk.wait_for_ready(10)
        decision = sdk.decide({"userId": unit}, PARAMETERS)
        assert set(decision.assignments) == set(PARAMETERS)
        assert decision.metadata.config_version
        assert decision.metadata.unit_key_value == unit
        assert [layer.layer_id for layer in decision.metadata.layers] == ["layer_ui", "layer_pricing"]
        again = sdk.decide({"userId": unit}, PARAMETERS)
        assert again.assignments == decision.assignments
        sdk.track_exposure(decision)
        sdk.track_exposure(decision)
        sdk.track("purchase", {"total": 3}, decision_id=decision.decision_id, unit_key=unit, value=49.99)
        assert sdk.flush_events(30)
    posts = [status for method, path, status in transport.seen if path == "/v1/events/batch"]
    assert len(posts) >= 3
    assert set(posts) == {200}
    found = kept(traffical_data, unit)
    assert sorted(event["type"] for event in found) == ["decision", "exposure", "track"]
    assert len({event["id"] for event in found}) == 3
    repeats = [event for event in journal_events(traffical_data) if event.disposition == "duplicate"]
    assert all(
        event.source["unitKey"] != unit for event in repeats
    )  # a batch of repeats alone writes nothing


def test_bundle_and_server_mode_agree_on_every_unit(server: Running) -> None:
    with (
        client(server, "bundle", track_decisions=False) as local,
        client(server, "server", track_decisions=False) as remote,
    ):
        assert local.wait_for_ready(10)
        for number in range(50):
            context = {"userId": f"agree-{number}", "plan": "pro"}
            mine, theirs = local.decide(context, PARAMETERS), remote.decide(context, PARAMETERS)
            assert mine.assignments == theirs.assignments
            assert mine.metadata.layers == theirs.metadata.layers
            assert mine.metadata.config_version == theirs.metadata.config_version


def test_the_sdk_polls_with_304_and_takes_a_new_bundle(tmp_path: Path, serve: Callable[..., Running]) -> None:
    data = tmp_path / "data"
    world.publish_world(data)
    running = serve("--workers", "1", data=data)
    transport = Flaky()
    with client(running, "bundle", transport=transport, refresh_interval_seconds=0.05) as sdk:
        assert sdk.wait_for_ready(10)
        wait_until(lambda: 304 in [status for _, _, status in transport.seen])
        files = world.write_world(tmp_path / "definitions")
        wire = tmp_path / "definitions" / "wire.json"
        wire.write_text(json.dumps(json.loads(wire.read_text()) | {"version": "2026-12-01T00:00:00.000Z"}))
        publish(data, *files)
        wait_until(lambda: sdk.bundle.version == "2026-12-01T00:00:00.000Z")
    assert {status for _, _, status in transport.seen} == {200, 304}


@pytest.mark.heavy
def test_the_sdk_survives_a_restart_and_loses_nothing(tmp_path: Path, serve: Callable[..., Running]) -> None:
    data = tmp_path / "data"
    world.publish_world(data)
    first = serve("--workers", "1", data=data)
    with client(first, "server") as sdk:
        before = sdk.decide({"userId": "restart-1"}, PARAMETERS)
        assert first.stop() == 0
        assert sdk.decide({"userId": "restart-2"}, PARAMETERS).assignments == PARAMETERS  # its own defaults
        sdk.track("purchase", unit_key="restart-1", value=1.0)
        assert not sdk.flush_events(0.1)
        serve("--workers", "1", "--port", str(first.port), data=data)
        after = sdk.decide({"userId": "restart-1"}, PARAMETERS)
        assert after.assignments == before.assignments
        assert sdk.flush_events(30)
    found = kept(data, "restart-1")
    assert sorted(event["type"] for event in found) == ["decision", "track"]


def captures() -> list[Any]:
    return [
        pytest.param(
            one, id=f"{number}-{one['sdk'].split(' ')[0].rpartition('/')[2]}-{one['path'].split('?')[0]}"
        )
        for number, one in enumerate(golden("wire_captures.json")["captures"])
    ]


@pytest.mark.parametrize("capture", captures())
def test_a_recorded_request_gets_an_answer_that_its_client_accepts(server: Running, capture: Any) -> None:
    browser = "proj_test" in json.dumps([capture["path"], capture["headers"], capture["body"]])
    headers = {name: value for name, value in capture["headers"].items() if name.lower() != "content-length"}
    headers["Authorization"] = f"Bearer {world.BROWSER_PROJECT_KEY if browser else world.WIRE_KEY}"
    body = None if capture["body"] is None else json.dumps(capture["body"]).encode()
    expected = capture["stubReply"]["status"]
    if expected == 304:
        tag = server.ask(capture["method"], capture["path"], key=None, headers=headers).headers["etag"]
        headers["If-None-Match"] = tag
    answer = server.ask(capture["method"], capture["path"], body=body, key=None, headers=headers)
    if browser and capture["path"] == "/v1/resolve":
        assert answer.status == 403  # a publishable key
        return
    assert answer.status == expected, answer
    if expected == 200:
        check_shape(capture, answer)


def check_shape(capture: Any, answer: Answer) -> None:
    document = answer.json()
    if capture["path"].startswith("/v1/config/"):
        assert answer.headers["cache-control"] == "public, max-age=60, must-revalidate"
        assert answer.headers["etag"].startswith('"')
        assert {"version", "orgId", "projectId", "env", "hashing", "parameters", "layers"} <= document.keys()
        traffical_bundle = json.loads(answer.body)
        assert all(
            {"key", "type", "default", "layerId"} <= one.keys() for one in traffical_bundle["parameters"]
        )
    elif capture["path"] == "/v1/resolve":
        assert document["decisionId"].startswith("dec_")
        assert len(document["decisionId"]) == 30
        assert document["metadata"]["unitKeyValue"] == capture["body"]["context"].get("userId", "")
        assert [row["layerId"] for row in document["metadata"]["layers"]] == ["layer_ui", "layer_pricing"]
        wanted = capture["body"].get("parameters", list(PARAMETERS))
        assert list(document["assignments"]) == [key for key in wanted if key in PARAMETERS]
        assert document["stateVersion"] == document["bundleVersion"]
    elif capture["path"].startswith("/v1/decide"):
        requests, responses = capture["body"]["requests"], document["responses"]
        assert document["results"] == responses
        assert len(responses) == len(requests)
        for request, response in zip(requests, responses, strict=True):
            if "allocationCount" not in request and request["policyId"] == "policy_edge_dynamic":
                assert response is None  # without a count there is nothing to choose from
            else:
                assert response["policyId"] == request["policyId"]
                assert response["entityId"] == request["entityId"]
                assert response["coldStart"] is True
    else:
        count = len(capture["body"]["events"])
        assert document["accepted"] == count
        assert "validationErrors" not in document


def test_every_recorded_decision_is_resolved_over_http(server: Running) -> None:
    for case in golden("expected_features.json")["testCases"]:
        expected = case["expected"]
        body = {
            "context": case["context"],
            "parameters": list(case["defaults"]),
            "defaults": case["defaults"],
        }
        answer = server.ask("POST", "/v1/resolve", body, key=world.FEATURES_KEY)
        assert answer.status == 200, answer
        found = answer.json()
        metadata = found["metadata"]
        assert same(found["assignments"], expected["assignments"]), case["name"]
        assert same(metadata["layers"], expected["layers"]), case["name"]
        assert metadata["unitKeyValue"] == expected["unitKeyValue"]
        assert same(metadata.get("filteredContext"), expected["filteredContext"]), case["name"]
        assert found["stateVersion"] == expected["configVersion"]


def same(found: Any, expected: Any) -> bool:
    """Equal, numbers within 1e-9."""
    if isinstance(expected, float):
        return abs(found - expected) <= 1e-9
    if isinstance(expected, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(found == expected)


def test_native_flags_are_parameters_too(server: Running) -> None:
    def assignments(**context: Any) -> Any:
        answer = server.ask("POST", "/v1/resolve", {"context": context}, key=world.NATIVE_KEY)
        assert answer.status == 200
        return answer.json()["assignments"]

    assert assignments() == {"banner": "none", "shade": {"dark": True}}
    assert assignments(country="DE")["banner"] == "servus"
    assert assignments(userId="ann")["banner"] == "hello ann"
    config = server.ask("GET", "/v1/config/flags", key=world.NATIVE_KEY)
    assert config.status == 404
    assert config.json() == {"error": "Not Found", "message": "Bundle not found for project"}


def test_events_of_both_systems_share_a_path(server: Running) -> None:
    body = {"events": [{"type": "track", "unitKey": "u", "timestamp": "2026-05-21T10:35:00Z", "event": "e"}]}
    assert server.ask("POST", "/v1/events", body, key=world.WIRE_KEY).json() == {"accepted": 1, "written": 1}
    preflight = server.ask("OPTIONS", "/v1/events", key=None)
    assert preflight.status == 204
    assert "authorization" in preflight.headers["access-control-allow-headers"]


@pytest.mark.heavy
def test_a_flood_of_one_project_s_ids_does_not_make_another_s_retry_count_twice(
    tmp_path: Path, serve: Callable[..., Running]
) -> None:
    data = tmp_path / "data"
    world.publish_world(data)
    server = serve("--workers", "2", data=data, environment={"FANION_JOURNAL_EVENT_IDS": "65536"})

    def send(key: str, *ids: str) -> Any:
        common = {"type": "track", "unitKey": "u", "timestamp": "2026-05-21T10:35:00Z", "event": "e"}
        return server.ask(
            "POST", "/v1/events/batch", {"events": [{"id": id, **common} for id in ids]}, key=key
        ).json()

    assert send(world.FEATURES_KEY, "before") == {"accepted": 1, "written": 1}
    for start_at in range(0, 3 * 65_536, 1000):
        ids = [f"flood-{start_at + number}" for number in range(1000)]
        assert send(world.WIRE_KEY, *ids) == {"accepted": 1000, "written": 1000}
    assert send(world.FEATURES_KEY, "before") == {"accepted": 1, "written": 0}
    assert send(world.WIRE_KEY, "flood-0") == {"accepted": 1, "written": 1}
