"""`python -m fanion.cli.schema` writes anew what is made of the structs: the JSON Schema of the definitions, and
in a source tree the APIs' OpenAPI documents."""

from __future__ import annotations

from pathlib import Path

from fanion.app.describing import documents
from fanion.config import Config
from fanion.definitions.schema import PATH, schema_text
from fanion.dialects import vocabulary
from fanion.dialects.wire.openapi import PORT

APIS = Path(__file__).parents[3] / "docs" / "apis"

if __name__ == "__main__":
    PATH.write_bytes(schema_text(vocabulary()))
    if APIS.is_dir():
        for name, make in documents(Config(), PORT).items():
            (APIS / f"{name}.openapi.json").write_bytes(make())
