"""Which splits definitions record, what tells a run from the next, and how outcomes say which they came through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion import definitions
from fanion.bundle import format as f
from fanion.bundle.compiler import compile_bundle
from fanion.bundle.format import Section
from fanion.bundle.reader import BundleReader
from fanion.bundle.splits import read_variants
from fanion.dialects import vocabulary
from fanion.engine.reference import evaluate
from fanion.model.context import EvaluationContext
from fanion.model.exposure import DOCUMENT, Terms
from fanion.model.program import Lowered, Outcome
from tests.unit.native_files import flag, problems, rule, writer
from tests.unit.test_experiment_definitions import TEXTS, experiment

IN_PRO = [{"attribute": "plan", "operator": "equals", "value": "pro"}]


def rollout(**members: Any) -> dict[str, Any]:
    return {"id": "r", "conditions": IN_PRO, "value": "n", "rollout_percentage": 40, **members}


def load(folder: Path, exposures: dict[str, Any] | None = None, *rules: Any, **members: Any) -> Lowered:
    said = {} if exposures is None else {"exposures": exposures}
    flags = {"checkout": flag(**TEXTS, rules=list(rules) or [rollout()]), "plain": flag(rules=[rule()])}
    path = writer(folder)(environments={"e": {"id": "e", **said}}, flags=flags, **members)
    (lowered,) = definitions.load([path], vocabulary()).environments
    return lowered


def reached(lowered: Lowered, key: str = "checkout", **context: Any) -> list[tuple[str, bool, str | None]]:
    """(flag, inside, variant) of each split that this context meets, by the bundle's own words."""
    (parameter,) = [one for one in lowered.parameters if one.key == key]
    members = {"userId": context.pop("userId")} if "userId" in context else {}
    number = evaluate(lowered, parameter.decision, EvaluationContext(members, context)).outcome
    nodes = lowered.decisions[parameter.decision].nodes
    end = [node for node in nodes if isinstance(node, Outcome)][number]
    bundle = BundleReader(compile_bundle(lowered, {}))
    place = next(at for at, node in enumerate(nodes) if node is end or node == end)
    first_node = bundle.row(Section.DECISIONS, f.DECISION, parameter.decision)[2]
    *_, first, count = bundle.row(Section.NODES, f.OUTCOME, first_node + place)
    variants = read_variants(bundle, first, count)
    return [
        (lowered.splits[one.split].flag, one.inside, variant)
        for one, variant in zip(end.reached, variants, strict=True)
    ]


def test_a_rollout_is_met_in_and_out_of_its_share_and_not_by_others(tmp_path: Path) -> None:
    lowered = load(tmp_path, {"record": "splits"})
    found = [reached(lowered, userId=f"u{n}", plan="pro") for n in range(200)]
    assert {tuple(one) for one in found} == {
        (("checkout", True, "new"),),
        (("checkout", False, "control"),),
    }
    assert 50 < sum(one[0][1] for one in found) < 110
    assert reached(lowered, userId="u1", plan="free") == []
    assert reached(lowered, plan="pro") == []
    assert reached(lowered, userId="", plan="pro") == []
    assert reached(lowered, "plain", userId="u1") == []


def test_whom_a_later_rule_takes_was_met_by_the_split_before_it(tmp_path: Path) -> None:
    lowered = load(tmp_path, {"record": "splits"}, rollout(), rule(id="s", value="", conditions=IN_PRO))
    found = {tuple(reached(lowered, userId=f"u{n}", plan="pro")) for n in range(50)}
    assert found == {(("checkout", True, "new"),), (("checkout", False, "off"),)}


@pytest.mark.parametrize(
    ("exposures", "tried", "recorded"),
    [
        (None, False, False),
        (None, True, True),
        ({"record": "off"}, True, False),
        ({"record": "splits"}, False, True),
        ({"record": "splits", "flags": {"checkout": "off", "plain": "off"}}, True, False),
        ({"flags": {"checkout": "splits"}}, False, True),
    ],
)
def test_the_environment_says_which_splits_are_recorded(
    tmp_path: Path, exposures: dict[str, Any] | None, tried: bool, recorded: bool
) -> None:
    members: dict[str, Any] = {"events": {"paid": {}}}
    if tried:
        members["experiments"] = {"copy": experiment()}
    lowered = load(tmp_path, exposures, **members)
    assert (reached(lowered, userId="u", plan="pro") != []) is recorded
    assert (DOCUMENT in lowered.documents) is recorded


def run_of(folder: Path, *rules: Any) -> str:
    return load(folder, {"record": "splits"}, *rules).splits[0].run


def test_a_change_of_shares_salt_or_rules_is_another_run_and_one_of_names_is_not(tmp_path: Path) -> None:
    first = run_of(tmp_path)
    others = [
        run_of(tmp_path, rollout(rollout_percentage=41)),
        run_of(tmp_path, rollout(id="salt")),
        run_of(tmp_path, rollout(conditions=[])),
        run_of(tmp_path, rule(id="s", value="", conditions=IN_PRO), rollout()),
    ]
    assert len({first, *others}) == 5
    assert run_of(tmp_path, rollout(name="Another name")) == first == run_of(tmp_path)
    assert len(first) == 32


def test_attributes_travel_up_to_eight(tmp_path: Path) -> None:
    names = {f"a{n}": "text" for n in range(8)}
    lowered = load(tmp_path, {"record": "splits", "attributes": names, "assigned": True})
    terms = msgspec.json.decode(lowered.documents[DOCUMENT], type=Terms)
    assert terms == Terms(names, assigned=True)  # type: ignore[arg-type]
    said = {"attributes": {**names, "a8": "text"}}
    path = writer(tmp_path)(environments={"e": {"id": "e", "exposures": said}})
    assert problems(path) == [("environments.e.exposures.attributes", "9 attributes", "at most 8")]
