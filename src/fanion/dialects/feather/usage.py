"""A flag's usage by day (docs/apis/feather.md: Usage). `Services.results` has the rows counted; here they are
rolled up as the API's management pages have it, from what its SDKs reported and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec

from fanion.dialects.feather.envelope import OK
from fanion.dialects.feather.served import served
from fanion.dialects.wire.endpoint import Handler
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Results, Services, Snapshot
from fanion.errors import RowsError
from fanion.model.api_key import KeyRecord

DAYS: Final = 30
"""From 29 days ago to today, unless it is said."""
DAYS_MAX: Final = 90
COUNTED_DAYS: Final = 400
"""Of the rows, back from the newest: every question of a flag is the same one to who counts."""
NAMES: Final = ("environmentId", "from", "to")
REPORTED: Final = "evaluation"
MEMBERS: Final = {
    "RULE_MATCH": "ruleMatchCount",
    "ROLLOUT": "ruleMatchCount",
    "DEFAULT": "defaultCount",
    "DISABLED": "defaultCount",
    "ERROR": "errorCount",
}
"""Of reasons; any other is in the total alone."""


class Counted(msgspec.Struct):
    """What is read of a count of rows."""

    period: str
    kind: str
    variant: str | None
    reason: str | None
    events: int


class Counts(msgspec.Struct):
    usage: list[Counted]


class UsageDay(msgspec.Struct):
    date: str
    totalEvaluations: int = 0  # noqa: N815  # the API's own words, here and below
    valueDistribution: dict[str, int] = {}  # noqa: N815
    ruleMatchCount: int = 0  # noqa: N815
    defaultCount: int = 0  # noqa: N815
    errorCount: int = 0  # noqa: N815


class Usage(msgspec.Struct):
    flagKey: str  # noqa: N815
    environmentId: str  # noqa: N815
    from_: str = msgspec.field(name="from")
    to: str
    rows: list[UsageDay]


def usage(services: Services) -> Handler:
    def handler(
        snapshot: Snapshot, record: KeyRecord, body: bytes, tail: bytes, headers: Headers
    ) -> Awaitable[Reply]:
        if record.kind != "server":
            raise Fault(FaultKind.FORBIDDEN, "Only a server key reads usage.")
        flag, given = _asked(tail, body)
        at = served(snapshot, record)
        own = record.environment if at is None else at.environment_id
        if given.get("environmentId", own) not in (own, record.environment):
            raise Fault(FaultKind.NOT_FOUND, "The key's environment is another one.")
        first, last = _range(given.get("from"), given.get("to"), datetime.now(UTC).date())
        answer = Usage(flag, own, first.isoformat(), last.isoformat(), [])
        return _answer(services.results, record.environment, answer)

    return handler


def _asked(tail: bytes, query: bytes) -> tuple[str, dict[str, str]]:
    """The flag of `PROJECT/flags/FLAG/usage`, and the query. Raises Fault."""
    _, *rest = tail.split(b"/")
    if len(rest) != 3 or (rest[0], rest[2]) != (b"flags", b"usage"):
        raise Fault(FaultKind.NOT_FOUND, "There is no such path.")
    try:
        flag = unquote_to_bytes(rest[1]).decode()
        given = parse_qsl(query.decode(), keep_blank_values=True, strict_parsing=bool(query), errors="strict")
    except ValueError:
        raise Fault(FaultKind.INVALID_SHAPE, "The path or the query is not UTF-8 text.") from None
    for name, _ in given:
        if name not in NAMES:
            raise Fault(FaultKind.INVALID_SHAPE, "The query takes environmentId, from and to.")
    return flag, dict(given)


def _range(first: str | None, last: str | None, today: date) -> tuple[date, date]:
    """The first and the last day, both included. Raises Fault."""
    until = today if last is None else _day("to", last)
    try:
        since = until - timedelta(days=DAYS - 1) if first is None else _day("from", first)
    except OverflowError:
        since = date.min
    if not 0 <= (until - since).days < DAYS_MAX:
        raise Fault(
            FaultKind.INVALID_SHAPE, f"from is at most to, and both within {DAYS_MAX} days.", path="from"
        )
    return since, until


def _day(name: str, text: str) -> date:
    """A date, or the UTC date of a time."""
    try:
        at = datetime.fromisoformat(text)
        return (at if at.tzinfo is None else at.astimezone(UTC)).date()
    except (ValueError, OverflowError):
        raise Fault(FaultKind.INVALID_SHAPE, f"{name} is a date, such as 2026-11-29.", path=name) from None


async def _answer(results: Results, environment: str, answer: Usage) -> Reply:
    try:
        counted = await results.usage(environment, answer.flagKey, by="day", days=COUNTED_DAYS)
    except RowsError as error:
        raise Fault(FaultKind.OVERLOADED, str(error), retry_after_s=5) from None
    answer.rows = rolled_up(msgspec.json.decode(counted, type=Counts).usage, answer.from_, answer.to)
    return OK, msgspec.json.encode(answer)


def rolled_up(counts: Iterable[Counted], first: str, last: str) -> list[UsageDay]:
    """By day, the oldest first; days without events are left out."""
    days: dict[str, UsageDay] = {}
    for one in counts:
        day = one.period[:10]
        if one.kind != REPORTED or not first <= day <= last:
            continue
        row = days.setdefault(day, UsageDay(day, valueDistribution={}))
        row.totalEvaluations += one.events
        if one.variant is not None:
            row.valueDistribution[one.variant] = row.valueDistribution.get(one.variant, 0) + one.events
        if (member := MEMBERS.get(one.reason or "")) is not None:
            setattr(row, member, getattr(row, member) + one.events)
    return [days[day] for day in sorted(days)]
