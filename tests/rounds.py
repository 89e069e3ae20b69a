"""How many rounds a test of random cases takes: a few in a plain run, all of them by `--rounds full`, as CI asks.

A module takes its number here once, `PROGRAMS = rounds(few=150, full=1_000, variable="PROPERTY_PROGRAMS")`; the
variable says it for one run and wins over both. Every test of a module that takes a number, or uses another's, has
the marker `rounds`, so what a plain run left out is `pytest --rounds full -m "rounds or heavy"`. What a plain run
leaves out is marked `heavy`: what makes sense at length only, and long troubles (kills, outages, clusters, all
variants of the same) of what a quicker test tries once.
"""

from __future__ import annotations

import os
from types import ModuleType

FULL = "TEST_ROUNDS_FULL"
"""The variable by which `tests/conftest.py` hands the option on, to the workers and the processes of a run too."""


class Rounds(int):
    """A number that the option decides."""


def rounds(few: int, full: int, variable: str = "") -> Rounds:
    """The number of rounds; `variable` names an environment variable that says another one."""
    said = os.environ.get(variable) if variable else None
    return Rounds(said if said is not None else full if FULL in os.environ else few)


def takes_rounds(module: ModuleType | None) -> bool:
    """Whether tests of a module depend on the option."""
    return (
        any(thing is rounds or isinstance(thing, Rounds) for thing in vars(module).values())
        if module
        else False
    )
