"""`fanion diff` (docs/preview.md): which flags change, how, for how many, and what a pipeline doesn't let pass."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from fanion import Evaluator, app
from fanion.app.preview import Who, preview
from fanion.cli import diff, group
from fanion.config import Config
from fanion.definitions import DEMO, load
from fanion.dialects import vocabulary
from fanion.errors import ConfigError, StoreError
from fanion.preview import moves
from fanion.preview.contexts import MadeUp
from fanion.preview.report import Limit, Preview, read_limit

UNITS = 20_000
KEY = {"key": "sk_preview_key_0123456789", "name": "shop"}
FLAGS: dict[str, Any] = {
    "half": {
        "type": "boolean",
        "default_value": False,
        "rules": [{"id": "r", "value": True, "rollout_percentage": 50}],
    },
    "asks": {
        "type": "string",
        "default_value": "no",
        "rules": [{"id": "r", "value": "yes", "conditions": [{"flag": "half", "is": True}]}],
    },
    "rest": {"type": "number", "default_value": 1},
}
FEATURE = {
    "variables": {"colour": {"type": "string"}, "size": {"type": "number"}},
    "variations": {"small": {"colour": "red", "size": 1}, "large": {"colour": "blue", "size": 1}},
    "default_variation": "small",
}
FLAGD = {
    "flags": {
        "banner": {
            "state": "ENABLED",
            "variants": {"one": 1, "two": 2, "three": 3},
            "defaultVariant": "one",
            "targeting": {"if": [{"==": [{"var": "plan"}, "pro"]}, "two", None]},
        }
    }
}

Change = Callable[[dict[str, Any]], None]


def write(folder: Path, change: Change = lambda _: None, flagd: dict[str, Any] = FLAGD) -> Path:
    project: dict[str, Any] = json.loads(
        json.dumps(
            {
                "environments": {
                    "e": {"id": "env", "keys": [KEY], "sources": [{"format": "flagd", "path": "flags.json"}]}
                },
                "flags": FLAGS,
                "features": {"look": FEATURE},
            }
        )
    )
    change(project)
    folder.mkdir(exist_ok=True)
    (folder / "flags.json").write_text(json.dumps(flagd))
    (folder / "world.yaml").write_text(
        yaml.safe_dump({"fanion": 1, "organisations": {"o": {"projects": {"p": project}}}})
    )
    return folder / "world.yaml"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    app.publish(tmp_path / "data", load([write(tmp_path / "old")], vocabulary()), Config())
    return tmp_path / "data"


RED = "\x1b[31m"


def run(data: Path, path: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["diff", str(path), "--against", str(data), *arguments])


def seen(data: Path, path: Path, *arguments: str) -> dict[str, Any]:
    result = run(data, path, "--format", "json", "--units", str(UNITS), *arguments)
    assert result.exit_code == 0, result.output + str(result.exception)
    (found,) = json.loads(result.stdout)["environments"]
    return {**found, "flags": {f"{one['source']}:{one['key']}": one for one in found["flags"]}}


def test_made_up_units_have_an_id_of_their_own_in_an_attribute_that_lots_are_drawn_by(
    data: Path, tmp_path: Path
) -> None:
    def drawn(share: int) -> dict[str, Any]:
        rule = {"fractional": [{"cat": ["s", {"var": "company"}]}, ["one", share], ["two", 100 - share]]}
        return {"flags": {"banner": {**FLAGD["flags"]["banner"], "targeting": rule}}}

    app.publish(data, load([write(tmp_path / "old", flagd=drawn(50))], vocabulary()), Config())
    flag = seen(data, write(tmp_path / "new", flagd=drawn(60)))["flags"]["flagd:banner"]
    (move,) = flag["moves"]
    assert (move["from"], move["to"]) == ("two", "one")
    assert 0.01 < move["units"] / UNITS < 0.06  # a tenth of those that have an id, about a third


def test_recent_units_are_those_that_events_named_by_their_ids(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("duckdb")
    from tests.unit.result_rows import write_rows

    def grown(project: dict[str, Any]) -> None:
        project["flags"]["half"]["rules"][0]["rollout_percentage"] = 100

    path = write(tmp_path / "new", grown)
    sent = {"kind": "metric", "environment": "env", "metric": "m"}
    rows = [
        sent
        | {
            "unit": f"u{number % 50}",
            "event_at": 1_772_323_200_000_000 + number,
            "attributes": '{"plan":"pro"}',
        }
        for number in range(100)
    ]
    rows += [
        sent | {"unit": "ab" * 32, "unit_hashed": True, "event_at": 1_772_323_200_000_900},
        sent | {"unit": "x", "environment": "other", "event_at": 1_772_323_200_000_900},
    ]
    assert "no row names a unit by its id" in str(run(data, path, "--recent").exception)
    write_rows(data, rows)
    found = seen(data, path, "--recent", "--by", "plan")
    with Evaluator(data, "env") as before:
        moved = sum(not before.evaluate("half", {"targetingKey": f"u{number}"}).value for number in range(50))
    half = found["flags"]["native:half"]
    assert (half["units"], half["moved"], half["by"]) == (50, moved, {"plan": {"pro": [50, moved]}})
    assert found["asked"] == "50 units that events named last; none has anonymousId"


def test_a_process_that_ends_or_fails_ends_the_command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fanion.preview import moves

    def grown(project: dict[str, Any]) -> None:
        project["flags"]["rest"]["default_value"] = 2

    path = write(tmp_path / "new", grown)

    def killed(_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def failing(_: Any) -> Any:
        raise StoreError("it can't be opened")

    for asking, said in ((killed, "was ended"), (failing, "it can't be opened")):
        monkeypatch.setattr(moves, "Asking", asking)
        assert said in str(run(data, path, "--units", "100").exception)


def test_the_same_definitions_change_nothing_also_in_another_order(data: Path, tmp_path: Path) -> None:
    def turned(project: dict[str, Any]) -> None:
        project["flags"] = dict(reversed(project["flags"].items()))

    found = seen(data, write(tmp_path / "new", turned))
    assert (found["flags"], found["keys_lost"], found["unchanged"]) == ({}, [], 6)


def test_a_larger_share_moves_as_many_as_it_grows_and_nobody_the_other_way(
    data: Path, tmp_path: Path
) -> None:
    def grown(project: dict[str, Any]) -> None:
        project["flags"]["half"]["rules"][0]["rollout_percentage"] = 60

    flags = seen(data, write(tmp_path / "new", grown))["flags"]
    assert flags.keys() == {"native:half", "native:asks"}
    half, asks = flags["native:half"], flags["native:asks"]
    assert half["units"] == UNITS
    assert abs(half["moved"] / UNITS - 0.1) < 0.01
    assert half["moves"] == [{"from": "false", "to": "true", "units": half["moved"]}]
    assert asks["moves"] == [{"from": '"no"', "to": '"yes"', "units": half["moved"]}]
    assert not half["redrawn"]
    assert "- bucket -> 0..4999 5, else 6" in half["difference"]
    assert "+ bucket -> 0..5999 5, else 6" in half["difference"]


@pytest.mark.parametrize("processes", [1, 2])
def test_an_attribute_s_values_are_counted_over_all_units_and_the_most_frequent_are_said(
    data: Path, tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """50 values in each hundred that is counted at once."""

    def switched(project: dict[str, Any]) -> None:
        project["flags"]["half"]["rules"][0]["rollout_percentage"] = 100

    monkeypatch.setattr(moves, "CHUNK", 100)
    loaded = load([write(tmp_path / "new", switched)], vocabulary())
    each = [{"targetingKey": f"u{n}", "n": 7 if n % 3 == 0 else n % 50} for n in range(3_000)]
    who = Who(lambda _: each, "", len(each))
    (found,) = preview(data, loaded, Config(), who, ("n",), processes=processes)
    (half,) = [flag for flag in found.flags if flag.key == "half"]
    values = half.by["n"]
    assert len(values) == moves.VALUES_SHOWN_MAX
    assert [units for units, _ in values.values()] == [1_040] + [40] * (moves.VALUES_SHOWN_MAX - 1)
    assert next(iter(values)) == "7"


def test_another_seed_draws_everybody_anew(data: Path, tmp_path: Path) -> None:
    def reseeded(project: dict[str, Any]) -> None:
        project["flags"]["half"]["rules"][0]["id"] = "other"

    path = write(tmp_path / "new", reseeded)
    half = seen(data, path)["flags"]["native:half"]
    assert half["redrawn"]
    assert abs(half["moved"] / UNITS - 0.5) < 0.02
    given = ["diff", str(path), "--against", str(data), "--units", "100"]
    shown = CliRunner().invoke(group, given, color=True).stdout.splitlines()
    told = [line for line in shown if "everybody is drawn anew" in line]
    assert told
    assert [line for line in shown if line.startswith(RED)] == told


def test_who_moves_is_who_an_evaluation_says(data: Path, tmp_path: Path) -> None:
    def grown(project: dict[str, Any]) -> None:
        project["flags"]["half"]["rules"][0]["rollout_percentage"] = 75
        project["features"]["look"]["default_variation"] = "large"

    changed = json.loads(json.dumps(FLAGD))
    changed["flags"]["banner"]["targeting"]["if"][1] = "three"
    path = write(tmp_path / "new", grown, changed)
    contexts = [
        {"targetingKey": f"user-{number}", "plan": "pro" if number % 3 else "free"} for number in range(500)
    ]
    file = tmp_path / "contexts.ndjson.gz"
    file.write_bytes(gzip.compress("\n".join(map(json.dumps, contexts)).encode()))
    found = seen(data, path, "--contexts", str(file), "--by", "plan")
    app.publish(tmp_path / "after", load([path], vocabulary()), Config())
    with Evaluator(data, "env") as before, Evaluator(tmp_path / "after", "env") as after:
        for key in ("half", "asks", "banner", "colour"):
            moved = sum(before.evaluate(key, one).value != after.evaluate(key, one).value for one in contexts)
            (flag,) = (one for one in found["flags"].values() if one["key"] == key)
            assert (flag["moved"], flag["units"]) == (moved, 500), key
    assert found["flags"]["flagd:banner"]["by"]["plan"] == {"pro": [333, 333], "free": [167, 0]}
    assert found["asked"].startswith("500 contexts of ")


def test_new_and_lost_flags_and_keys_are_named(data: Path, tmp_path: Path) -> None:
    def other(project: dict[str, Any]) -> None:
        project["flags"]["more"] = {"type": "boolean", "default_value": True}
        del project["flags"]["rest"]
        project["environments"]["e"]["keys"] = [{"key": "sk_another_key_0123456789"}]

    path = write(tmp_path / "new", other)
    found = seen(data, path)
    assert {name: one["change"] for name, one in found["flags"].items()} == {
        "native:more": "new",
        "native:rest": "lost",
    }
    assert [name.split()[-1] for name in found["keys_lost"]] == ["shop"]
    text = run(data, path).output
    assert "native:rest is lost: whoever asks gets the caller's default" in text
    assert "shop stops working" in text


def test_a_running_experiment_whose_units_would_move_is_named(data: Path, tmp_path: Path) -> None:
    def tried(project: dict[str, Any]) -> None:
        project["flags"]["half"]["variants"] = [{"key": "on", "value": True}, {"key": "off", "value": False}]
        project["events"] = {"paid": {"type": "count"}}
        plan = {"flag": "half", "control": "off", "exposure": "served", "start": "2026-01-01T00:00:00Z"}
        project["experiments"] = {"checkout": {**plan, "metrics": {"paid": {"event": "paid"}}}}

    app.publish(data, load([write(tmp_path / "old", tried)], vocabulary()), Config())

    def grown(project: dict[str, Any]) -> None:
        tried(project)
        project["flags"]["half"]["rules"][0]["rollout_percentage"] = 60

    found = seen(data, write(tmp_path / "new", grown))
    assert found["flags"]["native:half"]["experiments"] == ["checkout"]


@pytest.mark.parametrize(
    ("limit", "beyond"),
    [
        ("unit-changes>1%", "native:half moves"),
        ("unit-changes>20%", ""),
        ("flags-redrawn>0", ""),
        ("flags-lost>0", "flags-lost>0: rest"),
    ],
)
def test_a_pipeline_stops_where_it_is_told_to(data: Path, tmp_path: Path, limit: str, beyond: str) -> None:
    def worse(project: dict[str, Any]) -> None:
        project["flags"]["half"]["rules"][0]["rollout_percentage"] = 60
        del project["flags"]["rest"]

    result = run(data, write(tmp_path / "new", worse), "--units", "2000", "--fail-on", limit)
    assert result.exit_code == (1 if beyond else 0)
    assert beyond in result.stderr


def test_limits_and_contexts_that_cannot_be_read_say_what_is_allowed(data: Path, tmp_path: Path) -> None:
    assert read_limit("unit-changes > 0.5%") == Limit("unit-changes", 0.005, "unit-changes > 0.5%")
    for text in ("unit-changes>1", "flags-lost>1%", "flags>0", "unit-changes<1%"):
        with pytest.raises(ConfigError, match="allowed: unit-changes>1%"):
            read_limit(text)

    def grown(project: dict[str, Any]) -> None:
        project["flags"]["rest"]["default_value"] = 2

    path, same = write(tmp_path / "new", grown), write(tmp_path / "same")
    file = tmp_path / "contexts"
    for line, said in (("[1]", "line 2: list; one object"), ("{", "line 2: not JSON")):
        file.write_text(f'{{"targetingKey":"a"}}\n{line}\n')
        for one in (path, same):  # also where no flag changed, and nobody has to be asked
            assert said in str(run(data, one, "--contexts", str(file)).exception)
        assert run(data, same, "--contexts", str(file), "--units", "1").exit_code == 0
    assert "--contexts and --recent" in run(data, path, "--contexts", str(file), "--recent").output


def test_what_an_override_hides_is_shown_and_the_override_is_named(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diff, "UNITS", 1000)
    assert (
        CliRunner().invoke(group, ["override", "set", "env", "half", "true", "--data", str(data)]).exit_code
        == 0
    )

    def grown(project: dict[str, Any]) -> None:
        project["flags"]["half"]["rules"][0]["rollout_percentage"] = 60

    assert seen(data, write(tmp_path / "new"))["flags"] == {}
    path = write(tmp_path / "new", grown)
    assert abs(seen(data, path)["flags"]["native:half"]["moved"] / UNITS - 0.1) < 0.01
    assert "env: half is overridden: true, until it is cleared" in run(data, path, "--units", "10").stderr
    asked = CliRunner().invoke(group, ["publish", str(path), "--data", str(data), "--preview"], input="n\n")
    assert "native:half: " in asked.output


def test_publish_shows_it_and_asks_first(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff, "UNITS", 1000)

    def grown(project: dict[str, Any]) -> None:
        project["flags"]["rest"]["default_value"] = 2

    path = str(write(tmp_path / "new", grown))
    for said, value in (("n\n", 1), ("y\n", 2)):
        result = CliRunner().invoke(group, ["publish", path, "--data", str(data), "--preview"], input=said)
        assert "native:rest: 1,000 of 1,000 units move (100.00 %)" in result.output
        assert result.exit_code == (0 if value == 2 else 1)
        with Evaluator(data, "env") as evaluator:
            assert evaluator.evaluate("rest", {}).value == value


def test_made_up_units_reach_what_rules_of_every_source_look_at(tmp_path: Path) -> None:
    """The demo world, from a directory that serves nothing, and from itself with each flag turned around."""
    loaded = load([DEMO], vocabulary())
    previews = preview(tmp_path, loaded, Config(), Who(None, "", 100))
    assert {flag.change for one in previews for flag in one.flags} == {"new"}
    app.publish(tmp_path / "data", loaded, Config())
    turned = [_turned(one) for one in loaded.environments]
    found: list[Preview] = preview(
        tmp_path / "data", type(loaded)(turned, *_rest(loaded)), Config(), Who(None, "", 5_000)
    )
    for one in found:
        assert one.flags
        for flag in one.flags:
            assert (flag.change, flag.units) == ("changed", 5_000), flag
            assert flag.moved, flag
    made = MadeUp({("a", "b"): [1], ("c",): ["x"]})
    contexts = list(made.contexts(0, 300))
    assert {json.dumps(one.get("a")) for one in contexts} == {'{"b": 1}', '{"b": "something else"}', "null"}
    assert contexts == list(made.contexts(0, 300))


def _rest(loaded: Any) -> list[Any]:
    return [getattr(loaded, name) for name in loaded.__struct_fields__[1:]]


def _turned(lowered: Any) -> Any:
    """Each parameter answers at every outcome what no other says."""
    import msgspec

    replace = msgspec.structs.replace
    parameters = [
        replace(
            one,
            answers=tuple(
                replace(answer, value='"other"', variant=None if number else "other")
                for number, answer in enumerate(one.answers)
            ),
        )
        for one in lowered.parameters
    ]
    return replace(lowered, parameters=tuple(parameters))
