"""The JSON Schema of the native format, made from the structs of `model.definition`.

`python -m fanion.definitions.schema` writes it beside this module; a test holds the two equal. The schema
says what the structs can say; references, value types, patterns and sums are checked by `fanion check` only.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, Final

import msgspec

from fanion.model import definition
from fanion.model.definition import File

PATH: Final = Path(__file__).with_name("fanion.schema.json")

_CONDITION_FORMS: Final = ("all", "any", "not", "segment")


def make_schema() -> dict[str, Any]:
    """The schema as plain objects, JSON Schema 2020-12."""
    (root,), definitions = msgspec.json.schema_components((File,), ref_template="#/$defs/{name}")
    for name, schema in definitions.items():
        documentation = inspect.getdoc(getattr(definition, name))
        schema["description"] = " ".join((documentation or "").split())
    definitions["Condition"]["oneOf"] = [
        {"required": ["attribute", "operator"]},
        *({"required": [form]} for form in _CONDITION_FORMS),
        {"required": ["flag", "is"]},
    ]
    definitions["Rule"]["anyOf"] = [{"required": [one]} for one in ("value", "variation", "split")]
    definitions["SplitPart"]["oneOf"] = [{"required": [one]} for one in ("value", "variation")]
    definitions["Segment"]["oneOf"] = [{"required": [one]} for one in ("conditions", "list")]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fanion definitions",
        **root,
        "$defs": definitions,
    }


def schema_text() -> bytes:
    """The schema as it is checked in."""
    return msgspec.json.format(msgspec.json.encode(make_schema()), indent=2) + b"\n"


if __name__ == "__main__":
    PATH.write_bytes(schema_text())
