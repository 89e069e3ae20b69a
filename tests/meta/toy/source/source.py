"""A toy's files: an object of flags, each with the one value that everyone gets."""

from __future__ import annotations

from typing import Any, Final

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.rules import lower_flag
from fanion.definitions.reading.documents import DocumentError, read_document
from fanion.definitions.reading.report import Report, shown
from fanion.definitions.sources.format import SourceFile, SourceFormat

NAME: Final = "toy"


def parse(source: SourceFile, report: Report) -> dict[str, Any] | None:
    try:
        document = read_document(source.name, source.data)
    except DocumentError as error:
        report.problem(source.name, error.place, error.found, error.allowed)
        return None
    if not isinstance(document, dict):
        report.problem(source.name, "document", shown(document), "an object of flags")
        return None
    return document


def lower(flags: dict[str, Any], source: SourceFile, builder: Builder, report: Report) -> None:
    builder.flat_context(NAME)
    for key, value in flags.items():
        owner = builder.taken(key, NAME, source.name, key)
        if owner is not None:
            report.problem(source.name, key, f"a key that a {owner} definition has", "each key once")
            continue
        lower_flag(
            builder,
            key,
            enabled=True,
            default=value,
            rules=[],
            names={},
            client_safe=True,
            flag_id=None,
            source=NAME,
        )


FORMAT: Final = SourceFormat(NAME, parse, lower)
