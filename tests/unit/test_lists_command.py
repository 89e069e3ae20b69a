"""`fanion lists` on a published store."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fanion import app
from fanion.cli import group
from fanion.config import Config
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.errors import DefinitionError, StoreError
from tests.unit.stitchd_worlds import ENVIRONMENT, flag


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lists = [
        {"id": "l1", "key": "beta", "context_type": "user", "include": ["u1"]},
        {"id": "l2", "key": "both", "context_type": "user", "lists": {"org": {"include": ["acme"]}}},
    ]
    document = {"flags": [flag(environment_id=ENVIRONMENT)], "list_segments": lists}
    (tmp_path / "flag_definitions.json").write_text(json.dumps(document))
    app.publish(tmp_path / "data", load([tmp_path / "flag_definitions.json"], vocabulary()), Config())
    return tmp_path / "data"


def run(data: Path, verb: str, *arguments: str) -> Result:
    return CliRunner().invoke(group, ["lists", verb, "--data", str(data), *arguments])


def lines(data: Path, *arguments: str) -> set[str]:
    result = run(data, "show", ENVIRONMENT, *arguments)
    assert result.exit_code == 0, result.output
    return set(result.output.splitlines())


def test_members_are_added_removed_replaced_and_shown(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "more.gz"
    file.write_bytes(gzip.compress(b"u3\nu4\n"))
    added = run(data, "add", ENVIRONMENT, "beta", "u1", "u2", "--file", str(file))
    assert added.output == f"generation 2: 3 added to {ENVIRONMENT}/stitchd/beta/user/include\n"
    assert lines(data, "beta") == {"u1", "u2", "u3", "u4"}
    assert "generation 3: 1 removed" in run(data, "remove", ENVIRONMENT, "beta", "u4", "u9").output
    assert "generation 4: 1 added" in run(data, "add", ENVIRONMENT, "beta", "u2", "--exclude").output
    assert lines(data, "beta", "--exclude") == {"u2"}
    assert "has 1 members" in run(data, "replace", ENVIRONMENT, "beta", "u7").output
    assert lines(data, "beta") == {"u7"}
    overview = run(data, "show").output
    assert f"{ENVIRONMENT}" in overview
    assert "stitchd/beta/user/include" in overview


def test_segment_of_several_types_wants_the_type_said(data: Path) -> None:
    result = run(data, "add", ENVIRONMENT, "both", "x")
    assert isinstance(result.exception, StoreError)
    assert str(result.exception) == "segment both has lists of several types (org, user); say --type"
    assert "1 added" in run(data, "add", ENVIRONMENT, "both", "x", "--type", "org").output
    assert lines(data, "both", "--type", "org") == {"acme", "x"}
    assert lines(data, "both", "--type", "org", "--limit", "1") < {"acme", "x"}


def test_unknown_environment_and_list_say_what_there_is(data: Path) -> None:
    assert f"there are: {ENVIRONMENT}" in str(run(data, "add", "other", "beta", "x").exception)
    found = str(run(data, "add", ENVIRONMENT, "gamma", "x").exception)
    assert "has no such list of gamma; it has: stitchd/beta/user/exclude, stitchd/beta/user/include" in found


def test_publish_keeps_lists_that_its_files_leave_alone(data: Path, tmp_path: Path) -> None:
    run(data, "add", ENVIRONMENT, "both", "kept", "--type", "user")
    run(data, "add", ENVIRONMENT, "beta", "changed")
    app.publish(data, load([tmp_path / "flag_definitions.json"], vocabulary()), Config())
    assert lines(data, "both", "--type", "user") == {"kept"}
    assert lines(data, "beta") == {"u1"}


def test_eval_looks_into_the_lists(tmp_path: Path) -> None:
    document = {
        "flags": [flag({"op": "InSegment", "segment_id": "l1"}, environment_id=ENVIRONMENT)],
        "list_segments": [{"id": "l1", "key": "beta", "context_type": "user", "include": ["u1"]}],
    }
    (tmp_path / "flag_definitions.json").write_text(json.dumps(document))
    app.publish(tmp_path / "data", load([tmp_path / "flag_definitions.json"], vocabulary()), Config())
    for key, variant in (("u1", "on"), ("u2", "off")):
        context = json.dumps({"contexts": [{"type": "user", "key": key, "attributes": {}}]})
        done = CliRunner().invoke(
            group, ["eval", "--data", str(tmp_path / "data"), ENVIRONMENT, "f", context]
        )
        assert done.exit_code == 0, done.output
        assert f'stitchd: {{"variant_key":"{variant}","is_enabled":true}}\n' in done.output
        assert "disagrees" not in done.output


def test_unreadable_members_store_nothing(data: Path, tmp_path: Path) -> None:
    (tmp_path / "members").write_bytes(b"u5\nu6\n\xff\n")
    document = json.loads((tmp_path / "flag_definitions.json").read_text())
    document["list_segments"][0] = {
        "id": "l1",
        "key": "beta",
        "context_type": "user",
        "include_file": "members",
    }
    (tmp_path / "flag_definitions.json").write_text(json.dumps(document))
    with pytest.raises(DefinitionError, match="members: line 3: bytes that are not UTF-8"):
        app.publish(data, load([tmp_path / "flag_definitions.json"], vocabulary()), Config())
    assert lines(data, "beta") == {"u1"}
    replaced = run(data, "replace", ENVIRONMENT, "beta", "--file", str(tmp_path / "members"))
    assert isinstance(replaced.exception, DefinitionError)
    assert lines(data, "beta") == {"u1"}


def test_a_file_whose_lines_end_with_a_carriage_return_alone_is_not_taken_for_one_member(
    data: Path, tmp_path: Path
) -> None:
    (tmp_path / "members").write_bytes(b"u5\ru6\r")
    before = lines(data, "beta")
    for verb in ("add", "replace"):
        refused = run(data, verb, ENVIRONMENT, "beta", "--file", str(tmp_path / "members"))
        assert isinstance(refused.exception, DefinitionError)
        assert "line 1: a carriage return inside a line" in str(refused.exception)
    assert lines(data, "beta") == before


def test_a_file_whose_last_line_has_no_end_is_named_and_one_line_alone_is_not(
    data: Path, tmp_path: Path
) -> None:
    cut, alone, whole = (tmp_path / name for name in ("cut", "alone", "whole"))
    cut.write_text("u1\nu2\nu")
    alone.write_text("u1")
    whole.write_text("u1\nu2\nu3\n")
    for file, named in ((cut, True), (alone, False), (whole, False)):
        for verb in ("add", "replace"):
            said = run(data, verb, ENVIRONMENT, "beta", "--file", str(file)).output
            assert ("the last line has no line end" in said) == named, (file, verb)


def test_what_a_list_had_before_is_said(data: Path) -> None:
    run(data, "replace", ENVIRONMENT, "beta", "u1", "u2", "u3")
    assert "has 1 members; it had 3" in run(data, "replace", ENVIRONMENT, "beta", "u7").output
