"""Results of an experiment over HTTP (docs/apis/neutral.md: Results). `Services.results` has them computed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

from fanion.dialects.neutral.envelope import OK
from fanion.dialects.neutral.served import Gate, Served, served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Results, Services, Snapshot
from fanion.errors import RowsError
from fanion.model.api_key import KeyRecord

FLAGS: Final = ("complete", "daily")
ATTRIBUTE_CHARACTERS_MAX: Final = 256
NAMES: Final = (*FLAGS, "by")
UNKNOWN: Final = "The environment has no such experiment."


def results(services: Services) -> Handler:
    gate = Gate(services)

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Awaitable[Reply]:
        at, key, given = asked(gate, snapshot, record, body, tail, "results")
        for name, value in given.items():
            if name not in NAMES or (name in FLAGS and value not in ("true", "false")):
                raise Fault(
                    FaultKind.INVALID_SHAPE, "The query takes complete, daily (true or false) and by."
                )
        attribute = given.get("by")
        if attribute is not None and not 0 < len(attribute) <= ATTRIBUTE_CHARACTERS_MAX:
            raise Fault(FaultKind.INVALID_SHAPE, f"by is 1 to {ATTRIBUTE_CHARACTERS_MAX} characters.")
        if key not in at.experiments:  # nobody is to have a process started for each name that there isn't
            raise Fault(FaultKind.NOT_FOUND, UNKNOWN)
        chosen = {name: given.get(name) == "true" for name in FLAGS}
        return _answer(services.results, record.environment, key, attribute, chosen)

    return handler


def asked(
    gate: Gate, snapshot: Snapshot, record: KeyRecord, query: bytes, tail: bytes, what: str
) -> tuple[Served, str, dict[str, str]]:
    """The environment, the key in the path and the query, of who may read. Raises Fault."""
    if record.kind != "server":
        raise Fault(FaultKind.FORBIDDEN, f"Only a server key reads {what}.")
    at = served(snapshot, record)
    gate.reads(at.terms)
    try:
        key = unquote_to_bytes(tail).decode()
        given = parse_qsl(query.decode(), keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise Fault(FaultKind.INVALID_SHAPE, "The path or the query is not UTF-8 text.") from None
    return at, key, dict(given)


async def _answer(
    results: Results, environment: str, key: str, attribute: str | None, chosen: dict[str, bool]
) -> Reply:
    try:
        found = await results.ask(
            environment, key, attribute=attribute, complete=chosen["complete"], daily=chosen["daily"]
        )
    except RowsError as error:
        raise Fault(FaultKind.OVERLOADED, str(error), retry_after_s=5) from None
    if found is None:
        raise Fault(FaultKind.NOT_FOUND, UNKNOWN)
    return OK, found
