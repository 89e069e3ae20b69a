"""What is refused and warned about in flagd's flag sets, and what comes of them (docs/apis/flagd.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from fanion.cli import check, eval_, publish
from fanion.definitions import load, load_stored
from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.limits import TEXT_BYTES_MAX, VARIANTS_MAX
from fanion.definitions.reading.report import Report
from fanion.definitions.reading.values import shown
from fanion.definitions.sources.flagd.files import KEY_CHARS_MAX, METADATA_MAX, FlagSetReader
from fanion.definitions.sources.flagd.lowering import lower, lower_flag
from fanion.definitions.sources.flagd.source import parse, recognises
from fanion.definitions.sources.flagd.targeting import RULES_MAX
from fanion.definitions.sources.format import SourceFile
from fanion.dialects import vocabulary
from fanion.engine.reference import evaluate
from fanion.errors import DefinitionError
from fanion.model import shape
from fanion.model.program import Answer, Cause, Resolution

ON_OFF = {"on": True, "off": False}
NAME = "flags.flagd.json"


def flag(targeting: Any = None, **members: Any) -> dict[str, Any]:
    found = {"state": "ENABLED", "variants": ON_OFF, "defaultVariant": "off", **members}
    return found if targeting is None else {**found, "targeting": targeting}


def read(document: Any) -> Report:
    report = Report()
    parse(SourceFile(NAME, json.dumps(document).encode()), report)
    return report


def told(problems: list[Any]) -> set[tuple[str, str, str]]:
    return {(one.path, one.found, one.allowed) for one in problems}


def refused(document: Any) -> set[tuple[str, str, str]]:
    return told(read(document).problems)


def refused_rule(rule: Any) -> set[tuple[str, str, str]]:
    return refused({"flags": {"f": flag(rule)}})


def answered(document: Any, key: str, context: dict[str, Any] | None = None) -> Answer:
    """What the twin answers."""
    report, builder = Report(), Builder("env")
    found = parse(SourceFile(NAME, json.dumps(document).encode()), report)
    assert found is not None, told(report.problems)
    lower(found, SourceFile(NAME, b""), builder, report)
    lowered = builder.finish()
    attributes = dict(context or {})
    asked = lowered.shapes["flagd"].context(attributes.pop("targetingKey", None), attributes)
    parameter = next(one for one in lowered.parameters if one.key == key)
    return parameter.answers[evaluate(lowered, parameter.decision, asked).outcome]


# -- what is refused


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], ("document", "a list", "an object with flags")),
        ({}, ("flags", "nothing", "flags by key, or a list of them")),
        ({"flags": 1}, ("flags", "1", "flags by key, or a list of them")),
        ({"flags": {"f": 1}}, ("flags.f", "1", "a flag: an object with state and variants")),
        ({"flags": {"f": flag(state="on")}}, ("flags.f.state", "'on'", "ENABLED or DISABLED")),
        ({"flags": {"f": flag(variants={})}}, ("flags.f.variants", "none", "at least one value by name")),
        (
            {"flags": {"f": flag(variants={"off": 1, "b": "x"})}},
            ("flags.f.variants.b", "'x'", "a number, as the first variant is"),
        ),
        (
            {"flags": {"f": flag(variants={"off": [1]})}},
            ("flags.f.variants.off", "a list", "true or false, text, a number or an object"),
        ),
        (
            {"flags": {"f": flag(defaultVariant="gone")}},
            ("flags.f.defaultVariant", "'gone'", "null, or one of 'off', 'on'"),
        ),
        (
            {"flags": {"f": flag(metadata={"a": None})}},
            ("flags.f.metadata.a", "null", "true or false, text or a number"),
        ),
        ({"flags": {}, "metadata": {"fractional": "v1"}}, ("metadata.fractional", "'v1'", "v2 or v3")),
        ({"flags": {}, "metadata": {"clientSafe": "no"}}, ("metadata.clientSafe", "'no'", "true or false")),
        ({"flags": {}, "metadata": {"clientSafe": 0}}, ("metadata.clientSafe", "0", "true or false")),
        ({"flags": {}, "metadata": {"clientSafe": 1.0}}, ("metadata.clientSafe", "1.0", "true or false")),
        (
            {"flags": {"f": flag(variants={"on": 1.5, "off": 10**309})}},
            ("flags.f.variants.off", shown(10**309), "whole numbers of 64 bits"),
        ),
        ({"flags": [flag()]}, ("flags[0]", "an object", "a key")),
        (
            {"flags": [flag(key="a"), flag(key="a")]},
            ("flags[1].key", "'a' again", "each key once"),
        ),
        ({"flags": {}, "$evaluators": 1}, ("$evaluators", "1", "rules by name")),
        (
            {"flags": {}, "$evaluators": {"a": {"!": {"$ref": "b"}}, "b": True}},
            (
                "$evaluators.a['!']['$ref']",
                "a reference within $evaluators",
                "operations: references don't nest",
            ),
        ),
    ],
)
def test_what_is_wrong_is_refused_with_its_path(document: Any, problem: tuple[str, str, str]) -> None:
    assert problem in refused(document)


@pytest.mark.parametrize(
    ("rule", "path", "found"),
    [
        (
            {"if": [{"frobnicate": [1]}, "on"]},
            "flags.f.targeting.if[0].frobnicate",
            "the operation 'frobnicate'",
        ),
        ({"if": [{"==": 1, "!=": 2}, "on"]}, "flags.f.targeting.if[0]", "an object of 2 members"),
        ({"if": [{}, "on"]}, "flags.f.targeting.if[0]", "an empty object"),
        ("on", "flags.f.targeting", "'on'"),
        ({"var": "$flagd.flagkey"}, "flags.f.targeting.var", "'$flagd.flagkey'"),
        ({"var": True}, "flags.f.targeting.var", "true"),
        ({"==": [{"var": "a"}, 2**53 + 1]}, "flags.f.targeting['=='][1]", str(2**53 + 1)),
        (
            {"reduce": [[1], {"var": "other"}, 0]},
            "flags.f.targeting.reduce[1].var",
            "'other'",
        ),
        ({"!": {"$ref": 1}}, "flags.f.targeting['!']['$ref']", "1"),
    ],
)
def test_a_rule_that_no_evaluator_runs_is_refused_with_its_path(rule: Any, path: str, found: str) -> None:
    assert (path, found) in {(one[0], one[1]) for one in refused_rule(rule)}


def test_everything_that_is_wrong_is_said_at_once() -> None:
    rule = {"if": [{"one": 1}, {"two": 2}]}
    assert len(refused({"flags": {"a": flag(rule), "b": flag(state=1), "c": flag({"three": 3})}})) == 4


def test_limits_hold_at_the_bound_and_not_beyond() -> None:
    names = {f"v{number}": number for number in range(VARIANTS_MAX)}
    fine = {
        "variants": flag(variants=names, defaultVariant="v0"),
        "metadata": flag(metadata={f"m{number}": 1 for number in range(METADATA_MAX)}),
        "k" * KEY_CHARS_MAX: flag(),
        "text": flag({"==": [{"var": "a"}, "x" * TEXT_BYTES_MAX]}),
        "rules": flag({"in": [{"var": "a"}, [1] * (RULES_MAX - 4)]}),
    }
    assert refused({"flags": fine}) == set()
    for beyond in (
        flag(variants=names | {"one more": 1}, defaultVariant="v0"),
        flag(metadata={f"m{number}": 1 for number in range(METADATA_MAX + 1)}),
        flag({"==": [{"var": "a"}, "x" * (TEXT_BYTES_MAX + 1)]}),
        flag({"in": [{"var": "a"}, [1] * (RULES_MAX - 3)]}),
    ):
        assert len(refused({"flags": {"f": beyond}})) == 1
    assert len(refused({"flags": {"k" * (KEY_CHARS_MAX + 1): flag()}})) == 1


def test_rules_that_would_take_too_many_nodes_are_computed_as_a_whole() -> None:
    names = {f"v{number}": number for number in range(100)}
    rule = {"or": [{"var": f"a{number}"} for number in range(300)]}
    given = flag(rule, variants=names, defaultVariant="v0")
    assert answered({"flags": {"f": given}}, "f", {"a299": "v7"}).variant == "v7"
    report = Report()
    found = parse(SourceFile(NAME, json.dumps({"flags": {"f": given}}).encode()), report)
    assert found is not None
    nodes, _ = lower_flag(Builder("env"), found.flags[0])
    assert len(nodes) < 300


def test_nesting_is_bounded() -> None:
    rule: Any = {"var": "a"}
    for _ in range(31):
        rule = {"!": [rule]}
    assert refused_rule(rule) == set()
    for _ in range(40):
        rule = {"!": [rule]}
    assert {one[1] for one in refused_rule(rule)} == {"nesting too deep"}


def test_a_computation_beyond_the_limits_of_steps_is_refused() -> None:
    rule: Any = 1
    for _ in range(40):
        rule = {"+": [1, rule]}
    report, builder = Report(), Builder("env")
    document = {"flags": {"f": flag({"if": [rule, "on"]})}}
    found = parse(SourceFile(NAME, json.dumps(document).encode()), report)
    assert found is not None
    lower(found, SourceFile(NAME, b""), builder, report)
    assert [(one.path, one.allowed) for one in report.problems] == [
        ("flags.f.targeting", "shorter, less nested rules")
    ]


# -- what is warned about


def test_what_evaluators_give_an_answer_to_is_a_warning() -> None:
    document = {
        "flags": {
            "ref": flag({"if": [{"$ref": "gone"}, "on"]}),
            "few": flag({"starts_with": ["abc"]}),
            "split": flag({"fractional": [["on"], ["off"]]}),
            "extra": flag(description="for people"),
        }
    }
    report = read(document)
    assert not report.problems
    assert {path for path, _, _ in told(report.warnings)} == {
        "flags.ref.targeting.if[0]['$ref']",
        "flags.few.targeting.starts_with",
        "flags.extra.description",
        "metadata.fractional",
    }


def test_a_set_that_chooses_its_fractional_is_not_warned_about() -> None:
    split = flag({"fractional": [["on"], ["off"]]})
    assert not read({"flags": {"f": split}, "metadata": {"fractional": "v3"}}).warnings
    assert not read({"flags": {"f": {**split, "metadata": {"fractional": "v2"}}}}).warnings


# -- what is answered


@pytest.mark.parametrize(
    ("given", "resolution", "cause", "variant"),
    [
        (flag(), Resolution.DEFAULT, Cause.DEFAULT, "off"),
        (flag({}), Resolution.DEFAULT, Cause.DEFAULT, "off"),
        (flag(defaultVariant=None), Resolution.NO_VALUE, Cause.UNMATCHED, None),
        (flag(state="DISABLED"), Resolution.OFF, Cause.OFF, None),
        (flag({"if": [True, "on"]}), Resolution.MATCHED, Cause.RULE, "on"),
        (flag({"if": [False, "on"]}), Resolution.DEFAULT, Cause.UNMATCHED, "off"),
        (flag({"if": [True, "gone"]}), Resolution.ERROR, Cause.NONE, None),
        (flag({"if": [{"$ref": "gone"}, "on"]}), Resolution.ERROR, Cause.UNREADABLE, None),
        (flag({"==": [1, 1]}, variants={"true": 1, "off": 2}), Resolution.MATCHED, Cause.RULE, "true"),
        (flag({"+": [1, 1]}, variants={"2": "two", "off": ""}), Resolution.MATCHED, Cause.RULE, "2"),
        (flag({"merge": [1, 2]}), Resolution.ERROR, Cause.NONE, None),
    ],
)
def test_a_flag_comes_to_what_the_document_says(
    given: dict[str, Any], resolution: Resolution, cause: Cause, variant: str | None
) -> None:
    answer = answered({"flags": {"f": given}}, "f")
    assert (answer.resolution, answer.cause, answer.variant) == (resolution, cause, variant)


def test_numbers_of_a_flag_with_a_fraction_all_have_one() -> None:
    given = flag(variants={"half": 0.5, "one": 1}, defaultVariant="one")
    assert answered({"flags": {"f": given}}, "f").value == "1.0"


def test_flags_of_a_list_are_those_of_a_map() -> None:
    listed = {"flags": [flag(key="f", defaultVariant="on")]}
    assert recognises(listed)
    assert answered(listed, "f").variant == "on"


def test_an_evaluator_stands_where_it_is_referred_to() -> None:
    document = {
        "flags": {"f": flag({"if": [{"$ref": "staff"}, "on"]})},
        "$evaluators": {"staff": {"ends_with": [{"var": "email"}, "@example.com"]}},
    }
    assert answered(document, "f", {"email": "a@example.com"}).variant == "on"
    assert answered(document, "f", {"email": "a@example.org"}).variant == "off"


def test_what_references_repeat_is_bounded_over_all_flags() -> None:
    """10 KB of references to one rule of 1,604 rules and values had half a minute of work for a thousand flags."""
    staff = {"or": [{"==": [{"var": "x"}, n]} for n in range(400)]}
    refers = flag({"if": [{"$ref": "staff"}, "on"]})
    document = {"flags": {f"f{n}": refers for n in range(1_000)}, "$evaluators": {"staff": staff}}
    report = Report()
    assert FlagSetReader(report, "f.json").read(document) is None
    (problem,) = report.problems
    assert problem.path.startswith("flags.f3")
    assert "rules and values repeated by references" in problem.found
    document["flags"] = {f"f{n}": refers for n in range(300)}
    assert FlagSetReader(Report(), "f.json").read(document) is not None


def test_the_time_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    document = {"flags": {"f": flag({"if": [{">=": [{"var": "$flagd.timestamp"}, 1000]}, "on"]})}}
    for now, variant in ((999, "off"), (1000, "on")):
        monkeypatch.setattr(shape, "seconds_now", lambda now=now: now)
        assert answered(document, "f", {"$flagd": {"timestamp": 5000}}).variant == variant


def test_v3_splits_otherwise() -> None:
    split = flag({"fractional": [["on"], ["off"]]})
    sets = {hashing: {"flags": {"f": split}, "metadata": {"fractional": hashing}} for hashing in ("v2", "v3")}
    sides = {
        hashing: [answered(one, "f", {"targetingKey": f"u{n}"}).variant for n in range(64)]
        for hashing, one in sets.items()
    }
    assert sides["v2"] != sides["v3"]
    assert all({"on", "off"} == set(found) for found in sides.values())


# -- publications


def write(folder: Path, document: Any, name: str = NAME) -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def test_a_file_is_published_into_the_environment_that_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, {"flags": {"f": flag()}})
    loaded = load([path], vocabulary(), {}, environment="prod")
    assert [(one.environment, [p.key for p in one.parameters]) for one in loaded.environments] == [
        ("prod", ["f"])
    ]
    again = load_stored(loaded.sources, vocabulary())
    assert again.environments == loaded.environments


def test_several_files_make_one_environment(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    write(tmp_path, {"flags": {"f": flag()}})
    write(tmp_path / "more", {"flags": {"g": flag()}})
    loaded = load([tmp_path], vocabulary(), {}, environment="prod")
    assert [one.environment for one in loaded.environments] == ["prod"]
    assert sorted(one.key for one in loaded.environments[0].parameters) == ["f", "g"]
    assert load_stored(loaded.sources, vocabulary()).environments == loaded.environments


def test_a_file_that_another_refers_to_belongs_there_alone(tmp_path: Path) -> None:
    write(tmp_path, {"flags": {"f": flag()}})
    write(tmp_path, {"flags": {"g": flag()}}, "more.flagd.json")
    environment = {"id": "env", "sources": [{"format": "flagd", "path": NAME}]}
    world = {"organisations": {"o": {"projects": {"p": {"environments": {"e": environment}}}}}}
    write(tmp_path, world, "world.json")
    loaded = load([tmp_path], vocabulary(), {}, environment="prod")
    found = {one.environment: [p.key for p in one.parameters] for one in loaded.environments}
    assert found == {"env": ["f"], "prod": ["g"]}


def test_other_formats_without_an_environment_are_published_alike(tmp_path: Path) -> None:
    feather = {"f": {"enabled": True, "defaultValue": 1, "rules": []}}
    loaded = load([write(tmp_path, feather)], vocabulary(), {}, environment="prod")
    assert [(one.environment, len(one.parameters)) for one in loaded.environments] == [("prod", 1)]


def test_a_flag_set_may_be_yaml(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("flags:\n  f:\n    state: ENABLED\n    variants: {a: 1, b: 0.5}\n    defaultVariant: a\n")
    (one,) = load([path], vocabulary(), {}, environment="prod").environments
    assert one.parameters[0].answers[0].value == "1.0"


def test_a_key_of_two_files_is_refused(tmp_path: Path) -> None:
    one, other = (write(tmp_path, {"flags": {"f": flag()}}, name) for name in ("a.json", "b.json"))
    with pytest.raises(DefinitionError) as caught:
        load([one, other], vocabulary(), {}, environment="prod")
    assert told(caught.value.problems) == {("flags.f", "a key that a flagd definition has", "each key once")}


def test_a_file_without_an_environment_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"flags": {"f": flag()}})
    with pytest.raises(DefinitionError) as caught:
        load([path], vocabulary(), {})
    assert [one.allowed for one in caught.value.problems] == [
        "a reference to it in an environment's sources, or --environment"
    ]


def test_an_environment_that_no_file_needs_is_refused(tmp_path: Path) -> None:
    world = {"organisations": {"o": {"projects": {"p": {"environments": {"e": {}}}}}}}
    path = write(tmp_path, world, "world.json")
    with pytest.raises(DefinitionError) as caught:
        load([path], vocabulary(), {}, environment="prod")
    assert [one.path for one in caught.value.problems] == ["files"]


def test_a_bad_name_of_an_environment_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"flags": {"f": flag()}})
    with pytest.raises(DefinitionError):
        load([path], vocabulary(), {}, environment="not a name")


def test_check_and_publish_take_the_environment(tmp_path: Path) -> None:
    path = write(tmp_path, {"flags": {"f": flag({"if": [{"==": [{"var": "a"}, "x"]}, "on"]})}})
    checked = CliRunner().invoke(check.command, [str(path), "--environment", "prod"])
    assert checked.exit_code == 0
    assert "prod: 1 flag, 1 value, 0 keys" in checked.output
    data = str(tmp_path / "data")
    published = CliRunner().invoke(publish.command, [str(path), "--environment", "prod", "--data", data])
    assert published.exit_code == 0, published.output
    asked = CliRunner().invoke(eval_.command, ["prod", "f", '{"a":"x"}', "--data", data])
    assert '"variant":"on"' in asked.output.replace(" ", "")


def test_a_disabled_flag_is_read_and_not_computed() -> None:
    report = Report()
    document = {"flags": {"f": flag({"if": [{"var": "a.b"}, "on"]}, state="DISABLED")}}
    found = parse(SourceFile(NAME, json.dumps(document).encode()), report)
    assert found is not None
    builder = Builder("env")
    lower_flag(builder, found.flags[0])
    assert not builder.slots
