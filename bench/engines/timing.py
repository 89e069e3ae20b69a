"""How much processor time one call takes, and the flag that all are asked for. Runs in every environment."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable

FLAGS = [f"flag-{number}" for number in range(50)]
KEY = "flag-7"
USER = "user_123"
COUNTRIES = ["DE", "AT", "CH"]
PERSON = {"country": "DE", "plan": "pro", "email": "a@b.example", "beta": True}
STRANGER = {**PERSON, "country": "FR"}


def measure(ask: Callable[[], object], differs: str = "") -> None:
    """Prints the median of the rounds in us of processor time a call, all threads, as JSON. `differs`: how the flag
    isn't quite the others'."""
    rounds, calls = int(sys.argv[1]), int(sys.argv[2])
    taken = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(calls):
            ask()
        taken.append((time.process_time() - began) / calls * 1e6)
    print(json.dumps({"us": statistics.median(taken), "differs": differs}), flush=True)


def check(decide: Callable[[str, dict[str, object]], bool]) -> None:
    """About half of the people that the conditions are met for, and none of the others; raises SystemExit."""
    inside = sum(decide(f"user_{n}", dict(PERSON)) for n in range(2_000))
    outside = sum(decide(f"user_{n}", dict(STRANGER)) for n in range(200))
    if not 850 < inside < 1_150 or outside:
        raise SystemExit(f"{inside} of 2,000 inside, {outside} of 200 outside")
