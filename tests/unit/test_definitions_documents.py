"""Text to plain objects: YAML by the core schema of 1.2, strict JSON, both bounded."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanion.definitions.reading.documents import DocumentError, parse_json, read_document
from fanion.definitions.reading.yaml_documents import parse_yaml
from tests.unit.native_files import (
    problems,
)


def test_yaml_is_read_by_the_core_schema_of_1_2() -> None:
    text = (
        "a: on\nb: no\nc: YES\nd: 012\ne: 0o17\nf: 1_000\ng: 12:30:00\nh: 2024-01-01\non: 1\n404: x\nn: ~\n"
    )
    assert parse_yaml(text) == {
        "a": "on",
        "b": "no",
        "c": "YES",
        "d": 12,
        "e": 15,
        "f": "1_000",
        "g": "12:30:00",
        "h": "2024-01-01",
        "on": 1,
        "404": "x",
        "n": None,
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\na: 2", "the key 'a' stands twice"),
        ("a: !!python/object:os.system x", "the tag"),
        ("a: !x {}", "the tag"),
        ("a: .nan", ".nan"),
        ("a: *b", "the alias *b"),
        ("a: &a [*a]", "the alias *a"),
        ("--- 1\n--- 2", "a second document"),
        ("[a]: 1", "a key that is not text"),
        ("[" * 65 + "]" * 65, "nesting too deep"),
        ("a: [1", "not YAML"),
        ("a: 1e999", "1e999"),
    ],
)
def test_yaml_that_is_no_definition_is_refused(text: str, found: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_yaml(text)
    assert caught.value.found.startswith(found)


@pytest.mark.parametrize("name", ["a.json", "a.yaml", "a"])
def test_an_empty_file_is_told_as_such(name: str) -> None:
    with pytest.raises(DocumentError) as caught:
        read_document(name, b" \n")
    assert caught.value.found == "an empty file"


def laughing(lines: int) -> str:
    """Each line repeats the one before ten times."""
    first = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]"
    return "\n".join([first, *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, lines))])


def test_aliases_count_all_that_they_repeat() -> None:
    assert len(parse_yaml(laughing(5))["a4"]) == 10
    for lines in (6, 7, 12):
        with pytest.raises(DocumentError) as caught:
            parse_yaml(laughing(lines))
        assert caught.value.place == "line 6, column 25"
        assert caught.value.found == "567,884 values repeated by aliases"


def test_a_document_may_repeat_a_share_of_what_is_written() -> None:
    """A rule of 60 values at each of 10,000 flags: 600,000 values, 20 for each that is written."""
    rule = ", ".join(f"k{n}: {n}" for n in range(59))
    flags = "".join(f"f{n}: {{type: b, rules: *r, a: 1}}\n" for n in range(10_000))
    assert len(parse_yaml(f"r: &r {{{rule}}}\n{flags}")) == 10_001


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1, "a": 2}', "the key stands twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -1e999}', "'-1e999'"),
        ('{"a": "\\ud800"}', "a lone surrogate"),
        ('{"a": }', "not JSON"),
        ("[" * 100_000, "nesting too deep"),
        ("9" * 5000, "a very long number"),
        ("", "not JSON"),
    ],
)
def test_json_that_is_no_definition_is_refused(text: str, found: str) -> None:
    with pytest.raises(DocumentError) as caught:
        parse_json(text)
    assert caught.value.found.startswith(found)


@pytest.mark.parametrize("text", ["", "null", "5", "[]", "{}", "organisations: 5", "organisations: {o: 5}"])
def test_a_document_of_another_shape_is_a_problem_not_a_crash(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert problems(path)


LONG = "x" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        f"a: !{LONG} x",
        f"!{LONG} {{}}",
        f"a: *{LONG}",
        f"? {LONG}\n: 1\n? {LONG}\n: 2",
        f"fanion: 1\norganisations: {{o: {{projects: {{p: {{flags: {{? {LONG}\n : {{type: {LONG}}}}}}}}}}}}}",
    ],
)
def test_what_is_said_of_a_document_is_no_longer_than_a_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    found = problems(path)
    assert found
    assert max(len(part) for problem in found for part in problem) < 1_000


def test_bytes_that_are_not_utf8_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"organisations: {\xff}")
    assert problems(path)[0][1] == "bytes that are not UTF-8"
