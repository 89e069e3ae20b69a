"""The settings of shipping: the journal's records to a stream of NATS JetStream (docs/machines.md)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

import msgspec
from msgspec import Meta


class Shipping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the journal's records go besides, by a process beside the workers. Who is let in there, and TLS, are
    places.user, places.password, places.ca_file and what stands beside them."""

    url: Annotated[
        str,
        Meta(
            description="nats:// or tls://HOST:PORT,HOST:PORT/STREAM that records go to; empty: none. Needs "
            "fanion[machines]"
        ),
    ] = ""
    interval_s: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds between two looks at the journal"),
    ] = 1.0
    timeout_s: Annotated[
        float,
        Meta(
            ge=0.1,
            le=300,
            description="seconds that the stream may take to acknowledge what was sent at once",
        ),
    ] = 5.0
    again_s_max: Annotated[
        float,
        Meta(ge=0.05, le=3_600, description="seconds at most until a stream that failed is tried again"),
    ] = 5.0
    check_s: Annotated[
        float,
        Meta(
            ge=0.05,
            le=86_400,
            description="seconds between two looks whether the stream has all that it took",
        ),
    ] = 120.0
    keep_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="hours that a stream which is made here keeps records; 0: for ever",
        ),
    ] = 168.0
    replicas: Annotated[
        int,
        Meta(ge=0, le=5, description="of a stream that is made here; 0: 3 in a cluster, 1 on one server"),
    ] = 0
    when_full: Annotated[
        Literal["refuse", "drop"],
        Meta(
            description="refuse or drop: whether the journal takes no more events, or lets the oldest go that the "
            "stream doesn't have, once the disk is full"
        ),
    ] = "refuse"


def problems_of_shipping(shipping: Shipping, ack: str) -> Iterator[str]:
    """What is wrong with values that have a form. `ack`: the journal's."""
    if ack == "replicated" and not shipping.url:
        yield 'journal.ack is "replicated", which needs shipping.url: the stream that answers wait for'
    if shipping.url and "@" in shipping.url:
        yield "shipping.url has an @; users and passwords are places.user and places.password"
