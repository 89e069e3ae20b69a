"""The APIs' OpenAPI documents, under a configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from fanion.config import Config
from fanion.dialects import description_of, served
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.openapi import openapi_text


def documents(config: Config, port: int) -> dict[str, Callable[[], bytes]]:
    """API -> what makes its document, of a server at this port."""

    def make(dialect: Dialect) -> bytes:
        return openapi_text(dialect, description_of(dialect.name), config, port=port)

    return {dialect.name: partial(make, dialect) for dialect in served()}
