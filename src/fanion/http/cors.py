"""Preflights: what a browser asks before it sends a request of another origin's page.

Tracing libraries add headers of their own to every fetch (`traceparent`, `baggage`, `sentry-trace`), and a header
that isn't allowed costs the page its request. So the headers that are asked for are allowed, beside those that the
API names; a key is asked for all the same, and no cookie is ever read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from fanion.dialects.wire.cors import Cors
from fanion.dialects.wire.reply import Head, HeaderList, Headers, Reply

ASKED = b"access-control-request-headers"
ASKED_BYTES_MAX = 2_048
"""Beyond this the API's own headers alone are allowed."""
TOKENS = re.compile(rb"[0-9A-Za-z!#$%&'*+.^_`|~-]+(?:[ \t]*,[ \t]*[0-9A-Za-z!#$%&'*+.^_`|~-]+)*+")
"""A list of header names (RFC 9110, 5.6.2)."""


def preflight(cors: Cors, methods: Iterable[str], headers: Headers) -> Reply:
    answer: HeaderList = [
        *cors.always,
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", allowed(cors.headers, headers.get(ASKED, b""))),
        (b"access-control-max-age", b"%d" % cors.max_age_s),
        (b"vary", ASKED),
    ]
    return Head(204, answer), b""


def allowed(own: bytes, asked: bytes) -> bytes:
    """The API's own headers and those that were asked for, each once; what is no list of names adds nothing."""
    if len(asked) > ASKED_BYTES_MAX or TOKENS.fullmatch(asked.strip()) is None:
        return own
    names = [name.strip().lower() for name in (own + b"," + asked).split(b",")]
    return b", ".join(dict.fromkeys(names))
