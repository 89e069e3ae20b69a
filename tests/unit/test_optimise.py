"""`fanion optimise` (docs/optimise.md): proposals from rows, and weights that are applied over the definitions."""

from __future__ import annotations

import json
import random
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import msgspec
import pytest
from click.testing import CliRunner, Result

from fanion import Evaluator, app
from fanion.app import overriding
from fanion.bundle.reader import BundleReader
from fanion.cli import group
from fanion.config import Config
from fanion.definitions import load
from fanion.definitions.sources.traffical.weighing import ranges
from fanion.dialects import vocabulary
from fanion.engine.evaluator import open_environment
from fanion.model.weights import PolicyWeights
from fanion.store.store import Store
from fanion.store.weights import read_weights

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")
pytest.importorskip("scipy")

from tests.unit.result_rows import Row, write_rows

GOLDEN = Path(__file__).parents[1] / "golden" / "traffical"
S, DAY = 1_000_000, 86_400 * 1_000_000
START = 1_772_323_200 * S
ENVIRONMENT = "org_1/proj_1/production"
RATES = {"pol_ad": {"low": 0.05, "mid": 0.1, "high": 0.4}, "pol_ent": {"v0": 0.4, "v1": 0.05}}
RATES["pol_edge"] = {"v0": 0.05, "v1": 0.4, "v2": 0.05}


def bundle() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GOLDEN / "bundle_features.json").read_text())
    return found | {"orgId": "org_1", "projectId": "proj_1", "env": "production"}


def publish(folder: Path, document: dict[str, Any] | None = None) -> Path:
    files = folder / "definitions"
    files.mkdir(exist_ok=True)
    (files / "shop.json").write_text(json.dumps(document or bundle()))
    weights = json.loads((GOLDEN / "entity_weights_features.json").read_text())
    (files / "shop.weights.json").write_text(json.dumps(weights))
    data = folder / "data"
    loaded = load(
        [files],
        vocabulary(),
        overrides=app.standing(data, Config()).overrides,
        weights=app.standing(data, Config()).weights,
    )
    app.publish(data, loaded, Config())
    return data


def rows(kind: str = "exposure", attributes: dict[str, str] | None = None, units: int = 900) -> list[Row]:
    made: list[Row] = []
    for policy, rates in RATES.items():
        for place, (name, rate) in enumerate(rates.items()):
            for number in range(units):
                at = START + number * S
                unit = f"{policy}-{name}-{number}"
                told = {"kind": kind, "flag": policy, "variant": name, "unit": unit, "event_at": at}
                if attributes is not None:
                    told["attributes"] = json.dumps(attributes)
                made.append(told)
                if (number * 37 + place) % 100 < rate * 100:
                    won = {"kind": "metric", "metric": "purchase", "unit": unit, "value": 1.0}
                    made.append(won | {"event_at": at + 60 * S, "event_id": f"{kind}-{unit}"})
    return [one | {"environment": ENVIRONMENT, "dialect": "traffical"} for one in made]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Published once, with rows."""
    folder = tmp_path_factory.mktemp("world")
    write_rows(publish(folder), rows())
    return folder


@pytest.fixture
def data(world: Path, tmp_path: Path) -> Path:
    shutil.copytree(world, tmp_path, dirs_exist_ok=True)
    return tmp_path / "data"


def optimise(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["optimise", *arguments, "--data", str(data)])


def proposed(data: Path, policy: str, *arguments: str) -> dict[str, Any]:
    done = optimise(data, policy, "--reward", "purchase", "--format", "json", *arguments)
    assert done.exit_code == 0, (done.output, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def shares(found: dict[str, Any], entity: str | None = None) -> dict[str, float]:
    return {one["allocation"]: one["proposed"] for one in found["shares"] if one["entity"] == entity}


def served(data: Path) -> tuple[dict[str, Any], bytes]:
    """The configuration, and all of the bundle."""
    with Store.open(data) as store, store.pin() as pinned:
        whole = bytes(pinned.bundle(ENVIRONMENT) or b"")
    return json.loads(dict(BundleReader(whole).documents())["traffical.config"]), whole


def policy_of(config: dict[str, Any], id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(
        policy for layer in config["layers"] for policy in layer["policies"] if policy["id"] == id
    )
    return found


def test_a_proposal_names_the_best_and_changes_nothing(data: Path) -> None:
    before = served(data)
    found = proposed(data, "pol_ad", "--floor", "0.05", "--holdout", "0.1")
    made = shares(found)
    assert made == pytest.approx({"low": 0.05, "mid": 0.05, "high": 0.9}, abs=1e-3)
    assert [one["units"] for one in found["shares"]] == [900] * 3
    assert [one["current"] for one in found["shares"]] == pytest.approx([0.3, 0.6, 0.1])
    assert served(data) == before
    table = optimise(data, "pol_ad", "--reward", "purchase").output
    assert "chance" in table
    assert "bucket ranges by purchase" in table


def test_ranges_of_an_adaptive_policy_follow_what_is_applied(data: Path) -> None:
    config, _ = served(data)
    made = shares(proposed(data, "pol_ad", "--apply"))
    changed, _ = served(data)
    spans = [one["bucketRange"] for one in policy_of(changed, "pol_ad")["allocations"]]
    assert [high - low + 1 for low, high in spans] == pytest.approx([10_000 * made[n] for n in made], abs=1.5)
    assert spans[0][0] == 0
    assert spans[-1][1] == 9_999
    assert all(one[1] + 1 == two[0] for one, two in pairwise(spans))
    assert changed["version"] != config["version"]
    policy_of(changed, "pol_ad")["allocations"] = policy_of(config, "pol_ad")["allocations"]
    assert changed | {"version": config["version"]} == config


def test_entities_of_the_bundle_keep_their_own_weights_until_they_have_units(data: Path) -> None:
    config, _ = served(data)
    found = proposed(data, "pol_ent", "--apply")
    state = served(data)[0]["entityState"]["pol_ent"]
    assert state["_global"]["weights"] == pytest.approx([0.99, 0.01], abs=1e-3)
    assert state["entities"] == config["entityState"]["pol_ent"]["entities"]
    assert "no entity has 500 units" in " ".join(found["notes"])


def test_edge_weights_are_applied_beside_a_document_that_stays(data: Path) -> None:
    config, whole = served(data)
    made = shares(proposed(data, "pol_edge", "--apply"))
    assert made["v1"] == max(made.values())
    after, changed = served(data)
    assert after == config
    assert changed != whole
    again = proposed(data, "pol_edge")
    assert {one["allocation"]: one["current"] for one in again["shares"]} == pytest.approx(made)


def test_an_entity_with_units_of_its_own_gets_weights_of_its_own(tmp_path: Path) -> None:
    data = publish(tmp_path)
    write_rows(data, rows("served", {"productId": "p-1"}) + rows("exposure"))
    found = proposed(data, "pol_ent", "--exposure", "served", "--apply")
    assert shares(found, "p-1") == pytest.approx({"v0": 0.99, "v1": 0.01}, abs=1e-3)
    assert served(data)[0]["entityState"]["pol_ent"]["entities"]["p-1"]["weights"][0] > 0.98


def test_a_publish_and_a_rollback_keep_what_was_applied(data: Path, tmp_path: Path) -> None:
    proposed(data, "pol_ad", "--apply")
    proposed(data, "pol_edge", "--apply")
    first, _ = served(data)
    newer = bundle() | {"version": "2026-09-09T00:00:00.000Z"}
    publish(tmp_path, newer)
    after, _ = served(data)
    assert policy_of(after, "pol_ad") == policy_of(first, "pol_ad")
    assert after["version"].startswith("2026-09-09T00:00:00.000Z+")
    assert CliRunner().invoke(group, ["rollback", "--data", str(data)]).exit_code == 0
    assert served(data)[0] == first


def test_weights_applied_after_a_publish_survive_going_back_to_the_one_before(
    data: Path, tmp_path: Path
) -> None:
    publish(tmp_path, bundle() | {"version": "2026-09-09T00:00:00.000Z"})
    proposed(data, "pol_ad", "--apply")
    new, _ = served(data)
    assert CliRunner().invoke(group, ["rollback", "--data", str(data)]).exit_code == 0
    back, _ = served(data)
    assert policy_of(back, "pol_ad") == policy_of(new, "pol_ad")


def test_a_policy_with_other_allocations_has_the_definitions_weights_and_a_warning(
    data: Path, tmp_path: Path
) -> None:
    proposed(data, "pol_ad", "--apply")
    newer = bundle() | {"version": "2026-09-09T00:00:00.000Z"}
    policy_of(newer, "pol_ad")["allocations"][0]["key"] = "lowest"
    files = tmp_path / "definitions"
    (files / "shop.json").write_text(json.dumps(newer))
    done = CliRunner().invoke(group, ["publish", str(files), "--data", str(data)])
    assert done.exit_code == 0, done.output
    assert "they don't count: they are of low, mid, high" in done.stderr
    spans = [one["bucketRange"] for one in policy_of(served(data)[0], "pol_ad")["allocations"]]
    assert spans == [[0, 2999], [3000, 8999], [9000, 9999]]
    publish(tmp_path, bundle())
    assert policy_of(served(data)[0], "pol_ad")["allocations"][0]["bucketRange"] != [0, 2999]


def test_clearing_serves_the_definitions_weights_again(data: Path) -> None:
    before = served(data)
    proposed(data, "pol_ad", "--apply")
    assert optimise(data, "pol_ad", "--clear").exit_code == 0
    assert served(data) == before
    again = optimise(data, "pol_ad", "--clear")
    assert again.exit_code == 1
    assert "no weights were applied" in str(again.exception)


def test_inspect_names_what_was_applied_to_an_environment(data: Path) -> None:
    asked = ["inspect", ENVIRONMENT, "--data", str(data)]
    assert "applied weights" not in CliRunner().invoke(group, asked).output
    proposed(data, "pol_ad", "--apply")
    assert (
        "applied weights of pol_ad: low 0.01, mid 0.01, high 0.98; since "
        in CliRunner().invoke(group, asked).output
    )


def test_floor_and_holdout_are_those_of_the_last_time_unless_they_are_given(data: Path) -> None:
    proposed(data, "pol_ad", "--floor", "0.1", "--holdout", "0.2", "--apply")
    found = proposed(data, "pol_ad")
    assert (found["floor"], found["holdout"]) == (0.1, 0.2)
    with Store.open(data) as store, store.pin() as pinned:
        assert read_weights(pinned, ENVIRONMENT)["pol_ad"].reward == "purchase"


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("pol_color", "it is static"),
        ("pol_ctx", "contextual model"),
        ("pol_dyn", "dynamic"),
        ("pol_gap_paused", "it is paused"),
        ("nothing", "there is no policy 'nothing'"),
    ],
)
def test_what_has_no_weights_to_propose_is_refused_with_the_reason(data: Path, policy: str, why: str) -> None:
    done = optimise(data, policy, "--reward", "purchase")
    assert done.exit_code == 1
    assert why in str(done.exception)


def test_open_windows_wait_and_nobody_is_no_proposal(data: Path) -> None:
    found = proposed(data, "pol_ad", "--window", "10m")
    assert sum(one["units"] for one in found["shares"]) < 2_700
    assert "window is open" in found["notes"][0]
    done = optimise(data, "pol_ad", "--reward", "purchase", "--exposure", "decided")
    assert done.exit_code == 1
    assert "no unit of pol_ad" in str(done.exception)


def test_the_evaluator_in_process_follows_without_a_restart(data: Path) -> None:
    with Evaluator(data, ENVIRONMENT) as evaluator:
        users = [{"userId": f"u-{n}"} for n in range(400)]
        key = policy_of(served(data)[0], "pol_ad")["allocations"][0]["overrides"]
        name = next(iter(key))

        def high() -> int:
            return sum(evaluator.evaluate(name, user).variant == "High" for user in users)

        before = high()
        proposed(data, "pol_ad", "--apply")
        assert before < 100
        assert high() > 350


# -- without compiling


def lay(data: Path, **policies: PolicyWeights) -> bytes:
    """Applied as they are; the bundle that comes of it."""
    with Store.open(data, write=True) as store:
        app.lay_overrides(store, weigh=lambda _, applied: {**applied, **policies})
    return served(data)[1]


def edge(first: float, at: float = 1e9, **entities: float) -> PolicyWeights:
    def three(one: float) -> tuple[float, ...]:
        return one, round(0.9 - one, 6), 0.1

    own = {entity: three(one) for entity, one in entities.items()}
    return PolicyWeights(("v2", "v0", "v1"), three(first), own, at)


def refuse(*_: object) -> NoReturn:
    raise AssertionError("it was compiled")


def test_edge_weights_are_put_into_the_bundle_and_answer_as_if_it_were_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [edge(0.1), edge(0.2, p1=0.3, neu=0.4), edge(0.3, p1=0.2, neu=0.5, ähnlich=0.1, zz=0.7)]
    homes = [tmp_path / "put", tmp_path / "compiled"]
    for home in homes:
        home.mkdir()
        publish(home)
    sizes = []
    for step in steps:
        with monkeypatch.context() as patched:
            patched.setattr(overriding, "compile_stored", refuse)
            put = lay(homes[0] / "data", pol_edge=step)
        with monkeypatch.context() as patched:
            patched.setattr(overriding, "grafted", lambda *_: None)
            compiled = lay(homes[1] / "data", pol_edge=step)
        open_environment(ENVIRONMENT, put).close()
        assert BundleReader(put).program() == BundleReader(compiled).program()
        assert BundleReader(put).tables() == BundleReader(compiled).tables()
        sizes.append(len(put))
    for at in range(20):
        again = lay(homes[0] / "data", pol_edge=msgspec.structs.replace(steps[-1], at=1e9 + at))
        assert len(again) < sizes[-1] + 2_000


def test_an_entity_that_goes_back_to_the_definitions_has_the_bundle_compiled(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lay(data, pol_edge=edge(0.2, p1=0.3, neu=0.4))
    found = lay(data, pol_edge=edge(0.2, p1=0.3))
    with monkeypatch.context() as patched:
        patched.setattr(overriding, "grafted", lambda *_: None)
        lay(data, pol_edge=edge(0.5, p1=0.3))
        compiled = lay(data, pol_edge=edge(0.2, p1=0.3))
    assert found == compiled


def test_an_override_of_a_policy_lies_over_its_applied_weights(data: Path) -> None:
    proposed(data, "pol_ad", "--apply")
    before = served(data)
    done = CliRunner().invoke(group, ["override", "set", ENVIRONMENT, "pol_ad", "low", "--data", str(data)])
    assert done.exit_code == 0, done.output
    assert [one["bucketRange"] for one in policy_of(served(data)[0], "pol_ad")["allocations"]] == [[0, 9_999]]
    assert lay(data, pol_edge=edge(0.2)) != before[1]
    assert [one["bucketRange"] for one in policy_of(served(data)[0], "pol_ad")["allocations"]] == [[0, 9_999]]
    assert (
        CliRunner().invoke(group, ["override", "clear", ENVIRONMENT, "pol_ad", "--data", str(data)]).exit_code
        == 0
    )
    assert served(data)[0] == before[0]


def test_ranges_fill_the_old_ones_place_whatever_the_weights() -> None:
    draw = random.Random(5)
    for _ in range(2_000):
        count = draw.randrange(2, 9)
        ends = sorted(draw.sample(range(1, 60), count))
        low = draw.randrange(100)
        spans = [(low + start, low + end - 1) for start, end in pairwise([0, *ends])]
        draw.shuffle(spans)
        weights = [draw.choice([0.0, draw.random(), draw.random() ** 8]) for _ in spans]
        weights[0] += 1e-6
        made = sorted(ranges(spans, weights))
        assert made[0][0] == low
        assert made[-1][1] == low + ends[-1] - 1
        assert all(one[1] + 1 == two[0] for one, two in pairwise(made))
        assert all(one[0] <= one[1] for one in made)
