"""`fanion journal archive|restore`: finished log segments to an archive, and back (docs/machines.md)."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from fanion.cli.common import configuration, data_option
from fanion.cli.text import echo
from fanion.errors import FanionError
from fanion.model.text import counted

PROBLEMS_SHOWN_MAX = 20


@click.command()
@data_option
@click.option("--once", is_flag=True, help="End when all that is finished now has been archived.")
def archive(data: Path, once: bool) -> None:
    """Copy finished log segments to the archive of archive.url, until SIGTERM or Ctrl-C.

    A server does the same beside its workers; this may run beside one that doesn't, or once after a server has
    ended, which archives its last segments too."""
    from logging.config import dictConfig

    from fanion.app.archiving import make_archiver
    from fanion.archive import missing_library
    from fanion.archive.service import Service
    from fanion.pipeline.service import Ending
    from fanion.telemetry.logs import logging_config

    config = configuration(data)
    if not config.archive.url:
        raise click.UsageError("archive.url is empty; it says where log segments go")
    if missing := missing_library():
        raise click.UsageError(f"{missing} is not installed; pip install 'fanion[machines]'")
    ending = Ending()
    if not once:
        dictConfig(logging_config(config.log.level))  # as the server's, or what fails has no reason
        Service(config.archive, lambda turn: make_archiver(data, config, turn)).run(ending)
        return
    with make_archiver(data, config, lambda: None) as archiver:
        segments = archiver.run_once(ending)
        for problem in archiver.problems():
            echo(f"fanion: {problem}", err=True)
        left = archiver.stands().waiting_segments
        wait = f"; {left:,} wait, give this again" if left else ""
        were = "was" if segments == 1 else "were"
        echo(f"{counted(segments, 'log segment')} {were} archived to {config.archive.url}{wait}")


@click.command()
@data_option
@click.option("--from", "url", required=True, metavar="URL", help="The archive: s3, gs, az or file://.")
@click.option("--machine", default="", metavar="ID", help="Whose journal, where the archive has several.")
def restore(data: Path, url: str, machine: str) -> None:
    """Bring a journal back from its archive, into an empty directory or one that has lost a part of it.

    No server may run on the directory. Each segment is checked whole, by its digest and its records, before it
    counts; what the directory has and reads well stays. A command that was killed is finished by giving it again.
    Rows are made anew by the pipeline, and definitions come from where they were published.

    Exit status 1 where something is missing or damaged there; what is whole was restored.
    """
    from rich.console import Console
    from rich.progress import track

    from fanion.app.archiving import open_archive
    from fanion.archive.restoring import LEAP, Restoring, choose_machine
    from fanion.config.archive import problems_of_archive
    from fanion.journal.settings import JournalSettings
    from fanion.journal.storage import Storage
    from fanion.process.directory import DirectoryLock

    config = configuration(data)
    given = msgspec.structs.replace(config.archive, url=url)
    for problem in problems_of_archive(given):
        raise click.UsageError(problem.replace("archive.url", "--from"))
    storage, bucket = Storage(), open_archive(url, config)
    machine = choose_machine(bucket, storage, data, machine.strip().lower())
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = DirectoryLock(data)
    try:
        settings = JournalSettings.taken_from(config.journal)
        restoring = Restoring(storage, data, settings, bucket, machine)
        console = Console(stderr=True)
        for _ in track(restoring, "restoring", restoring.total, console=console, transient=True):
            pass
    finally:
        lock.close()
    found = restoring.found
    restored = f"{counted(found.segments, 'log segment')} with {counted(found.records, 'request')} restored"
    echo(f"machine {machine}: {restored}, {found.kept:,} {'was' if found.kept == 1 else 'were'} here")
    if found.leapt:
        whose = f"{'writer' if len(found.leapt) == 1 else 'writers'} {', '.join(map(str, found.leapt))}"
        echo(f"sequences of {whose} go on {LEAP:,} behind, since their last ones aren't known")
    hours = config.journal.retention_hours
    if hours and found.segments:
        echo(f"a server lets go what is older than {hours:g} h (journal.retention_hours) and was read")
    for problem in found.problems[:PROBLEMS_SHOWN_MAX]:
        echo(f"fanion: {problem}", err=True)
    if found.problems:
        more = len(found.problems) - PROBLEMS_SHOWN_MAX
        if more > 0:
            raise FanionError(f"and {more:,} more")
        sys.exit(1)
