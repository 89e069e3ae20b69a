"""Request ids and times of day as the standard library writes them."""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from fanion._core.stamps import RequestIds, UtcClock

BEYOND_MS = 253_402_300_800_000
"""The year 10,000."""


def test_request_ids_are_the_version_4_ids_of_their_random_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = random.Random(16).randbytes(16 * 256)
    monkeypatch.setattr("os.urandom", lambda size: drawn[:size])
    ids = RequestIds()
    taken = [ids.take().decode() for _ in range(256)]
    wanted = [str(UUID(bytes=drawn[at : at + 16], version=4)) for at in range(0, len(drawn), 16)]
    assert sorted(taken) == sorted(wanted)


def test_times_read_as_the_standard_library_writes_them() -> None:
    clock, draw = UtcClock(), random.Random(16)
    for millisecond in [0, BEYOND_MS - 1, *(draw.randrange(BEYOND_MS) for _ in range(2_000))]:
        moment = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=millisecond)
        wanted = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z").encode()
        assert clock.text(millisecond * 1_000_000) == wanted
    before = time.time_ns() // 1_000_000
    now = datetime.fromisoformat(clock.text().decode())
    assert before <= round(now.timestamp() * 1000) <= time.time_ns() // 1_000_000


@pytest.mark.parametrize("millisecond", [-1, BEYOND_MS])
def test_a_time_that_has_no_four_digits_of_a_year_is_refused(millisecond: int) -> None:
    with pytest.raises(ValueError, match="no time from 1970 to 9999"):
        UtcClock().text(millisecond * 1_000_000)
