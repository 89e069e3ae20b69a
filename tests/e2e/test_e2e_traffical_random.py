"""The recorded decisions of random bundles, asked of a real server: one project a bundle, one key each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import publish, start
from tests.e2e.test_e2e_traffical import same
from tests.e2e.traffical_world import environment, golden

pytest.importorskip("traffical", reason="the published SDK is part of the test extra")


def asks_the_server_for_weights(bundle: dict[str, Any]) -> bool:
    """Whether a policy is decided by weights that the server keeps; the recordings gave results instead."""
    policies = [policy for layer in bundle["layers"] for policy in layer["policies"]]
    return any((policy.get("entityConfig") or {}).get("resolutionMode") == "edge" for policy in policies)


def test_every_recorded_decision_of_random_bundles_is_resolved_over_http(tmp_path: Path) -> None:
    groups = [
        group
        for group in golden("random_resolution.json")["sets"]
        if not asks_the_server_for_weights(group["bundle"])
    ]
    projects: dict[str, Any] = {}
    for number, group in enumerate(groups):
        identity = {"orgId": "o", "projectId": f"p{number}", "env": "e"}
        (tmp_path / f"{number}.json").write_text(json.dumps(group["bundle"] | identity))
        keys = [{"key": f"traffical_sk_random_{number}"}]
        projects[f"p{number}"] = {"environments": {"e": environment(f"{number}.json", keys)}}
    world = {"fanion": 1, "organisations": {"o": {"projects": projects}}}
    (tmp_path / "world.json").write_text(json.dumps(world))
    publish(tmp_path / "data", tmp_path / "world.json")
    running = start(tmp_path / "log", "--workers", "1", "--ack", "buffered", data=tmp_path / "data")
    asked = 0
    try:
        for number, group in enumerate(groups):
            for case in group["cases"]:
                body = {
                    "context": case["context"],
                    "parameters": list(case["defaults"]),
                    "defaults": case["defaults"],
                }
                answer = running.ask("POST", "/v1/resolve", body, key=f"traffical_sk_random_{number}")
                assert answer.status == 200, (number, answer)
                found, expected = answer.json(), case["expected"]
                metadata = found["metadata"]
                assert same(found["assignments"], expected["assignments"]), (number, case)
                assert same(metadata["layers"], expected["layers"]), (number, case)
                assert metadata["unitKeyValue"] == expected["unitKeyValue"]
                assert same(metadata.get("filteredContext"), expected["filteredContext"]), (number, case)
                asked += 1
    finally:
        assert running.stop() == 0
    assert asked > 200
