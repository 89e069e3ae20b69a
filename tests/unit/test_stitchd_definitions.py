"""What stitchd's definition files may say: refusals with file and path, warnings, folders, members of lists."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from fanion.definitions import load, load_stored
from fanion.definitions.reading.members import MemberList, read_members
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError
from tests.unit.stitchd_worlds import ENVIRONMENT, World, flag, leaf, user

ALWAYS = {"op": "And", "children": []}
RULE_SEGMENT = {"id": "s1", "key": "pros", "condition": leaf("Eq", "plan", value="pro")}


def segments(*rules: Any, lists: Any = ()) -> dict[str, Any]:
    return {"rule_segments": list(rules), "list_segments": list(lists)}


def only(found: list[str]) -> str:
    assert len(found) == 1, found
    return found[0]


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        (
            {"op": "Neq", "context_type": "user", "param": "p", "value": 1},
            "the operator 'Neq'; one of Eq, Ne",
        ),
        ({"op": "Eq", "context_type": "user", "value": 1}, "condition.param: nothing; Eq needs it"),
        (leaf("Eq", value=None), "condition.value: null; a boolean, a number or text"),
        (leaf("Eq", value=[1]), "condition.value: a list"),
        (leaf("Contains", substr=5), "condition.substr: 5; text"),
        (leaf("StartsWith", substr="x"), "condition.prefix: nothing"),
        (leaf("Eq", value=1, colour="red"), "condition.colour: an unknown field"),
        ({"op": "And", "child": []}, "And with child; And takes children"),
        ({"op": "Not", "child": 5}, "condition.child: 5; an object"),
        ({"Leaf": {"Eq": {}, "Ne": {}}}, "condition.Leaf: an object; an object with one member"),
        ({"Xor": []}, 'no condition; {"op": NAME, ...}, or one of And, Or, Not, Leaf'),
        ("always", "condition: 'always'; an object"),
    ],
)
def test_unreadable_condition_is_refused_with_its_path(condition: Any, words: str) -> None:
    world = World(
        [flag({"rule_id": "r", "condition": condition, "variant_assignment": {"specific_variant": "on"}})]
    )
    assert any(words in problem for problem in world.problems), world.problems
    assert all(problem.startswith("flags.json: flags[0].rules[0].condition") for problem in world.problems)


def test_nesting_and_size_of_a_condition_are_bounded() -> None:
    deep: Any = leaf("Eq", value=1)
    for _ in range(15):
        deep = {"op": "Not", "child": deep}
    assert World([flag(deep)]).problems == []
    assert "nesting too deep" in only(World([flag({"op": "Not", "child": deep})]).problems)
    wide = {"op": "Or", "children": [leaf("Eq", value=n) for n in range(999)]}
    assert World([flag(wide)]).problems == []
    wide["children"].append(leaf("Eq", value=0))
    assert "at most 1000 in one rule" in only(World([flag(wide)]).problems)


def test_segment_may_not_ask_segments_or_flags() -> None:
    asking = RULE_SEGMENT | {"condition": {"op": "Or", "children": [{"op": "InSegment", "segment_id": "s1"}]}}
    found = only(World([], segments(asking)).problems)
    assert found.startswith("flags.json (segments): rule_segments[0].condition.children[0].op")
    assert "in a segment, one of" in found


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (
            {"variants": [{"key": "on", "value": 1}, {"key": "off", "value": False}]},
            "variants[0].value: 1; true or false",
        ),
        (
            {"value_type": "double", "variants": [{"key": "off", "value": 5}]},
            "a number with a point or an exponent",
        ),
        ({"value_type": "int", "variants": [{"key": "off", "value": 5.0}]}, "a whole number of 64 bits"),
        ({"value_type": "int", "variants": [{"key": "off", "value": 2**63}]}, "whole numbers of 64 bits"),
        (
            {"default_rule": {"variant_assignment": {"specific_variant": "red"}}},
            "the variant 'red'; one of the flag's: on, off",
        ),
        ({"default_rule": {"variant_assignment": {}}}, "exactly one of specific_variant, percentage_rollout"),
        ({"fallback_variant": "red"}, "fallback_variant: the variant 'red'"),
        ({"key": ""}, "key: a key of 0 bytes; 1 to 255 bytes"),
        ({"key": "ü" * 128}, "key: a key of 256 bytes"),
        ({"colour": "red"}, "flags[0].colour: an unknown field"),
        (
            {"default_rule_distribution": {"allocations": [{"variant_key": "on", "percentage_bp": 9999}]}},
            "9999 basis points",
        ),
        ({"environment_id": "11111111-1111-1111-1111-111111111111"}, ENVIRONMENT),
        ({"prerequisites": [{"prerequisite_flag": "f", "required_variant": "on"}]}, "a circle (f -> f)"),
    ],
)
def test_flag_that_does_not_add_up_is_refused(fields: dict[str, Any], words: str) -> None:
    world = World([flag(**fields)])
    assert any(words in problem for problem in world.problems), world.problems


def test_circle_of_flags_is_named() -> None:
    asks_b = {"op": "FlagEvaluatedAs", "flag_key": "b", "variant_key": "on"}
    world = World(
        [
            flag(asks_b, key="a"),
            flag(key="b", prerequisites=[{"prerequisite_flag": "a", "required_variant": "on"}]),
        ]
    )
    assert "a circle (a -> b -> a)" in only(world.problems)


def test_flags_may_ask_each_other_32_deep() -> None:
    def chain(length: int) -> World:
        flags = [flag(key="f0")]
        for n in range(1, length):
            need = [{"prerequisite_flag": f"f{n - 1}", "required_variant": "off"}]
            flags.append(flag(key=f"f{n}", prerequisites=need))
        return World(flags)

    deepest = chain(32)
    assert deepest.problems == []
    assert deepest.variant("f31", user()) == "off"
    assert "33 deep; at most 32" in only(chain(33).problems)


def test_what_the_engine_gives_a_meaning_is_a_warning() -> None:
    rollout = {
        "targets": [{"context_type": "user", "field": "Key"}],
        "weights": [{"variant_key": "red", "weight": 4000}],
    }
    split = {"rule_id": "s", "condition": ALWAYS, "variant_assignment": {"percentage_rollout": rollout}}
    world = World(
        [
            flag(
                {"op": "InSegment", "segment_id": "nowhere"},
                leaf("SemverGte", version="1.2.3.4"),
                {"op": "FlagEvaluatedAs", "flag_key": "nothing", "variant_key": "on"},
                split,
                prerequisites=[{"prerequisite_flag": "absent", "required_variant": "on"}],
            )
        ]
    )
    assert world.problems == []
    for words in (
        "the segment 'nowhere'; unknown, so no one is in it",
        "SemverGte with the version '1.2.3.4'; a type mismatch",
        "the flag 'nothing'; unknown, so this is false",
        "4000 of 10000 basis points; the default variant is served to the rest",
        "the variant 'red'; not the flag's, so its default is served",
        "the flag 'absent'; absent, so the prerequisite is never met",
    ):
        assert any(words in warning for warning in world.warnings), words


def test_storage_form_refers_by_id_and_may_be_mixed_with_the_flat_one() -> None:
    on, off = "aaaaaaaa-0000-0000-0000-000000000001", "aaaaaaaa-0000-0000-0000-000000000002"
    rule = {
        "id": "r1",
        "name": "pros",
        "condition": {"And": [{"Leaf": {"InSegment": "s1"}}, {"op": "Not", "child": {"Or": []}}]},
        "output": {"Variant": on},
    }
    split = {
        "id": "r2",
        "condition": {"And": []},
        "output": {
            "Percentage": {
                "targets": [{"context_type": "user", "field": {"Parameter": "plan"}}],
                "weights": [[on, 0], [off, 10000]],
            }
        },
    }
    variants = [{"id": on, "key": "on", "value": True}, {"id": off, "key": "off", "value": False}]
    world = World([flag(rule, split, variants=variants)], segments(RULE_SEGMENT))
    assert world.problems == []
    assert world.ask("f", user(plan="pro"))["variant_key"] == "on"
    assert world.ask("f", user(plan="free")) == {
        "flag_key": "f",
        "variant_key": "off",
        "value": False,
        "outcome": "matched",
    }


def test_flag_without_a_default_answers_the_empty_variant() -> None:
    bare = flag(enabled=False)
    del bare["default_rule"]
    answer = World([bare]).ask("f", user())
    assert answer == {"flag_key": "f", "variant_key": "", "value": False, "outcome": "disabled"}


def test_archived_flag_is_not_found_and_meets_no_prerequisite() -> None:
    need = [{"prerequisite_flag": "old", "required_variant": "off"}]
    world = World([flag(key="old", archived=True), flag(ALWAYS, prerequisites=need)])
    assert world.problems == []
    assert world.ask("old", user())["outcome"] == "flag_not_found"
    assert world.variant("f", user()) == "off"


# -- folders and stored copies


def write_folder(folder: Path, **files: Any) -> Path:
    for name, document in files.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return folder


def test_folder_is_published_as_the_environment_that_its_flags_name(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path,
        flag_definitions={
            "flags": [flag({"op": "InSegment", "segment_id": "s1"}, environment_id=ENVIRONMENT.upper())]
        },
        segment_definitions=segments(RULE_SEGMENT),
        event_definitions={"events": [{"key": "page_view", "value_type": "count"}]},
    )
    once = load([folder], vocabulary())
    for loaded in (once, load_stored(once.sources, vocabulary())):
        assert loaded.warnings == []
        (lowered,) = loaded.environments
        assert lowered.environment == ENVIRONMENT
        assert lowered.identifiers["stitchd"]["environment"] == ENVIRONMENT
        assert set(lowered.identifiers) == {"stitchd"}
        assert [parameter.key for parameter in lowered.parameters] == ["f"]
        assert json.loads(lowered.documents["events"]) == {"page_view": {"type": "count", "unit": ""}}


def test_files_of_one_folder_may_be_named_one_by_one(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path,
        flag_definitions={"flags": [flag(environment_id=ENVIRONMENT)]},
        segment_definitions=segments(RULE_SEGMENT),
    )
    loaded = load(sorted(folder.iterdir()), vocabulary())
    assert len(loaded.environments) == 1


def test_flag_file_that_names_no_environment_needs_a_reference(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, flag_definitions={"flags": [flag()]})
    with pytest.raises(DefinitionError, match="does not say its environment"):
        load([folder], vocabulary())


def test_native_environment_refers_to_flags_segments_and_lists(tmp_path: Path) -> None:
    listed = {
        "id": "l1",
        "key": "beta",
        "context_type": "user",
        "include": ["u1"],
        "exclude_file": "out.txt.gz",
    }
    (tmp_path / "out.txt.gz").write_bytes(gzip.compress(b"u2\r\n\n u3 \nu2\n"))
    write_folder(tmp_path, flags={"flags": [flag()]}, sets=segments(lists=[listed]))
    source = {"format": "stitchd", "path": "flags.json", "files": {"segments": "sets.json"}}
    world = {
        "fanion": 1,
        "organisations": {"o": {"projects": {"p": {"environments": {"e": {"sources": [source]}}}}}},
    }
    (tmp_path / "world.json").write_text(json.dumps(world))
    loaded = load([tmp_path / "world.json"], vocabulary())
    (lowered,) = loaded.environments
    assert lowered.lists == ("o/p/e/stitchd/beta/user/include", "o/p/e/stitchd/beta/user/exclude")
    assert [list(read_members(entry)) for entry in loaded.lists] == [[b"u1"], [b"u2", b" u3 ", b"u2"]]
    assert load_stored(loaded.sources, vocabulary()).environments == loaded.environments


def test_missing_member_file_is_refused(tmp_path: Path) -> None:
    listed = {"id": "l1", "key": "beta", "context_type": "user", "include_file": "nowhere.txt"}
    folder = write_folder(
        tmp_path,
        flag_definitions={"flags": [flag(environment_id=ENVIRONMENT)]},
        segment_definitions=segments(lists=[listed]),
    )
    with pytest.raises(DefinitionError, match=r"nowhere\.txt can't be read"):
        load([folder], vocabulary())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a\n" + b"x" * 1025 + b"\n", "line 2: a longer member; at most 1024 bytes"),
        (b"a\n\xff\n", "line 2: bytes that are not UTF-8"),
        (gzip.compress(b"a\n" * 1000, mtime=0)[:-9], "damaged gzip"),
    ],
)
def test_member_file_that_can_not_be_read_names_the_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "members"
    path.write_bytes(content)
    with pytest.raises(DefinitionError, match=words):
        list(read_members(MemberList("l", file=str(path))))


def test_member_at_the_bound_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    path = tmp_path / "members"
    path.write_bytes(b"\xef\xbb\xbf" + b"x" * 1024 + b"\r\n" + "ü".encode())
    assert list(read_members(MemberList("l", file=str(path)))) == [b"x" * 1024, "ü".encode()]
