"""`python -m fanion.app.settle DIR MAP_BYTES PARENT`: takes overrides whose time is over out of what is served, and
ends; for a server (`process.overrides`). It steps back behind who serves, and ends with its parent."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Final

from fanion.app.overriding import lay_overrides
from fanion.app.publishing import keep_copy
from fanion.errors import FanionError
from fanion.process.aside import end_with_parent
from fanion.store.store import Store

NICE: Final = 5


def main(directory: Path, map_bytes: int, parent: int) -> int:
    """The exit status."""
    end_with_parent(signal.SIGKILL, parent)
    os.nice(NICE)
    try:
        with Store.open(directory, write=True, map_bytes=map_bytes) as store:
            generation = lay_overrides(store).generation
            if generation is not None:
                keep_copy(store, generation)
    except (FanionError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
