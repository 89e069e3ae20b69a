"""Every recorded decision of Traffical's engines comes out of the twin and of the compiled core
(docs/apis/traffical.md: Resolution)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from fanion._core.evaluate import Bundle
from fanion._core.overlay import Overlay
from fanion.bundle.compiler import compile_bundle
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.traffical.files import Bundle as ConfigBundle
from fanion.definitions.sources.traffical.files import Reader
from fanion.definitions.sources.traffical.lowering import RECORD, TrafficalLowering
from fanion.dialects.traffical.emit import FIELDS, render
from fanion.engine.externals import make_external
from fanion.engine.reference import bind, choose
from fanion.model.context import EvaluationContext
from fanion.model.program import Lowered

GOLDEN = Path(__file__).parent.parent / "golden" / "traffical"
LINEAR_TIME_ONLY = {"regex_lookahead", "regex_backref"}
"""What a linear-time engine can't run is warned about and never matches."""


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


def lower(document: Any, weights: Any = None, edge_results: Mapping[str, int] | None = None) -> Lowered:
    report = Report()
    reader = Reader("bundle.json", report)
    bundle = reader.bundle(document)
    states = reader.states(weights or {}, "")
    assert report.problems == []
    assert isinstance(bundle, ConfigBundle)
    builder = Builder("env", {"traffical": {}})
    TrafficalLowering(bundle, bundle.states | states, builder, edge_results).run(
        "bundle.json", report, b"{}", {}
    )
    assert report.problems == []
    return builder.finish()


class Served:
    """A lowered bundle, in both implementations."""

    def __init__(self, lowered: Lowered) -> None:
        self.lowered = lowered
        self.record = json.loads(lowered.documents[RECORD])
        self.bundle = Bundle(compile_bundle(lowered, {"traffical": render}), make_external())
        self.table = self.bundle.table("traffical")
        self.overlay = Overlay(self.bundle, self.table)
        self.fields = json.loads(self.bundle.document(FIELDS) or b"")

    def decide(self, context: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        """A decision as the SDKs give it, by the core. What the caller's defaults say is brought by guests."""
        guests = {key: json.dumps(value).encode() for key, value in defaults.items()}
        notes = self.overlay.run(list(defaults), guests, None, context, None)
        unit = self.overlay.text(self.record["unitSlot"])
        answer = json.loads(
            self.overlay.emit(
                (b'{"assignments":{', b'},"layers":[', b'],"decisions":[', b"]}"),
                b',"attributionOnly":true',
                b',"probability":',
            )
        )
        names = dict.fromkeys(name for note in notes for name in self.fields[note - 1])
        return {
            "assignments": answer["assignments"],
            "unitKeyValue": json.loads(unit),
            "layers": answer["layers"],
            "filteredContext": filtered(context, names),
            "configVersion": self.record["version"],
        }

    def decide_by_twin(self, context: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
        """The same by the rules of `fanion.model.layers` in their plainest form."""
        about = EvaluationContext(attributes=context)
        parameters = {one.key: one for one in self.lowered.parameters if one.key in defaults}
        values = {key: json.dumps(value) for key, value in defaults.items()}
        values |= {key: str(one.answers[-1].value) for key, one in parameters.items()}
        layers, names = [], dict[str, None]()
        for layer in self.lowered.layers:
            result, chosen = choose(self.lowered, layer.decision, about, make_external())
            arm = layer.arms[result.outcome]
            asked = any(one.group == layer.key for one in parameters.values())
            if asked:
                values |= {key: value for key, value in arm.values if key in values}
            names |= dict.fromkeys(arm.fields)
            probability = chosen.probability if arm.drawn else arm.probability
            own_unit = layer.unit is not None
            unit = bind(self.lowered.slots[layer.unit_slot], about).text or "" if own_unit else None
            number = str(chosen.choice)
            row = {
                "layerId": layer.key,
                "bucket": result.bucket,
                "policyId": arm.policy,
                "policyKey": arm.policy_key,
                "allocationId": f"{arm.allocation}{number}" if arm.numbered else arm.allocation,
                "allocationName": number if arm.numbered else arm.allocation_name,
                "allocationKey": arm.allocation_key,
                "unitKey": layer.unit,
                "unitKeyValue": unit,
                "probability": probability if probability is not None and 0 < probability <= 1 else None,
                "modelVersion": arm.model_version,
                "attributionOnly": None if asked else True,
            }
            layers.append({name: value for name, value in row.items() if value is not None})
        return {
            "assignments": {key: json.loads(value) for key, value in values.items()},
            "unitKeyValue": bind(self.lowered.slots[self.record["unitSlot"]], about).text or "",
            "layers": layers,
            "filteredContext": filtered(context, names),
            "configVersion": self.record["version"],
        }


def filtered(context: dict[str, Any], names: Mapping[str, None]) -> dict[str, Any] | None:
    found = {name: context[name] for name in names if name in context}
    return found or None


def same(found: Any, expected: Any) -> bool:
    if isinstance(expected, float) and not isinstance(found, bool) and isinstance(found, int | float):
        return math.isclose(found, expected, rel_tol=0, abs_tol=1e-9)
    if isinstance(expected, dict) and isinstance(found, dict):
        return found.keys() == expected.keys() and all(same(found[key], expected[key]) for key in expected)
    if isinstance(expected, list) and isinstance(found, list):
        return len(found) == len(expected) and all(map(same, found, expected))
    return bool(type(found) is type(expected) and found == expected) or (
        isinstance(found, int | float)
        and isinstance(expected, int | float)
        and not isinstance(found, bool)
        and not isinstance(expected, bool)
        and found == expected
    )


def check(served: Served, case: Any, expected: Any) -> None:
    for found in (
        served.decide(case["context"], case["defaults"]),
        served.decide_by_twin(case["context"], case["defaults"]),
    ):
        assert same(found, expected), (case, found, expected)


def results(case: Any) -> dict[str, int]:
    return {one["policyId"]: one["allocationIndex"] for one in case["edgeResults"] or []}


def test_every_feature_decision_with_given_edge_results() -> None:
    document = golden("bundle_features.json")
    for case in golden("expected_features.json")["testCases"]:
        check(Served(lower(document, edge_results=results(case))), case, case["expected"])


def test_every_feature_decision_from_the_servers_own_weights() -> None:
    served = Served(lower(golden("bundle_features.json"), golden("entity_weights_features.json")))
    for case in golden("expected_features.json")["testCases"]:
        check(served, case, case["expected"])


def test_every_decision_of_random_bundles() -> None:
    for group in golden("random_resolution.json")["sets"]:
        for case in group["cases"]:
            check(Served(lower(group["bundle"], edge_results=results(case))), case, case["expected"])


def test_every_decision_of_the_upstream_bundles() -> None:
    for group in golden("upstream_bundles_v2.json")["sets"]:
        document = golden(f"upstream/{group['bundle']}")
        weights = golden(f"upstream/{group['entityWeights']}") if group["entityWeights"] else None
        served = Served(lower(document, weights))
        for case in group["cases"]:
            check(Served(lower(document, edge_results=results(case))), case, case["expected"])
            if weights is not None:
                check(served, case, case["expected"])


def test_the_upstream_cases_that_sha256_left_as_they_were() -> None:
    served = Served(lower(golden("upstream/bundle_conditions.json")))
    for case in golden("upstream/expected_conditions.json")["testCases"]:
        defaults = case.get("defaults") or {one.key: None for one in served.lowered.parameters}
        assert served.decide(case["context"], defaults)["assignments"] == case["expectedAssignments"]
    kept = 0
    document = golden("upstream/bundle_edge_policies.json")
    for case in golden("upstream/expected_edge_policies.json")["testCases"]:
        if case["name"] in ("global_fallback_weights", "mixed_standard_and_edge"):
            continue
        served = Served(lower(document, edge_results=results(case)))
        defaults = case.get("defaults") or {one.key: None for one in served.lowered.parameters}
        assert served.decide(case["context"], defaults)["assignments"] == case["expectedAssignments"], case[
            "name"
        ]
        kept += 1
    assert kept


def condition_bundle(conditions: list[Any]) -> Any:
    allocations = [{"name": "all", "bucketRange": [0, 9], "overrides": {"matched": True}}]
    policy = {"id": "p", "state": "running", "kind": "static", "allocations": allocations}
    return {
        "version": "1",
        "orgId": "o",
        "projectId": "p",
        "env": "e",
        "hashing": {"unitKey": "unit", "bucketCount": 10},
        "parameters": [{"key": "matched", "type": "boolean", "default": False, "layerId": "l"}],
        "layers": [{"id": "l", "policies": [policy | {"conditions": conditions}]}],
    }


@pytest.mark.parametrize("case", golden("conditions.json")["cases"], ids=lambda case: case["name"])
def test_every_condition(case: Any) -> None:
    served = Served(lower(condition_bundle([case["condition"]])))
    expected = case["match"] and case["name"] not in LINEAR_TIME_ONLY
    context = case["context"] | {"unit": "u"}
    for decide in (served.decide, served.decide_by_twin):
        assert decide(context, {"matched": None})["assignments"] == {"matched": expected}


def hash_bundle(layer: str, count: int) -> Any:
    return {
        "version": "1",
        "orgId": "o",
        "projectId": "p",
        "env": "e",
        "hashing": {"unitKey": "unit", "bucketCount": count},
        "parameters": [],
        "layers": [{"id": layer, "policies": []}],
    }


def test_every_recorded_bucket() -> None:
    document = golden("hashing.json")
    pinned = [(one, one["bucketCount"], one["bucket"]) for one in document["pinnedByUpstreamTests"]]
    recorded = [
        (one, int(count), bucket)
        for one in document["assignment"]
        for count, bucket in one["buckets"].items()
    ]
    for one, count, bucket in pinned + recorded:
        served = Served(lower(hash_bundle(one["layerId"], count)))
        unit = {"unit": one["unitKeyValue"]}
        expected = bucket if one["unitKeyValue"] else -1
        for decide in (served.decide, served.decide_by_twin):
            assert [row["bucket"] for row in decide(unit, {})["layers"]] == [expected], one


def test_units_are_written_as_ecmascript_writes_them() -> None:
    served = Served(lower(hash_bundle("layer_ui", 1000)))
    for case in golden("unit_key_strings.json")["cases"]:
        context = {"unit": json.loads(case["jsonLiteral"])}
        for decide in (served.decide, served.decide_by_twin):
            found = decide(context, {})
            assert found["unitKeyValue"] == case["string"], case
            if case["string"]:
                assert found["layers"][0]["bucket"] == case["bucketLayerUi1000"], case


def edge_bundle(policy: str, count: int | None) -> Any:
    allocations = [{"name": f"a{n}", "bucketRange": [0, 0], "overrides": {}} for n in range(count or 0)]
    config: dict[str, Any] = {"entityKeys": ["x"], "resolutionMode": "edge"}
    if count is None:
        config["dynamicAllocations"] = {"countKey": "n"}
    made = {
        "id": policy,
        "state": "running",
        "kind": "adaptive",
        "allocations": allocations,
        "conditions": [],
        "entityConfig": config,
    }
    return hash_bundle("l", 1000) | {"layers": [{"id": "l", "policies": [made]}]}


def decisions() -> Iterator[tuple[Any, Any, int | None]]:
    weights = golden("entity_weights_features.json")
    for case in golden("decide.json")["cases"]:
        yield case, weights, case["allocationCount"]
        yield case, weights, None


def test_every_edge_decision_fixed_and_dynamic() -> None:
    for case, weights, count in decisions():
        served = Served(lower(edge_bundle(case["policyId"], count), weights))
        members = {
            "entityId": case["entityId"],
            "unitKeyValue": case["unitKeyValue"],
            "allocationCount": case["allocationCount"],
        }
        decision = served.record["edges"][case["policyId"]]["decision"]
        choice, _, vector = served.bundle.choose(decision, members, None, None)
        assert choice == case["allocationIndex"], case
        _, chosen = choose(served.lowered, decision, EvaluationContext(members))
        assert chosen.choice == case["allocationIndex"]
        if case["weightSource"] == "uniform":
            assert vector == -1
        else:
            assert served.bundle.vector(vector)[1] == case["weights"]


def test_every_weighted_selection() -> None:
    for case in golden("hashing.json")["weightedSelection"]:
        entity, unit, policy = case["seed"].rsplit(":", 2)
        weights = {policy: {"_global": {"weights": case["weights"]}, "entities": {}}}
        served = Served(lower(edge_bundle(policy, len(case["weights"])), weights))
        members = {"entityId": entity, "unitKeyValue": unit}
        decision = served.record["edges"][policy]["decision"]
        assert served.bundle.choose(decision, members, None, None)[0] == case["index"], case


@pytest.mark.parametrize(
    ("count", "known"),
    [
        (1, True),
        (10_000, True),
        (10_001, False),
        (1e21, False),
        (0.5, False),
        (-1, False),
        ("3", False),
        (True, False),
    ],
)
def test_dynamic_allocations_are_bounded(count: Any, known: bool) -> None:
    served = Served(lower(edge_bundle("p", None)))
    members = {"entityId": "e", "unitKeyValue": "u", "allocationCount": count}
    decision = served.record["edges"]["p"]["decision"]
    assert (served.bundle.choose(decision, members, None, None)[0] >= 0) is known
