"""`fanion forget UNIT...`: erases a person from everything below the data directory (docs/privacy.md)."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fanion.cli.common import NamedPath, Number, configuration, data_option
from fanion.cli.text import echo
from fanion.errors import FanionError
from fanion.model.text import counted
from fanion.plain_files import open_plain, open_to_write

if TYPE_CHECKING:
    from fanion.config import Config
    from fanion.journal.forgetting import Forgotten, Hole
    from fanion.journal.storage import Storage
    from fanion.model.forgotten import Forms
    from fanion.pipeline.forgetting import ForgottenRows
    from fanion.store.forgetting import ForgottenMembers

WAIT_S = 30.0
FILE_BYTES_MAX = 1 << 20
IDS_MAX = 200
"""Of one person, or a few: what they are looked for by takes seconds to make, and 2 ms for 10 KB of events."""


@click.command()
@data_option
@click.argument("units", nargs=-1)
@click.option(
    "--file",
    type=NamedPath(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    help="One more id per line; - is standard input, which leaves no trace in a shell's history.",
)
@click.option("--dry-run", is_flag=True, help="Only count what is there.")
@click.option(
    "--wait",
    type=Number(min=0),
    default=WAIT_S,
    show_default=True,
    help="Seconds for a running server's workers, pipeline and retention to let go.",
)
@click.option(
    "--identities",
    type=NamedPath(dir_okay=False, path_type=Path),
    help="Write the identities of all events ever erased from the journal, a JSON line each, for who copied them.",
)
def command(
    data: Path,
    units: tuple[str, ...],
    file: Path | None,
    dry_run: bool,
    wait: float,
    identities: Path | None,
) -> None:
    """Erase one person, named by UNITS: all ids, e-mail addresses and anonymous ids that are theirs.

    What came until now leaves: their events and exposures, also as SHA-256, as "type:id" and in base64, from the
    journal, from its archive and from Parquet rows, and their membership of lists. Events of others stay, at their
    places, without the name where they mention it. A running server goes on. Definitions that name them are listed,
    and are yours to change; so are backups. A command that was killed is finished by giving it again.

    Exit status 1 where something could not be erased; what was is said.
    """
    from fanion.model.forgotten import NAMED_LENGTH_MIN, Forms
    from fanion.store.forgetting import read_unit_keys

    named = [*units, *_lines(file)]
    if not named or not all(named):
        raise click.UsageError("name the person: UNITS, or a --file of them; none may be empty")
    if len(named) > IDS_MAX:
        raise FanionError(
            f"{len(named):,} ids; at most {IDS_MAX} at a time, since every event is held against all"
        )
    config = configuration(data)
    if not data.is_dir():
        raise FanionError(f"{data}: there is no such directory")
    forms = Forms(named, read_unit_keys(data, config.store.map_bytes))
    if dry_run and identities is not None:
        raise click.UsageError("--dry-run erases nothing, so there are no --identities to write")
    if short := sum(len(one) < NAMED_LENGTH_MIN for one in named):
        echo(
            f"{short} of {len(named)} ids {'is' if short == 1 else 'are'} shorter than {NAMED_LENGTH_MIN} "
            "characters: what is theirs leaves, but not where events of others mention them"
        )
    # Opened before anything is erased, and what it held stays until there is something to write.
    with nullcontext() if identities is None else open_to_write(identities, keep=True) as told:
        if dry_run:
            problems = _count(data, config, forms)
        else:
            problems, holes = _forget(data, config, forms, wait)
            if told is not None and holes is not None:
                told.writelines(map(str.encode, _lines_of(holes)))
                told.flush()
                if told.seekable():
                    told.truncate()
    for problem in problems:
        echo(f"fanion: {problem}", err=True)
    if problems:
        sys.exit(1)


def _lines(file: Path | None) -> list[str]:
    if file is None:
        return []
    if str(file) == "-":
        text = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
    else:
        with open_plain(file) as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
    if len(text) > FILE_BYTES_MAX:
        raise FanionError(f"{file}: larger than {FILE_BYTES_MAX:,} bytes; one person has a few ids")
    try:
        # At line feeds alone: an id may hold what else ends a line, and its parts would be others' ids.
        lines = text.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise FanionError(f"{file}: line {line} is not UTF-8") from None
    return [line for line in (one.removesuffix("\r") for one in lines) if line]


def _lines_of(holes: Iterable[Hole]) -> Iterable[str]:
    names = ("machine", "writer", "sequence", "index")
    return (f"{json.dumps(dict(zip(names, hole, strict=True)))}\n" for hole in sorted(holes))


def _count(data: Path, config: Config, forms: Forms) -> list[str]:
    from fanion.dialects import canonical_forms
    from fanion.journal.forgetting import Forgotten, count_in_journal
    from fanion.journal.storage import Storage
    from fanion.pipeline.forgetting import count_in_rows
    from fanion.store.forgetting import count_in_store

    storage, journal = Storage(), Forgotten()
    if (data / "journal").is_dir():
        journal = count_in_journal(storage, data, forms, canonical_forms())
    _tell_journal(journal, "to erase")
    _tell_rows(count_in_rows(storage, data, forms, journal.holes), "to erase")
    problems = _forget_archived(data, config, forms, dry=True)
    if (data / "store").is_dir():
        _tell_store(count_in_store(data, forms, map_bytes=config.store.map_bytes), "to take out")
    return problems


def _forget(data: Path, config: Config, forms: Forms, wait_s: float) -> tuple[list[str], set[Hole] | None]:
    """Each part is tried whatever became of the others. What went wrong, and the journal's holes; None where it
    wasn't gone through."""
    from fanion.app.changing import changing
    from fanion.archive.forgetting import holding_archive
    from fanion.dialects import canonical_forms
    from fanion.journal.forgetting import Forgotten, forget_in_journal
    from fanion.journal.settings import JournalSettings
    from fanion.journal.storage import Storage
    from fanion.pipeline.forgetting import forget_in_rows, holding_rows
    from fanion.store.forgetting import forget_in_store

    problems: list[str] = []
    holes: set[Hole] | None = None
    storage, journal = Storage(), Forgotten()
    settings = JournalSettings.taken_from(config.journal)
    try:
        with holding_rows(storage, data, wait_s), holding_archive(storage, data, wait_s):
            if (data / "journal").is_dir():
                journal = forget_in_journal(storage, data, settings, forms, canonical_forms(), wait_s=wait_s)
            holes = journal.holes
            _tell_journal(journal, "erased")
            rows = forget_in_rows(storage, data, forms, journal.holes)
            _tell_rows(rows, "erased")
            problems += [f"a query runs and may hold rows: {name}; give this again" for name in rows.spilled]
            problems += _forget_archived(data, config, forms, dry=False)
        problems += journal.unwritable
        if journal.unturned:
            names = ", ".join(map(str, journal.unturned))
            problems.append(
                f"the running server's writers {names} did not answer in {wait_s:g} s: what they hold in "
                "unfinished segments is still there; give this again, or stop the server before"
            )
    except (FanionError, OSError) as error:
        problems.append(str(error))
    if (data / "store").is_dir():
        try:
            with changing(data, config, followers=True):
                _tell_store(forget_in_store(data, forms, map_bytes=config.store.map_bytes), "taken out")
        except (FanionError, OSError) as error:
            problems.append(str(error))
    for name in _readers(data, storage):
        echo(f"the reader {name!r} of the journal may have copied events: hand it what --identities writes")
    echo("backups and copies elsewhere hold what they held: restore none without giving this command again")
    return problems, holes


def _forget_archived(data: Path, config: Config, forms: Forms, *, dry: bool) -> list[str]:
    """What could not be reached of an archive."""
    from fanion.app.archiving import forget_archived

    done, problems = forget_archived(data, config, forms, dry=dry)
    for url, found in done.items():
        erased = f"{counted(found.events, 'event')} {'to erase' if dry else 'erased'}"
        echo(
            f"archive {url}: {erased}, {found.redacted:,} of others name it; "
            f"{found.rewritten:,} of {found.objects:,} objects"
        )
    return problems


def _readers(data: Path, storage: Storage) -> list[str]:
    """Registered ones, but for the pipeline's and the archive's own: sinks, whatever reads on."""
    from fanion.archive import READER as ARCHIVE
    from fanion.journal.reader import list_checkpoints
    from fanion.pipeline.source import READER

    try:
        return sorted(list_checkpoints(storage, data / "journal").keys() - {READER, ARCHIVE})
    except (FanionError, OSError) as error:
        return [f"? ({error})"]


def _tell_journal(found: Forgotten, done: str) -> None:
    echo(
        f"journal: {counted(found.events, 'event')} {done}, {found.redacted:,} of others name it; "
        f"{found.rewritten:,} of {found.segments:,} segments"
    )


def _tell_rows(found: ForgottenRows, done: str) -> None:
    echo(
        f"rows: {found.rows:,} {done}, {found.redacted:,} of others name it; "
        f"{found.rewritten:,} of {found.files:,} files"
    )


def _tell_store(found: ForgottenMembers, done: str) -> None:
    where = f": {', '.join(found.lists)}" if found.lists else ""
    echo(f"lists: {counted(found.members, 'membership')} {done}{where}")
    for place in found.definitions:
        echo(f"definitions: {place} names it; change it there and publish")
