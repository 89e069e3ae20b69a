"""The settings of the pipeline: rows of events (docs/rows.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec
from msgspec import Meta


class Pipeline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rows of the journal's events, for SQL and results."""

    enabled: Annotated[
        bool,
        Meta(description="make rows beside the workers, in a process of its own; needs fanion[results]"),
    ] = False
    keep_days: Annotated[
        int,
        Meta(ge=0, le=100_000, description="days after receipt that rows are kept; 0: for ever"),
    ] = 0
    url: Annotated[
        str,
        Meta(
            description="nats:// or tls://HOST:PORT,HOST:PORT/STREAM that all machines ship to, of which rows are "
            "made; empty: of this directory's journal. Needs fanion[machines]"
        ),
    ] = ""


def problems_of_pipeline(pipeline: Pipeline) -> Iterator[str]:
    """What is wrong with values that have a form."""
    if pipeline.url and "@" in pipeline.url:
        yield "pipeline.url has an @; users and passwords are places.user and places.password"
