"""Python's collector of circles, out of the way of work that makes very many objects which all stay; and the memory
that such work leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_frozen = False
"""Asking `gc` would walk all that is frozen."""


def freeze() -> None:
    """What lives now stays for good, in the processes that are forked of this one too, and is walked no more."""
    global _frozen
    gc.collect()
    gc.freeze()
    _frozen = True


@contextmanager
def collector_paused() -> Iterator[None]:
    """Hundreds of thousands of objects that all stay: walking them again and again doubles the time. Freezing
    and thawing makes them old at once, so that they aren't walked as young ones at the end either."""
    running = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if running:
            if not _frozen:
                gc.freeze()
                gc.unfreeze()
            gc.enable()


def give_back() -> None:
    """What was freed, circles too, goes back to the system, where the C library keeps it for itself between pieces
    that are in use (glibc; another has no such call). Takes 20 ms for a hundred MB."""
    import ctypes

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
