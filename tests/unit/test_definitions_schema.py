"""The published JSON Schema is the one that the structs make, and the demo keeps to it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from fanion import definitions
from fanion.definitions.reading.yaml_documents import parse_yaml
from fanion.definitions.schema import PATH, make_schema, schema_text
from fanion.dialects import vocabulary


def test_checked_in_schema_is_the_generated_one() -> None:
    assert PATH.read_bytes() == schema_text(vocabulary()), "run: python -m fanion.cli.schema"


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    schema = make_schema(vocabulary())
    text = json.dumps(schema)
    names = {part.split('"')[0] for part in text.split("#/$defs/")[1:]}
    assert names
    assert names <= schema["$defs"].keys()


def test_unknown_members_are_refused_everywhere() -> None:
    assert all(part["additionalProperties"] is False for part in make_schema(vocabulary())["$defs"].values())


def test_the_page_of_the_format_names_every_member() -> None:
    page = (Path(__file__).parents[2] / "docs" / "native.md").read_text()
    members = {
        (name, member)
        for name, part in make_schema(vocabulary())["$defs"].items()
        for member in part["properties"]
        if not re.search(rf"\b{re.escape(member)}\b", page)
    }
    assert members <= {("File", "$schema")}


def test_the_demo_uses_only_members_that_the_schema_knows() -> None:
    schema = make_schema(vocabulary())
    document = parse_yaml(definitions.DEMO.read_text())
    assert document.keys() <= schema["$defs"]["File"]["properties"].keys()
    for organisation in document["organisations"].values():
        assert organisation.keys() <= schema["$defs"]["Organisation"]["properties"].keys()
        for project in organisation["projects"].values():
            assert project.keys() <= schema["$defs"]["Project"]["properties"].keys()
