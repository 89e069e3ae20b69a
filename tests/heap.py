"""What a run of tests keeps, and Python's collector of circles passes over.

Thousands of collected tests and all that they import make a full collection take 0.2 s; what is tested asks for one
at every publish (`model.collector.give_back`). In a server, too, what it started with is frozen.
"""

from __future__ import annotations

import gc

from fanion.model.collector import freeze


def settle() -> None:
    """What lives now is passed over from here on; what is dead goes first."""
    gc.unfreeze()
    freeze()
