"""Usage of a flag over HTTP (docs/apis/neutral.md: Usage). `Services.results` has it computed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, Literal

from fanion.dialects.neutral.envelope import OK
from fanion.dialects.neutral.results import asked
from fanion.dialects.neutral.served import Gate
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Results, Services, Snapshot
from fanion.errors import RowsError
from fanion.model.api_key import KeyRecord

DAYS: Final = 30
DAYS_MAX: Final = 400


def usage(services: Services) -> Handler:
    gate = Gate(services)

    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Awaitable[Reply]:
        _, flag, given = asked(gate, snapshot, record, body, tail, "usage")
        by, days = given.get("by", "day"), given.get("days", str(DAYS))
        if given.keys() - {"by", "days"} or by not in ("day", "hour"):
            raise Fault(FaultKind.INVALID_SHAPE, "The query takes by (day or hour) and days.")
        if not (days.isascii() and days.isdigit() and len(days) <= 3 and 1 <= int(days) <= DAYS_MAX):
            raise Fault(FaultKind.INVALID_SHAPE, f"days is 1 to {DAYS_MAX}.")
        period: Literal["day", "hour"] = "hour" if by == "hour" else "day"
        return _answer(services.results, record.environment, flag, period, int(days))

    return handler


async def _answer(
    results: Results, environment: str, flag: str, by: Literal["day", "hour"], days: int
) -> Reply:
    try:
        return OK, await results.usage(environment, flag, by=by, days=days)
    except RowsError as error:
        raise Fault(FaultKind.OVERLOADED, str(error), retry_after_s=5) from None
