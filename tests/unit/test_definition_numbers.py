"""Numbers that a definition can't mean are refused: shares without a bucket, whole numbers that are their
neighbours; and the byte order mark that editors put before a file is passed over."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.config.loading import load_config
from fanion.definitions.lowering.values import operand_text
from fanion.definitions.reading.documents import DocumentError, parse_json, read_document
from fanion.definitions.reading.report import Report
from fanion.definitions.reading.values import WHOLE_MAX
from fanion.definitions.sources import feather, redpennon, stitchd, traffical
from fanion.definitions.sources.feather.source import FORMAT as FEATHER
from fanion.definitions.sources.format import SourceFile
from fanion.definitions.sources.redpennon.source import FORMAT as REDPENNON
from fanion.dialects import vocabulary
from fanion.engine.externals import make_external
from tests.unit.native_files import ask, flag, problems, rule, with_condition, writer

MARK = b"\xef\xbb\xbf"


def refused(folder: Path, condition: dict[str, Any]) -> list[tuple[str, str]]:
    """(place, found) of what is wrong with a native condition; empty where it is published."""
    path = writer(folder)(flags={"f": with_condition(condition)})
    try:
        definitions.load([path], vocabulary())
    except definitions_error() as error:
        return [(p.path.rpartition("conditions[0]")[2], p.found) for p in error.problems]
    return []


def definitions_error() -> Any:
    from fanion.errors import DefinitionError

    return DefinitionError


# -- shares


@pytest.mark.parametrize("percentage", [0.004, 99.996, 12.345, 1e-9])
def test_a_rollout_of_more_than_two_decimals_is_refused(tmp_path: Path, percentage: float) -> None:
    path = writer(tmp_path)(flags={"f": flag(rules=[rule(rollout_percentage=percentage)])})
    assert problems(path) == [
        ("flags.f.rules[0].rollout_percentage", str(percentage), "per cent with two decimals")
    ]


@pytest.mark.parametrize("percentage", [0, 0.01, 12.5, 33.33, 99.99, 100])
def test_a_rollout_of_two_decimals_is_taken(tmp_path: Path, percentage: float) -> None:
    definitions.load(
        [writer(tmp_path)(flags={"f": flag(rules=[rule(rollout_percentage=percentage)])})], vocabulary()
    )


def bundle(**members: Any) -> tuple[Any, Report]:
    report = Report()
    made = {"id": "r", "name": "", "enabled": True, "conditions": [], "value": True, **members}
    entry = {"enabled": True, "defaultValue": False, "rules": [made]}
    return FEATHER.parse(SourceFile("b.json", json.dumps({"f": entry}).encode()), report), report


def test_a_feather_rollout_of_more_than_two_decimals_is_refused() -> None:
    parsed, report = bundle(rolloutPercentage=0.004)
    assert parsed is None
    assert [(p.path, p.found) for p in report.problems] == [("f.rules[0].rolloutPercentage", "0.004")]
    assert bundle(rolloutPercentage=0.01)[0] is not None


# -- whole numbers


@pytest.mark.parametrize("operator", ["in", "not_in", "equals", "contains", "starts_with", "geo_country"])
@pytest.mark.parametrize("value", [WHOLE_MAX + 1, -WHOLE_MAX - 1, 1234567890123456789, 1e18, 2**64])
def test_a_number_that_would_match_its_neighbours_is_refused(
    tmp_path: Path, operator: str, value: Any
) -> None:
    for given in (value, [1, value]) if operator in ("in", "not_in") else (value,):
        assert [
            place for place, _ in refused(tmp_path, {"attribute": "a", "operator": operator, "value": given})
        ] == [".value"]


def test_a_number_that_is_one_double_matches_itself_alone(tmp_path: Path) -> None:
    condition = {"attribute": "a", "operator": "in", "value": [WHOLE_MAX, 5.5]}
    loaded = definitions.load([writer(tmp_path)(flags={"f": with_condition(condition)})], vocabulary())
    for asked, expected in ((WHOLE_MAX, "true"), (WHOLE_MAX - 1, "false"), (5.5, "true")):
        answer = ask(loaded.environments[0], "f", make_external(lambda name, member: False), a=asked)
        assert answer.value == expected


def test_a_text_may_have_any_digits(tmp_path: Path) -> None:
    assert not refused(tmp_path, {"attribute": "a", "operator": "in", "value": ["1234567890123456789"]})
    assert operand_text("1234567890123456789") == "1234567890123456789"


@pytest.mark.parametrize("operator", ["gt", "gte", "lt", "lte"])
@pytest.mark.parametrize("value", [WHOLE_MAX + 1, str(WHOLE_MAX + 1), f" -{WHOLE_MAX + 1} ", 2**63 - 1])
def test_an_order_by_a_whole_number_that_no_double_is_is_refused(
    tmp_path: Path, operator: str, value: Any
) -> None:
    assert [
        place for place, _ in refused(tmp_path, {"attribute": "a", "operator": operator, "value": value})
    ] == [".value"]


@pytest.mark.parametrize("value", [WHOLE_MAX, WHOLE_MAX + 2, str(WHOLE_MAX), 2**63, 1e300, "1e300", "0.1"])
def test_an_order_by_what_a_double_is_is_taken(tmp_path: Path, value: Any) -> None:
    assert not refused(tmp_path, {"attribute": "a", "operator": "gt", "value": value})


def test_feather_refuses_such_an_order_too() -> None:
    condition = {"attribute": "a", "operator": "gt", "value": str(WHOLE_MAX + 1)}
    parsed, report = bundle(conditions=[condition])
    assert parsed is None
    assert [p.path for p in report.problems] == ["f.rules[0].conditions[0].value"]


def test_redpennon_refuses_a_number_that_would_match_its_neighbours() -> None:
    condition = {"property": "user_id", "operator": "is", "values": ["a", 1234567890123456789]}
    feature = {
        "variables": {"v": {"type": "boolean"}},
        "variations": {"a": {"v": True}},
        "environments": {
            "production": {
                "targeting": "on",
                "default_variation": "a",
                "rules": [{"conditions": [condition], "variation": "a"}],
            }
        },
    }
    report = Report()
    document = {"redpennon": 1, "environments": ["production"], "features": {"f": feature}}
    assert REDPENNON.parse(SourceFile("f.json", json.dumps(document).encode()), report) is None
    assert [p.path.rpartition("conditions")[2] for p in report.problems] == ["[0].values[1]"]


# -- what can't be told of nobody


@pytest.mark.parametrize("operator", ["in", "geo_country", "gt", "lt"])
def test_feather_warns_of_an_operand_that_no_one_can_match(operator: str) -> None:
    value: Any = [] if operator in ("in", "geo_country") else "many"
    parsed, report = bundle(conditions=[{"attribute": "a", "operator": operator, "value": value}])
    assert parsed is not None
    assert [p.path for p in report.warnings] == ["f.rules[0].conditions[0].value"]


@pytest.mark.parametrize("operator", ["in", "not_in", "geo_country", "gt", "lt"])
def test_a_native_file_may_not_say_what_no_one_can_match(tmp_path: Path, operator: str) -> None:
    value: Any = "many" if operator in ("gt", "lt") else []
    assert refused(tmp_path, {"attribute": "a", "operator": operator, "value": value})


# -- the byte order mark


def test_a_definition_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = writer(tmp_path)(flags={"f": flag()})
    path.write_bytes(MARK + path.read_bytes())
    assert len(definitions.load([path], vocabulary()).environments) == 1
    assert read_document("a.yaml", MARK + b"a: 1") == {"a": 1}
    assert parse_json("\ufeff{}") == {}
    for name in ("a.json", "a.yaml"):
        with pytest.raises(DocumentError, match="an empty file"):
            read_document(name, MARK)


def test_a_second_mark_is_refused() -> None:
    with pytest.raises(DocumentError):
        parse_json("\ufeff\ufeff{}")


@pytest.mark.parametrize("format", [feather, redpennon, stitchd, traffical])
def test_every_source_reads_a_file_with_a_byte_order_mark_as_without(format: Any) -> None:
    from importlib import import_module

    parse = import_module(f"{format.__name__}.source").FORMAT.parse
    told = []
    for start in (b"", MARK):
        report = Report()
        parse(SourceFile("a.json", start + b'{"no": "such"}'), report)
        told.append([(p.path, p.found) for p in report.problems])
    assert told[0] == told[1]


def test_settings_with_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    file = tmp_path / "fanion.toml"
    file.write_bytes(MARK + b"[server]\nport = 4321\n")
    assert load_config(vocabulary(), file=file, environ={}).server.port == 4321
