"""What a bench found, as data beside what it prints, for `python -m bench`, which gathers it over rounds."""

from __future__ import annotations

import json
import os
from pathlib import Path

PLACE = "BENCH_FIGURES"
"""Of the environment: the file that figures are added to. A bench that is run by hand has none, and only prints."""


def say(name: str, value: float, unit: str) -> None:
    """One figure. `name`: what was measured, its parts by slashes, the same in every run."""
    if place := os.environ.get(PLACE):
        with Path(place).open("a") as file:
            file.write(json.dumps({"name": name, "value": value, "unit": unit}) + "\n")
