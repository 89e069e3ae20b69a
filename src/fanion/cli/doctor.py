"""`fanion doctor`: what is as a server wants it and what isn't, and what the data directory takes on its disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from fanion.cli.common import configuration, data_option, print_table
from fanion.cli.text import echo
from fanion.config import MIB


@click.command()
@data_option
def command(data: Path) -> None:
    """Show what is well, what to look at and what is bad, and what to do; then what the data directory takes.

    Also while a server runs. The disk is measured by 40 writes of 64 KiB to a file that is removed again; a
    place and a stream that the settings or the directory name are asked once, and nothing is changed there. Of
    what is taken, a setting in the last column is what bounds a line; memory that is mapped from these files is
    the same bytes, not others.
    """
    from fanion.app.reaching import reach
    from fanion.process.diagnosis import diagnose
    from fanion.process.footprint import footprint
    from fanion.process.machine import usable_cores

    if not data.is_dir():
        raise NotADirectoryError(20, "no such data directory", str(data))
    config = configuration(data)
    for finding in (*diagnose(data, config), *reach(data, config)):
        advice = f"; {finding.advice}" if finding.advice else ""
        line = f"{finding.verdict:4}  {finding.what}: {finding.found}{advice}"
        echo(line, red=finding.verdict == "bad")
    workers = config.server.workers or usable_cores()
    parts = footprint(data, config, workers)
    total = sum(part.taken_bytes for part in parts)
    rows = [
        (
            part.what,
            str(part.files),
            _mib(part.taken_bytes),
            "" if part.grows_to is None else _mib(part.grows_to),
            part.note,
        )
        for part in parts
    ]
    rows.append(("total", str(sum(part.files for part in parts)), _mib(total), "", ""))
    print_table(("what", "files", "MiB", "up to MiB", "bound"), rows, numbers=("files", "MiB", "up to MiB"))
    free = shutil.disk_usage(data).free
    needed = config.journal.reserve_bytes + 2 * config.journal.segment_bytes
    echo(f"{_mib(free)} MiB are free; below {_mib(needed)} MiB no events are taken (journal.reserve_bytes)")


def _mib(count: int) -> str:
    return f"{count / MIB:.1f}" if count < 100 * MIB else f"{count / MIB:.0f}"
