"""`python -m fanion.cli.schema` writes the JSON Schema of the definitions anew."""

from __future__ import annotations

from fanion.definitions.schema import PATH, schema_text
from fanion.dialects import vocabulary

if __name__ == "__main__":
    PATH.write_bytes(schema_text(vocabulary()))
