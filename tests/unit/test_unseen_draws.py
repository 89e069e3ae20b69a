"""Draws that are to be recorded and leave no exposure are said by name when definitions are read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.dialects import vocabulary
from tests.unit.native_files import writer
from tests.unit.test_traffical_definitions import BUNDLE, POLICY, changed

LEAVES_NONE = "they leave no exposures, though its splits are to be recorded"
EDGE = {"entityKeys": ["x"], "resolutionMode": "edge"}
HALVES = [["on", 1], ["off", 1]]
WORKED_OUT = [["on", {"+": [1, 1]}], ["off", 1]]


def warnings(folder: Path, kind: str, document: Any, **exposures: Any) -> list[tuple[str, str]]:
    (folder / "other.json").write_text(json.dumps(document))
    environment = {
        "id": "e",
        "exposures": {"record": "splits", **exposures},
        "sources": [{"format": kind, "path": "other.json"}],
    }
    loaded = definitions.load([writer(folder)(environments={"e": environment})], vocabulary())
    return [
        (one.path.rpartition("p.environments")[2], one.found)
        for one in loaded.warnings
        if one.allowed == LEAVES_NONE
    ]


def flags(targeting: Any, hashing: str = "v2") -> Any:
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off"}
    return {"flags": {"half": {**flag, "targeting": targeting}}, "metadata": {"fractional": hashing}}


@pytest.mark.parametrize(
    "document",
    [
        flags({"fractional": WORKED_OUT}),
        flags({"fractional": HALVES}, "v3"),
        flags({"cat": [{"fractional": HALVES}]}),
        flags({"if": [{"==": [{"var": "plan"}, "pro"]}, {"fractional": WORKED_OUT}, "off"]}),
    ],
    ids=["weights", "v3", "within", "behind a condition"],
)
def test_a_fractional_that_has_to_be_computed_is_said(tmp_path: Path, document: Any) -> None:
    said = [(".e.exposures", "the draws by a fractional that has to be computed of 'half'")]
    assert warnings(tmp_path, "flagd", document) == said
    assert warnings(tmp_path, "flagd", document, record="experiments") == []
    assert warnings(tmp_path, "flagd", document, flags={"half": "off"}) == []


@pytest.mark.parametrize(
    "targeting",
    [
        {"fractional": HALVES},
        {"fractional": [{"var": "email"}, *HALVES]},
        {"fractional": [{"cat": [{"var": "$flagd.flagKey"}, {"var": "email"}]}, *HALVES]},
        {"if": [{"==": [{"var": "plan"}, "pro"]}, {"fractional": HALVES}, "off"]},
    ],
)
def test_one_that_is_seen_is_not(tmp_path: Path, targeting: Any) -> None:
    assert warnings(tmp_path, "flagd", flags(targeting)) == []


def test_edge_policies_and_dynamic_allocations_are_said(tmp_path: Path) -> None:
    assert warnings(tmp_path, "traffical", changed()) == []
    config = (*POLICY, "entityConfig")
    assert warnings(tmp_path, "traffical", changed((config, EDGE))) == [
        (".e.exposures", "the answers of /v1/decide of 'pol_1'")
    ]
    dynamic = changed((config, {**EDGE, "dynamicAllocations": {"countKey": "n"}}))
    said = "the dynamic allocations, which have no variants, of 'pol_1'"
    assert warnings(tmp_path, "traffical", dynamic) == [(".e.exposures", said)]
    stopped = changed((config, EDGE), ((*POLICY, "state"), "paused"))
    assert warnings(tmp_path, "traffical", stopped) == []
    assert BUNDLE["layers"][0]["policies"][0]["id"] == "pol_1"
