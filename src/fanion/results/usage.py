"""Usage of flags over time, from the rows: who was told what, and why (docs/results.md: Usage).

What is counted is evaluations, exposures and decisions that were sent, and exposures that the server recorded, each
kind by itself; rows that repeat another count once. Periods are UTC's, by the time of the event.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from fanion.model.printable import cell
from fanion.pipeline.manifest import File
from fanion.pipeline.query import open_rows
from fanion.results.report import written

By = Literal["day", "hour"]
PERIODS_US: Final[dict[By, int]] = {"day": 86_400_000_000, "hour": 3_600_000_000}
DAYS: Final = 30
COUNTS_MAX: Final = 100_000
"""Of one answer: the first ones."""


class Count(msgspec.Struct, frozen=True):
    """`variant`: its name; of events without one the value that was given, as text. `units`: different ones, of
    those events that name one."""

    environment: str
    flag: str
    period: str
    kind: str
    variant: str | None
    reason: str | None
    events: int
    units: int


def usage(
    directory: Path, *, environment: str | None, flag: str | None, by: By = "day", days: int = DAYS
) -> list[Count]:
    """By environment and flag, the oldest first; None: of all. `days`: how many to the newest event's, that one
    included. Raises RowsError."""
    period, day = PERIODS_US[by], PERIODS_US["day"]

    def mine(file: File) -> bool:
        return environment in (None, file.environment)

    with open_rows(directory, mine) as connection:
        asked = "counts AND flag IS NOT NULL AND kind <> 'metric'"
        given: list[Any] = []
        for column, value in (("environment", environment), ("flag", flag)):
            if value is not None:
                given.append(value)
                asked += f" AND {column} = ${len(given)}"
        (found,) = connection.execute(
            f"SELECT epoch_us(max(event_at)) FROM rows WHERE {asked}", given
        ).fetchone()
        low = ((found or 0) // day - days + 1) * day
        rows = connection.execute(
            f"""
            SELECT environment, flag, epoch_us(event_at) // {period} AS period, kind,
                coalesce(variant, value_text, regexp_replace(value::VARCHAR, '\\.0$', '')) AS variant, reason,
                count(*), count(DISTINCT unit_key)
            FROM rows WHERE {asked} AND event_at >= make_timestamptz({low})
            GROUP BY ALL ORDER BY 1, 2, 3, 4, 5, 6 LIMIT {COUNTS_MAX}
            """,
            given,
        ).fetchall()
    return [Count(one[0], one[1], written(one[2] * period), *one[3:]) for one in rows]


def csv_text(counts: Sequence[Count]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Count.__struct_fields__)
    writer.writerows(map(cell, msgspec.structs.astuple(one)) for one in counts)
    return text.getvalue()
