"""`fanion check` prints every problem and changes nothing."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
from click.testing import CliRunner

from fanion import definitions
from fanion.cli.check import command
from fanion.definitions.reading.report import reason


def test_good_definitions_are_summed_up() -> None:
    done = CliRunner().invoke(command, [str(definitions.DEMO)])
    assert done.exit_code == 0
    assert re.search(r"env_01hx: \d+ flags, \d+ values, \d+ keys\n", done.stdout)
    assert done.stderr.count("a raw key") >= 2
    assert "sk_demo_server" not in done.output


def test_every_problem_is_printed_with_file_and_path(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(
        "organisations:\n  o:\n    plan: gold\n    projects:\n      p:\n        environments: {e: {}}\n"
        "        flags:\n          f: {type: boolean, default_value: off}\n"
    )
    done = CliRunner().invoke(command, [str(path), str(tmp_path / "none.yaml")])
    assert done.exit_code == 1
    assert done.stdout == ""
    value = "organisations.o.projects.p.flags.f.default_value"
    assert done.stderr == (
        f"{path}: organisations.o.plan: 'gold'; one of free, basic, pro, business, enterprise\n"
        f"{tmp_path}/none.yaml: file: the file can't be read (No such file or directory); a readable file\n"
        f"{path}: {value}: 'off'; true or false, as the type is boolean\n"
        "3 problems, each with what was found; and what is allowed\n"
    )


def test_a_misspelt_field_is_told_the_one_that_was_meant(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("organizations: {}\n")
    done = CliRunner().invoke(command, [str(path)])
    assert "organizations: an unknown field; one of" in done.stderr
    assert "; did you mean organisations?" in done.stderr


def test_paths_are_required() -> None:
    assert CliRunner().invoke(command, []).exit_code == 2


def test_a_reason_stays_short_whatever_it_quotes() -> None:
    error = msgspec.ValidationError(f"Invalid enum value '{'x' * 70_000}\n' - at `$.rules[1].field`")
    text = reason(error)
    assert len(text) == 300
    assert text.startswith("Invalid enum value 'xxx")
    assert text.endswith(" - at `$.rules[1].field`")
    assert reason(ValueError("a\nb")) == "a b"
