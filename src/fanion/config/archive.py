"""The settings of the archive: the journal's finished segments as objects elsewhere (docs/machines.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

ADDRESS: Final = re.compile(
    r"(?:s3|gs|az)://[A-Za-z0-9][A-Za-z0-9._-]{0,253}(?:/[A-Za-z0-9._=/-]*)?|file:///[^?#@]+"
)


class Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where finished log segments are copied to, by a process beside the workers. How a bucket is reached is
    places.endpoint, places.region, places.access_key and places.secret_key."""

    url: Annotated[
        str,
        Meta(
            description="s3, gs, az://BUCKET/PREFIX or file:///FOLDER that finished log segments are copied to; "
            "empty: none. Needs fanion[machines]"
        ),
    ] = ""
    interval_s: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds between two looks for finished segments"),
    ] = 10.0
    timeout_s: Annotated[
        float,
        Meta(
            ge=0.1, le=3_600, description="seconds that the store may take for a request, a whole segment too"
        ),
    ] = 60.0
    again_s_max: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds at most until a store that failed is tried again"),
    ] = 60.0


def problems_of_archive(archive: Archive) -> Iterator[str]:
    """What is wrong with values that have a form."""
    if "@" in archive.url:
        yield "archive.url has an @; what a bucket asks for is places.access_key and places.secret_key"
    elif archive.url and not ADDRESS.fullmatch(archive.url):
        yield (
            f"archive.url is {archive.url!r}; allowed: s3, gs or az://BUCKET/PREFIX, file:///FOLDER (with its "
            "whole path)"
        )
