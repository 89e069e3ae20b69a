"""What queries of rows find, beside moments: counts of units and of events that are alike."""

from __future__ import annotations

from typing import NamedTuple


class Cell(NamedTuple):
    """What moments are of."""

    segment: str | None
    variant: str
    run: str


class Trust(NamedTuple):
    """Counts beside the numbers, over all segments."""

    several: int
    """Units that met two variants or more."""
    corrected: int
    """Rows, exposures and events, whose time was not believed."""
    contrary: int
    repeats: int
    bare: int
    """Events without an id."""
    not_numbers: int
    traced: int
    verified: int
    outside: int
    """Events of its metrics in its time whose unit was never exposed."""


class Counts(NamedTuple):
    """Units of a cell in whose time a run of the plan was. `open`: of each metric, those whose window isn't over;
    `corrected`: exposures of theirs whose time was not believed."""

    cell: Cell
    period: int
    units: int
    first_us: int
    several: int
    corrected: int
    open: tuple[int, ...]


class Known(NamedTuple):
    """Events of a plan that are alike. `within`: in the time in which they may count; `inside`: in that of the
    experiment."""

    plan: int
    what: int
    inside: bool
    within: bool
    again: bool
    bare: bool
    numberless: bool
    events: int
