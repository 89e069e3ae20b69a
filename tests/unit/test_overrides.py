"""Overrides (docs/overrides.md): an answer in a flag's place, of every source, in every API, over every publish."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from fanion import Evaluator, app
from fanion.app import compiling, overriding
from fanion.app.compiling import compile_environment
from fanion.bundle.reader import BundleReader
from fanion.cli import group
from fanion.config import Config
from fanion.definitions import DEMO, load
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError, StoreError
from fanion.model.override import TOLD_MAX, Override, Overrides
from fanion.model.program import Lowered
from fanion.store.replacement import replace_bundles
from fanion.store.store import Store

ENVIRONMENT, ACME = "env_01hx", "org_acme/proj_marketplace/production"
WORLD: dict[str, Any] = {
    "shop": {
        "type": "string",
        "default_value": "plain",
        "variants": [{"key": "a", "value": "plain"}, {"key": "b", "value": "bold"}],
        "rules": [{"id": "r", "value": "bold", "rollout_percentage": 50}],
    },
    "off": {
        "type": "boolean",
        "enabled": False,
        "default_value": False,
        "variants": [{"key": "on", "value": True}, {"key": "off", "value": False}],
        "rules": [{"id": "r", "value": True}],
    },
    "asks": {
        "type": "number",
        "default_value": 1,
        "rules": [{"id": "r", "value": 2, "conditions": [{"flag": "off", "is": True}]}],
    },
    "typed": {"type": "json", "default_value": {"a": 1}},
}
FEATURE = {
    "variables": {"colour": {"type": "string"}, "size": {"type": "number"}},
    "variations": {"small": {"colour": "red", "size": 1}, "large": {"colour": "blue", "size": 2}},
    "default_variation": "small",
}
FLAGD = {
    "flags": {
        "banner": {
            "state": "DISABLED",
            "variants": {"one": 1, "two": 2},
            "defaultVariant": "one",
            "targeting": {"fractional": [["one", 50], ["two", 50]]},
        }
    }
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Native flags, and flagd's."""
    publish(tmp_path)
    return tmp_path / "data"


@pytest.fixture
def demo(tmp_path: Path) -> Path:
    """The demo world, of four sources."""
    app.publish(tmp_path / "demo", load([DEMO], vocabulary()), Config())
    return tmp_path / "demo"


def publish(folder: Path, **flags: Any) -> int:
    environment = {"id": "env", "sources": [{"format": "flagd", "path": "flags.json"}]}
    project = {"environments": {"e": environment}, "flags": {**WORLD, **flags}, "features": {"look": FEATURE}}
    (folder / "flags.json").write_text(json.dumps(FLAGD))
    path = folder / "world.yaml"
    path.write_text(yaml.safe_dump({"fanion": 1, "organisations": {"o": {"projects": {"p": project}}}}))
    standing = app.standing(folder / "data", Config()).overrides
    return app.publish(folder / "data", load([path], vocabulary(), overrides=standing), Config())


def run(data: Path, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["override", *arguments, "--data", str(data)])


def lay(data: Path, environment: str, flag: str, answer: str, *options: str) -> None:
    result = run(data, "set", environment, flag, answer, *options)
    assert result.exit_code == 0, result.output + str(result.exception)


def answers(data: Path, environment: str, flag: str, context: str = '{"userId":"u"}') -> dict[str, str]:
    """What each API says, as `fanion eval` has it."""
    result = CliRunner().invoke(group, ["eval", environment, flag, context, "--data", str(data)])
    assert result.exit_code == 0, result.output + str(result.exception)
    lines = (line.split(": ", 1) for line in result.output.splitlines() if not line.startswith(" "))
    return {line[0]: line[1] for line in lines if len(line) == 2}


def value(data: Path, flag: str) -> Any:
    with Evaluator(data, "env") as evaluator:
        return evaluator.evaluate(flag, {"targetingKey": "u"}).value


def documents(data: Path, environment: str) -> dict[str, bytes]:
    with Store.open(data) as store, store.pin() as pinned:
        return {
            name: bytes(content)
            for name, content in BundleReader(pinned.bundle(environment) or b"").documents()
        }


def test_everyone_gets_the_variant_in_every_api_with_its_word_for_a_fixed_answer(demo: Path) -> None:
    data = demo
    lay(data, ENVIRONMENT, "checkout-copy", "b")
    found = answers(data, ENVIRONMENT, "checkout-copy")
    assert found["feather"].startswith('{"value":"variant-b","reason":"DEFAULT","variant":"b"')
    assert '"value":"variant-b"' in found["ofrep"]
    assert '"reason":"STATIC","variant":"b"' in found["ofrep"]
    lay(data, ENVIRONMENT, "checkout", "variant-a")
    found = answers(data, ENVIRONMENT, "checkout-flow", '{"userId":"u","email":"x@y.z"}')
    assert '"value":"one-page","variation":"variant-a","reason":"feature_complete"' in found["redpennon"]
    lay(data, ENVIRONMENT, "my-flag", "control")
    found = answers(
        data, ENVIRONMENT, "my-flag", '{"contexts":[{"type":"user","key":"user-123","attributes":{}}]}'
    )
    assert found["stitchd"].startswith('{"variant_key":"control","is_enabled":true')


def test_a_flag_that_is_off_answers_and_who_asks_it_sees_the_answer(data: Path) -> None:
    assert (value(data, "off"), value(data, "asks"), value(data, "banner")) == (False, 1, None)
    lay(data, "env", "off", "on")
    lay(data, "env", "banner", "two")
    assert (value(data, "off"), value(data, "asks"), value(data, "banner")) == (True, 2, 2)


def test_a_value_that_no_variant_has_is_served_where_flags_have_values_of_their_own(data: Path) -> None:
    lay(data, "env", "shop", "loud and clear")
    lay(data, "env", "asks", "7.5")
    lay(data, "env", "typed", '{"b":[2]}')
    assert (value(data, "shop"), value(data, "asks"), value(data, "typed")) == (
        "loud and clear",
        7.5,
        {"b": [2]},
    )
    assert '"variant":"' not in answers(data, "env", "shop")["feather"]


def test_all_variables_of_a_feature_are_its_variation_s(data: Path) -> None:
    lay(data, "env", "look", "large")
    assert (value(data, "colour"), value(data, "size")) == ("blue", 2)


@pytest.mark.parametrize(
    ("flag", "answer", "said"),
    [
        ("nope", "x", "no flag 'nope'; allowed: a flag of the environment"),
        ("off", "maybe", "'maybe'; allowed: true or false, as the flag's values are, or one of 'off', 'on'"),
        ("asks", '"two"', "allowed: a number"),
        ("typed", "[1]", "allowed: an object"),
        ("banner", "three", "'three'; allowed: one of 'one', 'two'"),
        ("look", "huge", "'huge'; allowed: one of 'large', 'small'"),
        # What no definition may have was served to every client.
        ("asks", "9" * 400, "whole numbers of 64 bits"),
        ("asks", "9223372036854775808", "whole numbers of 64 bits"),
        ("typed", '{"a":%s}' % ("9" * 400), "whole numbers of 64 bits"),
        ("typed", '{"a":%s}' % ("[" * 80 + "]" * 80), "at most 64 levels"),
        ("typed", '{"a":1,"a":2}', "an object, as the flag's values are"),
        ("typed", '{"a":NaN}', "an object, as the flag's values are"),
    ],
)
def test_what_cannot_be_laid_is_refused_and_nothing_changes(
    data: Path, flag: str, answer: str, said: str
) -> None:
    with Store.open(data) as store:
        before = store.generation()
    result = run(data, "set", "env", flag, answer)
    assert isinstance(result.exception, DefinitionError)
    assert said in str(result.exception)
    with Store.open(data) as store:
        assert store.generation() == before
    assert run(data, "list", "--format", "json").output == '{"overrides":[]}\n'


def test_a_parameter_and_a_policy_are_fixed_for_clients_that_decide_by_themselves_too(demo: Path) -> None:
    data = demo
    lay(data, ACME, "pricing.discount_pct", "25")
    lay(data, ACME, "policy_color_test", "treatment")
    config = json.loads(documents(data, ACME)["traffical.config"])
    by_key = {one["key"]: one["default"] for one in config["parameters"]}
    assert by_key["pricing.discount_pct"] == 25
    (policy,) = config["layers"][0]["policies"]
    (allocation,) = policy["allocations"]
    assert (allocation["key"], allocation["bucketRange"]) == ("treatment", [0, 9999])
    assert "pricing.discount_pct" not in allocation["overrides"]
    for user in range(8):
        context = json.dumps({"userId": f"u{user}"})
        assert answers(data, ACME, "pricing.discount_pct", context)["traffical"] == "25"
        assert answers(data, ACME, "checkout.button.color", context)["traffical"] == '"#00AA55"'


def test_neither_a_publish_nor_a_rollback_ends_it_and_clearing_gives_what_is_defined(
    data: Path, tmp_path: Path
) -> None:
    plain = documents(data, "env")
    lay(data, "env", "off", "on", "--why", "it burns", "--by", "ada")
    publish(tmp_path, more={"type": "boolean", "default_value": True})
    assert (value(data, "off"), value(data, "more")) == (True, True)
    rolled = CliRunner().invoke(group, ["rollback", "--data", str(data)])
    assert "env: off is overridden: on, until it is cleared (it burns)" in rolled.stderr
    assert value(data, "off") is True
    assert documents(data, "env") != plain
    assert run(data, "clear", "env", "off").exit_code == 0
    assert value(data, "off") is False
    assert documents(data, "env") == plain
    log = json.loads(run(data, "list", "--log", "--format", "json").output)["log"]
    assert [(one["change"], one["override"]["by"], one["override"]["why"]) for one in log] == [
        ("set", "ada", "it burns"),
        ("cleared", "ada", "it burns"),
    ]


def test_a_publish_without_the_flag_says_that_the_override_changes_nothing(
    data: Path, tmp_path: Path
) -> None:
    lay(data, "env", "typed", "{}")
    world = yaml.safe_load((tmp_path / "world.yaml").read_text())
    del world["organisations"]["o"]["projects"]["p"]["flags"]["typed"]
    (tmp_path / "world.yaml").write_text(yaml.safe_dump(world))
    paths = [str(tmp_path / "world.yaml"), "--data", str(data)]
    told = CliRunner().invoke(group, ["publish", *paths]).stderr
    assert "typed is overridden: {}, until it is cleared, which changes nothing: no flag 'typed'" in told
    publish(tmp_path)
    assert value(data, "typed") == {}


def test_checking_against_a_directory_says_what_publishing_there_would_and_stores_nothing(
    data: Path, tmp_path: Path
) -> None:
    lay(data, "env", "typed", "{}", "--why", "it burns")
    given = ["check", str(tmp_path / "world.yaml"), "--against", str(data)]
    checked = CliRunner().invoke(group, given)
    assert (
        checked.exit_code,
        "typed is overridden: {}, until it is cleared (it burns)" in checked.stderr,
    ) == (0, True)
    world = yaml.safe_load((tmp_path / "world.yaml").read_text())
    project = world["organisations"]["o"]["projects"]["p"]
    del project["flags"]["typed"]
    (tmp_path / "world.yaml").write_text(yaml.safe_dump(world))
    checked = CliRunner().invoke(group, given)
    assert checked.exit_code == 0, checked.output
    assert "which changes nothing: no flag 'typed'" in checked.stderr
    assert "flags would go: typed" in checked.stderr
    project["flags"].clear()
    (tmp_path / "world.yaml").write_text(yaml.safe_dump(world))
    checked = CliRunner().invoke(group, given)
    assert checked.exit_code == 1
    assert "more than a quarter needs --yes" in str(checked.exception) + checked.stderr
    assert value(data, "typed") == {}
    assert CliRunner().invoke(group, [*given[:-1], str(tmp_path / "nowhere")]).exit_code == 1


def test_it_is_over_when_its_time_is(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lay(data, "env", "off", "on", "--for", "1h")
    with Store.open(data, write=True) as store:
        assert app.lay_overrides(store).generation is None
        now = overriding.look_at(data)

        class Later:
            cautious = now.cautious + 3_601

        monkeypatch.setattr(overriding, "look_at", lambda _: Later)
        assert app.lay_overrides(store).generation is not None
    assert value(data, "off") is False
    assert json.loads(run(data, "list", "--log", "--format", "json").output)["log"][-1]["change"] == "ended"


def test_of_one_source_alone_where_several_have_the_key(data: Path) -> None:
    result = run(data, "set", "env", "banner", "two", "--source", "native")
    assert "no flag 'banner' of native" in str(result.exception)
    lay(data, "env", "banner", "two", "--source", "flagd")
    assert value(data, "banner") == 2
    assert isinstance(run(data, "clear", "env", "off").exception, StoreError)


def test_a_publish_that_read_the_overrides_before_a_change_is_laid_anew(data: Path, tmp_path: Path) -> None:
    standing = app.standing(data, Config()).overrides
    loaded = load([tmp_path / "world.yaml"], vocabulary(), overrides=standing)
    lay(data, "env", "off", "on")
    app.publish(data, loaded, Config())
    assert value(data, "off") is True


def test_only_the_environment_that_it_lies_over_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environments = {name: {"id": name} for name in ("one", "two", "three")}
    project = {"environments": environments, "flags": WORLD}
    path = tmp_path / "world.json"
    path.write_text(json.dumps({"fanion": 1, "organisations": {"o": {"projects": {"p": project}}}}))
    app.publish(tmp_path / "data", load([path], vocabulary()), Config())
    compiled = []

    def noted(lowered: Lowered, *rest: Any) -> bytes:
        compiled.append(lowered.environment)
        return compile_environment(lowered, *rest)

    monkeypatch.setattr(compiling, "compile_environment", noted)
    lay(tmp_path / "data", "two", "shop", "bold")
    assert compiled == ["two"]
    assert "bold" in answers(tmp_path / "data", "two", "shop")["feather"]


def test_a_bundle_that_was_published_meanwhile_is_not_replaced(data: Path) -> None:
    with Store.open(data, write=True) as store, pytest.raises(StoreError, match="published meanwhile"):
        replace_bundles(store.transactions, 99, {"env": b""})


def test_nothing_is_recorded_of_a_split_that_nobody_draws_at(data: Path, tmp_path: Path) -> None:
    def splits() -> set[str]:
        given = app.standing(data, Config()).overrides
        loaded = load([tmp_path / "world.yaml"], vocabulary(), overrides=given)
        return {split.flag for one in loaded.environments for split in one.splits}

    world = yaml.safe_load((tmp_path / "world.yaml").read_text())
    project = world["organisations"]["o"]["projects"]["p"]
    project["environments"]["e"]["exposures"] = {"record": "splits"}
    (tmp_path / "world.yaml").write_text(yaml.safe_dump(world))
    assert "shop" in splits()
    lay(data, "env", "shop", "a")
    assert "shop" not in splits()


def test_the_log_is_bounded_and_an_override_of_the_same_flag_takes_the_place() -> None:
    overrides = Overrides()
    for number in range(TOLD_MAX + 5):
        overrides = overrides.with_one("e", Override("f", str(number), since=float(number)))
    assert len(overrides.told) == TOLD_MAX
    assert [one.answer for one in overrides.of("e", 0.0)] == [str(TOLD_MAX + 4)]
    assert msgspec.json.decode(msgspec.json.encode(overrides), type=Overrides) == overrides


def test_every_order_of_overrides_is_the_same_bundle(data: Path, tmp_path: Path) -> None:
    made = set()
    for order in itertools.permutations([("off", "on"), ("shop", "b"), ("look", "large")]):
        given = {"env": [Override(flag, answer, since=0.0) for flag, answer in order]}
        loaded = load([tmp_path / "world.yaml"], vocabulary(), overrides=given)
        (lowered,) = loaded.environments
        made.add((loaded.laid["env"], app.compiling.compile_environment(lowered, app.renderers())))
    assert len(made) == 1
