"""The conformance data of stitchd through definitions, lowering, twin and core: every vector and scenario."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fanion.model.context import TypedContext
from tests.unit.stitchd_worlds import GOLDEN, SCENARIOS, World, scenario

FILES = ("hashing/reference_vectors.json", "derived/murmur3_bucket_vectors.json")
VECTORS = [vector for file in FILES for vector in json.loads((GOLDEN / file).read_text())["vectors"]]


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_gives_every_expected_answer(name: str) -> None:
    world, requests, expected = scenario(name)
    assert world.problems == []
    assert len(requests) == len(expected)
    for request, answer in zip(requests, expected, strict=True):
        context = request["context"]
        asked = TypedContext(context["type"], context["key"], context["parameters"])
        answer.pop("reasoning", None)
        assert world.ask(request["flag_key"], asked) == answer


def hashing_world(vector: dict[str, Any]) -> World:
    """A flag whose rule splits by the vector's targets; the id of the environment is the vector's own."""
    targets = [{"context_type": f"t{n}", "field": "Key"} for n in range(len(vector["target_values"]))]
    rollout = {"targets": targets, "weights": [{"variant_key": "all", "weight": 10000}]}
    flag = {
        "key": vector["flag_key"],
        "value_type": "bool",
        "variants": [{"key": "all", "value": True}],
        "rules": [
            {
                "rule_id": "r",
                "condition": {"op": "And", "children": []},
                "variant_assignment": {"percentage_rollout": rollout},
            }
        ],
    }
    return World([flag], environment=vector["env_id"])


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["flag_key"]], ids=lambda v: v["name"])
def test_hash_vector_gives_its_bucket_through_a_published_percentage(vector: dict[str, Any]) -> None:
    world = hashing_world(vector)
    assert world.problems == []
    contexts = [TypedContext(f"t{n}", value, {}) for n, value in enumerate(vector["target_values"])]
    _, bucket = world.decide(world.lowered.parameters[0].decision, *contexts)
    assert bucket == vector["expected_bucket"]
