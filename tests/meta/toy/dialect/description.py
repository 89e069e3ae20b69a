"""What the toy's OpenAPI document says beside its routes."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from fanion.dialects.toy.routes import Ask

from fanion.config import Limits
from fanion.dialects.wire.described import Described, Description, Told


class Answer(msgspec.Struct):
    value: Any
    greeting: str


class Error(msgspec.Struct):
    no: str


def endpoints(limits: Limits) -> dict[str, Described]:
    return {
        "ask": Described("Ask one flag", {200: Told("its value", Answer)}, Ask),
        "tell": Described("Keep one event", {202: Told("it is kept", dict[str, str])}, Ask),
    }


DESCRIPTION: Final = Description(
    title="Toy",
    text="As small as an API can be.",
    credentials={"key": {"type": "apiKey", "in": "header", "name": "x-toy"}},
    refusal=Error,
    endpoints=endpoints,
)
