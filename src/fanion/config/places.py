"""The settings of places: where what is published lies for other machines (docs/machines.md).

Which place a directory publishes to or follows is said by `fanion publish --to` and `fanion serve --follow`, and
the directory remembers it. A setting that is marked as secret is never shown: not in a message, in help or a log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final

import msgspec
from msgspec import Meta

KEY_CHARACTERS_MIN: Final = 32


class Places(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How places are reached, and how far a machine that follows one is believed without it."""

    follow: Annotated[
        str,
        Meta(
            description="place that `fanion serve` takes what it serves from: s3, gs, az, file, nats or tls://; "
            "empty: none"
        ),
    ] = ""
    key: Annotated[
        str,
        Meta(
            description="what manifests are signed and objects encrypted with, the same on every machine; "
            "`fanion cluster key` makes one",
            extra={"secret": True},
        ),
    ] = ""
    poll_s: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds between two looks at the place that is followed"),
    ] = 5.0
    timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=300, description="seconds that a place may take for a request"),
    ] = 10.0
    stale_s: Annotated[
        float,
        Meta(
            ge=1,
            le=1_000_000,
            description="seconds without the place after which answers say so, in the header Fanion-Stale",
        ),
    ] = 30.0
    max_staleness_s: Annotated[
        float,
        Meta(
            ge=0,
            le=10**9,
            description="seconds without the place after which keys are honoured no longer; 0: for ever",
        ),
    ] = 0.0
    machine: Annotated[
        str,
        Meta(max_length=100, description="name of this machine in a place; empty: its host name"),
    ] = ""
    endpoint: Annotated[
        str,
        Meta(description="http(s)://HOST:PORT of an S3-compatible store; empty: Amazon's own"),
    ] = ""
    region: Annotated[
        str,
        Meta(min_length=1, description="region of the bucket; most other stores take any"),
    ] = "us-east-1"
    access_key: Annotated[
        str,
        Meta(description="access key id of an s3 place; empty: what the environment or the machine gives"),
    ] = ""
    secret_key: Annotated[
        str,
        Meta(description="its secret; better in the environment than in a file", extra={"secret": True}),
    ] = ""
    user: Annotated[
        str,
        Meta(description="user of a nats place; empty: the password is a token, or nobody is asked"),
    ] = ""
    password: Annotated[
        str,
        Meta(description="that user's, or a token; better in the environment", extra={"secret": True}),
    ] = ""
    ca_file: Annotated[
        str,
        Meta(description="PEM file of who signs certificates of NATS servers; empty: the system's"),
    ] = ""
    certificate_file: Annotated[
        str,
        Meta(description="PEM file of a certificate that NATS servers are shown; empty: none"),
    ] = ""
    certificate_key_file: Annotated[
        str,
        Meta(description="PEM file of that certificate's key; empty: it is in the same file"),
    ] = ""
    replicas: Annotated[
        int,
        Meta(ge=0, le=5, description="of a bucket that is made in NATS; 0: 3 in a cluster, 1 on one server"),
    ] = 0


def problems_of_places(places: Places) -> Iterator[str]:
    """What is wrong with values that have a form, and with several together."""
    if places.key and len(places.key) < KEY_CHARACTERS_MIN:
        yield (
            f"places.key has {len(places.key)} characters; allowed: {KEY_CHARACTERS_MIN} and more, drawn at random"
        )
    if places.follow and not places.key:
        yield "places.follow needs places.key (FANION_PLACES_KEY), the one that is published with"
    if places.endpoint and not re.fullmatch(r"https?://[^/@\s]+/?", places.endpoint):
        yield "places.endpoint must be http://HOST:PORT or https://HOST:PORT, without a path or a user"
    if bool(places.access_key) != bool(places.secret_key):
        yield "places.access_key and places.secret_key are given together or not at all"
    if places.user and not places.password:
        yield "places.user is given without places.password (FANION_PLACES_PASSWORD)"
    if places.certificate_key_file and not places.certificate_file:
        yield "places.certificate_key_file is given without places.certificate_file"
    if not re.fullmatch(r"[A-Za-z0-9_-]*", places.machine):
        yield f"places.machine is {places.machine!r}; allowed: letters, digits, '-' and '_'"
    if places.max_staleness_s and places.max_staleness_s < 2 * places.poll_s:
        yield "places.max_staleness_s is below twice places.poll_s: keys would lapse between two looks"
