"""What a pipeline reads on: a journal, or something else that hands out its batches; and the journal.

Rows of a directory have one source for good: a place in one says nothing of the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from msgspec.structs import replace

from fanion.errors import RowsError
from fanion.journal.batch import RecordBatch
from fanion.journal.gaps import Gaps, load_gaps
from fanion.journal.lag import Lag, lag_of
from fanion.journal.proven import ProvenReader
from fanion.journal.storage import Storage
from fanion.pipeline.manifest import Manifest

READER: Final = "rows"


class Heard(NamedTuple):
    """Of a stream: when it was last heard, and when it was last read to where it ended (Unix seconds; 0: not yet by
    this source); messages that were not read then; records that lie between others and haven't come."""

    unix_s: float
    whole_unix_s: float
    messages: int
    missing: int


class Source(Protocol):
    """`whole`: a run that came to its end has seen all that was durable when it began."""

    whole: bool

    def read_batches(self) -> Iterator[RecordBatch]:
        """What wasn't handed out yet, as `journal.reader.JournalReader` has it."""
        ...

    def check(self) -> None:
        """Raises what ended the last run before its time, once the rows that it gave count."""

    def placed(self, manifest: Manifest) -> Manifest:
        """With what was handed out so far for its place; the same one where that is no news."""
        ...

    def tell(self) -> None:
        """What a manifest covers may leave."""

    def problems(self) -> list[str]:
        """What could not be read."""
        ...

    def lag(self) -> Lag: ...

    def heard(self) -> Heard | None:
        """None: it is no stream."""
        ...

    def gaps(self) -> Gaps:
        """What left before it was read."""
        ...

    def close(self) -> None: ...


class JournalSource:
    """The journal of the data directory `data`, at a manifest's place, which may be before or behind what the
    registered reader committed. `drain`: as `journal.proven` has it. Raises RowsError where the rows have another
    source."""

    whole = True

    def __init__(
        self, storage: Storage, data: Path, manifest: Manifest, drain: Callable[[], None] | None = None
    ) -> None:
        if manifest.stream is not None:
            raise RowsError(
                f"{data}: its rows are made of the stream {manifest.stream.name}, by `fanion pipeline --from`; "
                "use another directory for those of a journal"
            )
        self._storage, self._data = storage, data
        self._reader = ProvenReader(
            data, storage=storage, name=READER, checkpoint=manifest.place, yields=True, drain=drain
        )

    def read_batches(self) -> Iterator[RecordBatch]:
        return self._reader.read_batches()

    def check(self) -> None:
        pass

    def placed(self, manifest: Manifest) -> Manifest:
        place = self._reader.checkpoint
        return manifest if place == manifest.place else replace(manifest, place=place)

    def tell(self) -> None:
        self._reader.commit()

    def problems(self) -> list[str]:
        return self._reader.problems()

    def lag(self) -> Lag:
        return lag_of(self._reader, self._storage)

    def heard(self) -> None:
        return None

    def gaps(self) -> Gaps:
        return load_gaps(self._storage, self._data / "journal", READER)

    def close(self) -> None:
        pass
