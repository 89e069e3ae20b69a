"""What every command that changes a store does so within. Where a directory has to do with no place, as most have
not, nothing of places is loaded (`app.machines`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fanion.config import Config
from fanion.errors import StoreMissingError
from fanion.store.layout import PLACE
from fanion.store.store import Store


@contextmanager
def changing(
    data: Path, config: Config, *, to: str = "", followers: bool = False, whole: bool = False
) -> Iterator[None]:
    """Around one change of a directory's store. `to`: the place that it publishes to from now on; "": the one that
    it published to before, if any. `followers`: a change that one that follows makes too, for itself. `whole`: all
    that the directory has is sent under a new number, whatever the place should have of it. Raises PlaceError,
    PlaceMovedError, StoreError."""
    if not to and not _has_a_place(data, config):
        yield
        return
    from fanion.app.machines import sending

    with sending(data, config, to=to, followers=followers, whole=whole):
        yield


def _has_a_place(data: Path, config: Config) -> bool:
    try:
        with Store.open(data, write=True, map_bytes=config.store.map_bytes) as store, store.pin() as pinned:
            return pinned.meta(PLACE) is not None
    except StoreMissingError:  # the command itself says so, or makes one
        return False
