"""The JSON Schema of the native format, made from the structs of `model.definition`.

`python -m fanion.cli.schema` writes it beside this module; a test holds the two equal. What dialects and scopes
there are comes from the vocabulary. The schema says what the structs can say; references, value types,
patterns and sums are checked by `fanion check` only.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from fanion.model import definition
from fanion.model.definition import File
from fanion.model.vocabulary import Vocabulary

PATH: Final = Path(__file__).with_name("fanion.schema.json")

_CONDITION_FORMS: Final = ("all", "any", "not", "segment")


def make_schema(vocabulary: Vocabulary) -> dict[str, Any]:
    """The schema as plain objects, JSON Schema 2020-12."""
    (root,), definitions = msgspec.json.schema_components((File,), ref_template="#/$defs/{name}")
    for name, schema in definitions.items():
        documentation = inspect.getdoc(getattr(definition, name))
        schema["description"] = " ".join((documentation or "").split())
    _fill(definitions, {"dialects": vocabulary.dialects, "scopes": vocabulary.scopes_of(())})
    key = definitions["Key"]
    key["description"] = key["description"].replace("{scopes}", vocabulary.scopes_in_words("and", "for"))
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


def _fill(schema: Any, words: Mapping[str, Iterable[str]]) -> None:
    """Puts a list of words where a part asks for one of them."""
    parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
    for part in parts:
        if isinstance(part, dict) and isinstance(part.get("words"), str):
            known = sorted(words[part["words"]])
            part.clear()
            part["enum"] = known
        _fill(part, words)


def schema_text(vocabulary: Vocabulary) -> bytes:
    """The schema as it is checked in."""
    return msgspec.json.format(msgspec.json.encode(make_schema(vocabulary)), indent=2) + b"\n"
