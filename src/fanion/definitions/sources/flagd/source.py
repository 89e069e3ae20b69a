"""flagd's flag definitions as a source (docs/apis/flagd.md): one file, JSON or YAML, is one flag set.

A flag set doesn't say its environment: a reference, or whoever publishes it, does. What an evaluator could not run
is refused; what evaluators give an answer to is a warning and keeps it: an unknown evaluator in a `$ref`, too few
operands, members that nobody reads.
"""

from __future__ import annotations

from typing import Any

from fanion.definitions.reading.documents import DocumentError, read_document
from fanion.definitions.reading.report import Report
from fanion.definitions.sources.flagd.files import MEMBERS, FlagSet, FlagSetReader
from fanion.definitions.sources.flagd.lowering import NAME, lower
from fanion.definitions.sources.format import SourceFile, SourceFormat


def recognises(document: Any) -> bool:
    """Whether a plain document is a flag set: flags whose variants stand by name."""
    if not isinstance(document, dict) or not document.keys() <= MEMBERS:
        return False
    flags = document.get("flags")
    found = list(flags.values()) if isinstance(flags, dict) else flags
    if not isinstance(found, list):
        return False
    return all(
        isinstance(one, dict) and ("state" in one or isinstance(one.get("variants"), dict)) for one in found
    )


def parse(source: SourceFile, report: Report) -> FlagSet | None:
    """The flag set; None when something of it is refused."""
    try:
        document = read_document(source.name, source.data)
    except DocumentError as error:
        report.problem(source.name, error.place, error.found, error.allowed)
        return None
    return FlagSetReader(report, source.name).read(document)


FORMAT = SourceFormat(NAME, parse, lower, recognises)
