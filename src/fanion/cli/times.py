"""Times on the command line: when something ends, as it is given and as it is shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

import click

from fanion.clock.belief import Belief
from fanion.definitions.reading.keys import parse_time

DURATION: Final = re.compile(r"(\d{1,6})([smhd])", re.ASCII)
UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
FIRST_S, END_S = -62_135_596_800, 253_402_300_800
"""Unix seconds of the years that a time can be shown in."""


def end_of(text: str, clock: Belief, option: str) -> float:
    """Unix seconds of a duration from now or of a time; naive is UTC. A wall clock that jumped makes nothing last
    longer. Raises BadParameter, which names the `option`."""
    duration = DURATION.fullmatch(text.strip().lower())
    if duration is not None:
        end = clock.cautious + int(duration[1]) * UNIT_SECONDS[duration[2]]
        if end <= clock.believed:
            why = "; the wall clock is behind: set it right, or `fanion journal trust-clock` says that it is"
            raise click.BadParameter(
                f"{text!r} would be over at once{why if clock.wall < clock.believed else ''}",
                param_hint=option,
            )
        return end
    moment = parse_time(text)
    if moment is None:
        raise click.BadParameter(
            f"{text!r} is neither like 30d nor 12h nor an ISO 8601 time before the year 10000",
            param_hint=option,
        )
    if moment.timestamp() <= clock.expiry:
        raise click.BadParameter(f"{text!r} is past", param_hint=option)
    return moment.timestamp()


def seconds_of(text: str, option: str) -> float:
    """Of a duration. Raises BadParameter, which names the `option`."""
    duration = DURATION.fullmatch(text.strip().lower())
    if duration is None:
        raise click.BadParameter(f"{text!r} isn't like 30m, 2h or 7d", param_hint=option)
    return int(duration[1]) * UNIT_SECONDS[duration[2]]


def until(at: float | None, never: str) -> str:
    """In words, as far as a time can be shown; `never`: of something that doesn't end."""
    if at is None:
        return never
    if not FIRST_S <= at < END_S:
        return "until a time before year 1" if at < FIRST_S else "until a time after year 9999"
    return f"until {moment(at)}"


def moment(at: float) -> str:
    """UTC, to the second."""
    if not FIRST_S <= at < END_S:
        return "a time before year 1" if at < FIRST_S else "a time after year 9999"
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
