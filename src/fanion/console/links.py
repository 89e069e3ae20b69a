"""Where pages link to. Names may hold anything, so they stand in queries."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from fanion.console.questions import EventRow


def flag_query(environment: str, source: str, key: str) -> str:
    return urlencode({"environment": environment, "source": source, "key": key})


def usage_query(environment: str, flag: str) -> str:
    return urlencode({"environment": environment, "flag": flag})


def experiment_query(environment: str, key: str, by: str = "") -> str:
    return urlencode({"environment": environment, "key": key, **({"by": by} if by else {})})


def event_query(row: EventRow) -> str:
    names = {"writer": row.writer, "epoch": row.epoch, "sequence": row.sequence, "index": row.index}
    return urlencode({**names, "at": row.received_ns})


def page_query(filters: Mapping[str, str], page: int) -> str:
    """The same list, another page."""
    return urlencode({**{name: value for name, value in filters.items() if value}, "page": page})
