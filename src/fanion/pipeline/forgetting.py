"""A unit leaves the rows' files: each that has it is written anew without, and the old one goes at once.

The pipeline stands aside meanwhile (`turn`'s lock, for which it looks between its steps), so the manifest is this
one's to commit. Rows of the unit leave, and those whose events the journal has erased; rows of others that name it
lose the name. A kill leaves the old files or the new ones; what the manifest doesn't name, the next run removes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec

from fanion.errors import RowsError
from fanion.journal.forgetting import Hole
from fanion.journal.rows import hash_64, unit_key
from fanion.journal.storage import Storage
from fanion.model.forgotten import Forms
from fanion.pipeline.manifest import commit_manifest, load_manifest
from fanion.pipeline.parquet import ROW_GROUP_ROWS, Writer, arrow
from fanion.pipeline.pipeline import DIRECTORY, LOCK, SPILLED, TURN, remove_unnamed

POLL_S: Final = 0.05
IDENTITY: Final = ("machine", "writer", "sequence", "index")
KEYS: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "unit": ("unit_key", lambda text: unit_key(text, hashed=False)),
    "event_id": ("event_key", hash_64),
}
"""Texts that have a key, which stands behind them: one of a text without the name is the key of that."""


class ForgottenRows(msgspec.Struct):
    """`spilled`: directories of queries that still run and may hold what they read before."""

    files: int = 0
    rewritten: int = 0
    rows: int = 0
    redacted: int = 0
    spilled: list[str] = []


def count_in_rows(storage: Storage, directory: Path, forms: Forms, holes: Collection[Hole]) -> ForgottenRows:
    """What `forget_in_rows` would do."""
    found = ForgottenRows()
    rows = directory / DIRECTORY
    manifest = load_manifest(storage, rows)
    if manifest.files:
        sieve = _Sieve(forms, holes)
        for file in manifest.files:
            _, _, left, redacted = sieve.count(rows / file.name)
            found.files += 1
            found.rewritten += bool(left or redacted)
            found.rows += left
            found.redacted += redacted
    return found


def forget_in_rows(storage: Storage, directory: Path, forms: Forms, holes: Collection[Hole]) -> ForgottenRows:
    """Of the data directory `directory`, by who holds its rows (`holding_rows`). RowsError where pyarrow is missing
    and there are rows."""
    found = ForgottenRows()
    rows = directory / DIRECTORY
    if not rows.is_dir():
        return found
    manifest = load_manifest(storage, rows)
    remove_unnamed(storage, rows, manifest)
    files, replaced = [], []
    if manifest.files:
        sieve, writer = _Sieve(forms, holes), Writer(storage, rows)
    for file in manifest.files:
        found.files += 1
        schema, gone, left, redacted = sieve.count(rows / file.name)
        if not left and not redacted:
            files.append(file)
            continue
        found.rewritten += 1
        found.rows += left
        found.redacted += redacted
        replaced.append(file.name)
        if left < file.rows:
            name = f"{manifest.step + 1:010}-{len(replaced)}.parquet"
            kept = msgspec.structs.replace(file, name=name)
            files.append(writer.write_batches(kept, sieve.kept(rows / file.name, gone), schema))
    names = [*replaced, *(leaving.name for leaving in manifest.leaving)]
    if names:
        step = msgspec.structs.replace(manifest, step=manifest.step + 1, files=files, leaving=[])
        commit_manifest(storage, rows, step)
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                storage.unlink(rows / name)
        storage.sync_directory(rows)
    found.spilled = _remove_spilled(rows)
    return found


@contextmanager
def holding_rows(storage: Storage, directory: Path, wait_s: float) -> Iterator[None]:
    """Nobody else makes rows meanwhile. RowsError where a pipeline doesn't let go in time."""
    rows = directory / DIRECTORY
    if not rows.is_dir():
        yield
        return
    turn, lock = storage.open(rows / TURN, create=True), storage.open(rows / LOCK, create=True)
    try:
        deadline = storage.now() + int(wait_s * 1e9)
        for fd in (turn, lock):
            while not storage.lock(fd):
                if storage.now() >= deadline:
                    raise RowsError(f"{rows}: the pipeline has not let go in {wait_s:g} s; run this again")
                storage.sleep(POLL_S)
        yield
    finally:
        storage.close(lock)  # first: who sees that nobody wants the rows any more finds them free
        storage.close(turn)


def _remove_spilled(rows: Path) -> list[str]:
    """Of queries whose processes are gone; those of the others are named."""
    living = []
    for path in rows.glob(f"{SPILLED}*"):
        number = path.name.removeprefix(SPILLED).partition("-")[0]
        if number.isdigit() and _lives(int(number)):
            living.append(path.name)
        else:
            shutil.rmtree(path, ignore_errors=True)
    return sorted(living)


def _lives(process: int) -> bool:
    if not process:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


class _Sieve:
    """Files read batch by batch: which rows leave, and the others without the names."""

    def __init__(self, forms: Forms, holes: Collection[Hole]) -> None:
        self._forms = forms
        self._holes = holes
        self._arrow = arrow()
        self._sequences = self._arrow.array(sorted({hole[2] for hole in holes}), self._arrow.uint64())

    def count(self, path: Path) -> tuple[Any, set[Hole], int, int]:
        """(schema, events that leave, rows that leave, rows of others that lose a name)."""
        left = redacted = 0
        with self._arrow.parquet.ParquetFile(path) as source:
            schema = source.schema_arrow
            gone = self._gone(path)
            for batch in source.iter_batches(ROW_GROUP_ROWS, use_threads=False):
                kept = self._without(batch, gone)
                left += batch.num_rows - kept.num_rows
                redacted += self._redacted(kept)[1]
        return schema, gone, left, redacted

    def kept(self, path: Path, gone: set[Hole]) -> Iterator[Any]:
        with self._arrow.parquet.ParquetFile(path) as source:
            for batch in source.iter_batches(ROW_GROUP_ROWS, use_threads=False):
                kept = self._redacted(self._without(batch, gone))[0]
                if kept.num_rows:
                    yield kept

    def _gone(self, path: Path) -> set[Hole]:
        """Identities of the events of which a row names the unit as its own, and of the journal's holes: an event
        leaves with all of its rows."""
        gone: set[Hole] = set()
        with self._arrow.parquet.ParquetFile(path) as source:
            for batch in source.iter_batches(ROW_GROUP_ROWS, columns=[*IDENTITY, "unit"], use_threads=False):
                if self._forms.occur_in(_bytes_of(batch.column("unit"))):
                    mask = [self._forms.is_unit(text) for text in batch.column("unit").to_pylist()]
                    gone.update(_identities(batch.filter(self._arrow.array(mask))))
                if self._holes:
                    some = self._arrow.compute.is_in(
                        batch.column("sequence").cast(self._arrow.uint64()), value_set=self._sequences
                    )
                    gone.update(hole for hole in _identities(batch.filter(some)) if hole in self._holes)
        return gone

    def _without(self, batch: Any, gone: set[Hole]) -> Any:
        if not gone:
            return batch
        sequences = self._arrow.array(sorted({hole[2] for hole in gone}), batch.schema.field("sequence").type)
        some = self._arrow.compute.is_in(batch.column("sequence"), value_set=sequences)
        if not self._arrow.compute.any(some).as_py():
            return batch
        mask = [
            not near or identity not in gone
            for near, identity in zip(some.to_pylist(), _identities(batch), strict=True)
        ]
        return batch.filter(self._arrow.array(mask))

    def _redacted(self, batch: Any) -> tuple[Any, int]:
        """The batch without names, and how many of its rows had one."""
        columns, named = [], set[int]()
        keys: dict[str, Any] = {}
        for field, column in zip(batch.schema, batch.columns, strict=True):
            column = keys.get(field.name, column)
            if _is_text(self._arrow, field.type) and self._forms.occur_in(_bytes_of(column)):
                texts = column.to_pylist()
                found = [None if text is None else self._forms.redact(text) for text in texts]
                changed = {n for n, text in enumerate(texts) if text != found[n]}
                named |= changed
                key, key_of = KEYS.get(field.name, ("", str))
                if changed and key in batch.schema.names:
                    known = batch.column(key).to_pylist()
                    made = [key_of(found[n]) if n in changed else one for n, one in enumerate(known)]
                    keys[key] = self._arrow.array(made, batch.schema.field(key).type)
                column = self._arrow.array(found, self._arrow.string()).cast(field.type)
            columns.append(column)
        return self._arrow.record_batch(columns, schema=batch.schema), len(named)


def _is_text(arrow: Any, kind: Any) -> bool:
    value = kind.value_type if arrow.types.is_dictionary(kind) else kind
    return bool(arrow.types.is_string(value) or arrow.types.is_large_string(value))


def _bytes_of(column: Any) -> bytes:
    """All texts of a column, one behind the other or as its dictionary has them."""
    if hasattr(column, "dictionary"):
        column = column.dictionary
    buffer = column.buffers()[2]
    return b"" if buffer is None else buffer.to_pybytes()


def _identities(batch: Any) -> list[Hole]:
    columns = (batch.column(name).to_pylist() for name in IDENTITY)
    return list(zip(*columns, strict=True))
