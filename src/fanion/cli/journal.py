"""`fanion journal cat|tail|verify|stats|trust-clock`: the journal as JSON lines, its checksums, sizes and time;
`archive` and `restore` stand in `cli.archive`.

The first four only read; all may run beside a server. `cat` and `tail` print one event a line, with its identity
(writer, epoch, sequence, index) and its canonical form.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import track

from fanion.cli.archive import archive, restore
from fanion.cli.common import data_option, print_table
from fanion.cli.text import echo, printable_json
from fanion.clock.keeper import describe, look_at, trust_wall
from fanion.dialects import NAMES, canonical_forms
from fanion.errors import JournalError
from fanion.journal.batch import Record
from fanion.journal.event import Expanded, expand
from fanion.journal.inspection import Summary, count_disk_bytes, summarise, verify_segments
from fanion.journal.reader import JournalReader
from fanion.model.canonical import iso_from_ns
from fanion.model.text import counted

POLL_S = 0.1
AGO = re.compile(r"(\d+)\s*([smhd])")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

ENVIRONMENTS_SHOWN_MAX = 50
MEMBERS = """\b
writer, epoch, sequence, index   where the event stands: its identity
kind                             evaluation, exposure, decision or metric
environment, dialect             whose, and through which API
received_at, sent_at             the server's time and the client's, in UTC
unit                             who: an id, its hash, a unit key, "type:key"
flag_key, variant, metric, value, reason
\b
disposition   kept
              verified    kept, and its evaluation trace was good
              duplicate   its id was there before: not to be counted
evaluation_trace_verified        whether it was, of APIs with traces
source                           the event as it was sent

What an event doesn't say is left out."""

COLUMNS = (
    "writer",
    "epoch",
    "segments",
    "records",
    "payload bytes",
    "disk bytes",
    "first",
    "last",
    "ring used",
)
NUMBERS = ("records", "payload bytes", "disk bytes", "ring used")

since_option = click.option(
    "--since", metavar="TIME", help='Received from then on: ISO 8601 (naive = UTC), or "15m", "2h", "7d" ago.'
)
dialect_option = click.option("--dialect", type=click.Choice(NAMES), help="Only events of this API.")
environment_option = click.option("--environment", help="Only events of this environment.")


@click.group(
    name="journal",
    help="Read, verify and summarise the journal; archive and restore it; settle its time.",
)
def command() -> None:
    pass


command.add_command(archive)
command.add_command(restore)


@command.command(help=f"Print every event as one JSON line, by time of receipt.\n\n{MEMBERS}")
@data_option
@since_option
@dialect_option
@environment_option
def cat(data: Path, since: str | None, dialect: str | None, environment: str | None) -> None:
    reader = JournalReader(data, since_ns=_since_ns(since))
    chosen = Chosen(dialect, environment)
    _print(chosen.of(reader.read(by_time=True)))
    _warn(reader)
    chosen.tell()


@command.command(
    help="Print new events as they become durable, until interrupted; lines as `cat` prints them."
)
@data_option
@since_option
@dialect_option
@environment_option
@click.option("--once", is_flag=True, help="End when there is nothing more to print.")
def tail(data: Path, since: str | None, dialect: str | None, environment: str | None, once: bool) -> None:
    reader = JournalReader(data, since_ns=_since_ns(since))
    if since is None:
        reader.skip_to_end()
    chosen = Chosen(dialect, environment)
    try:
        while True:
            _print(chosen.of(reader.read(by_time=True)))
            if once:
                break
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        pass
    _warn(reader)


@command.command(help="Check every checksum. Prints a line per defect, and exits 1 if there is one.")
@data_option
def verify(data: Path) -> None:
    report = verify_segments(data)
    segments = track(
        report, description="verifying", total=report.total, console=Console(stderr=True), transient=True
    )
    records = sum(segments)
    for defect in report.defects:
        lost = defect.next_sequence - defect.sequence
        place = f"{defect.path}: bytes {defect.offset}-{defect.end_offset}"
        echo(f"{place}: {defect.what}; {lost} records lost ({defect.sequence}-{defect.next_sequence - 1})")
    erased = f", {counted(report.erased, 'erased event')}" if report.erased else ""
    told = f"{counted(records, 'record')} in {counted(report.total, 'segment')}"
    echo(f"{told}, {counted(len(report.defects), 'defect')}{erased}")
    if report.defects:
        sys.exit(1)


@command.command(help="Show sizes, counts and times per writer.")
@data_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of a table.")
def stats(data: Path, as_json: bool) -> None:
    summaries = summarise(data)
    if as_json:
        echo(msgspec.json.encode(summaries).decode())
        return
    print_table(COLUMNS, map(_cells, summaries), numbers=NUMBERS)
    mebibytes = count_disk_bytes(data) / 2**20
    echo(f"{mebibytes:,.0f} MiB on disk with rings, segments made ready and those to be recycled")


@command.command(name="trust-clock", help="Believe the wall clock at once after it jumped.")
@data_option
def trust_clock(data: Path) -> None:
    """A wall clock that jumped deletes no events and turns no month until it has stayed so for
    `journal.clock_trust_hours`; this ends the wait."""
    if not (data / "journal").is_dir():
        raise JournalError(f"{data}: there is no journal")
    before = look_at(data)
    after = trust_wall(data)
    was = describe(before) or "The wall clock was believed already."
    echo(f"{was}\nFrom now on the time is {iso_from_ns(int(after.wall * 1e9))}.")


def _cells(line: Summary) -> list[str]:
    times = [iso_from_ns(ns) if ns else "-" for ns in (line.first_ns, line.last_ns)]
    return [
        str(line.writer),
        str(line.epoch),
        f"{line.segments} ({line.compressed} zst)",
        f"{line.records:,}",
        f"{line.payload_bytes:,}",
        f"{line.disk_bytes:,}",
        *times,
        f"{line.ring_used_bytes:,}",
    ]


class Chosen:
    """The records of one API and environment, None: of any; and which environments there were."""

    def __init__(self, dialect: str | None, environment: str | None) -> None:
        self._dialect = dialect
        self._environment = environment
        self._seen: set[str] = set()

    def of(self, records: Iterable[Record]) -> Iterator[Record]:
        for record in records:
            if self._environment is not None and len(self._seen) < ENVIRONMENTS_SHOWN_MAX:
                self._seen.add(record.environment)
            if self._dialect in (None, record.dialect) and self._environment in (None, record.environment):
                yield record

    def tell(self) -> None:
        """Says that the environment has no events here, where that is so."""
        if self._environment is None or self._environment in self._seen:
            return
        if len(self._seen) < ENVIRONMENTS_SHOWN_MAX:
            there = ", ".join(sorted(self._seen)) or "none"
            echo(
                f"fanion: no events of environment {self._environment!r}; there are some of: {there}",
                err=True,
            )


def _print(records: Iterable[Record]) -> None:
    out = sys.stdout.buffer
    encode = msgspec.json.Encoder().encode
    canonical = canonical_forms()
    for record in records:
        try:
            for expanded in expand(record, canonical):
                out.write(printable_json(encode(_line(expanded))) + b"\n")
        except JournalError as error:
            echo(f"fanion: {error}", err=True)
    out.flush()


def _line(expanded: Expanded) -> dict[str, object]:
    identity = {name: getattr(expanded, name) for name in ("writer", "epoch", "sequence", "index")}
    event: dict[str, object] = msgspec.to_builtins(expanded.event)
    event.setdefault("disposition", "kept")
    return {**identity, **event}


def _warn(reader: JournalReader) -> None:
    for defect in reader.defects:
        echo(f"fanion: {defect.path}: bytes {defect.offset}-{defect.end_offset}: {defect.what}", err=True)


def _since_ns(text: str | None) -> int:
    if text is None:
        return 0
    ago = AGO.fullmatch(text.strip())
    try:
        if ago:
            then = datetime.now(UTC) - timedelta(**{UNITS[ago[2]]: int(ago[1])})
        else:
            then = datetime.fromisoformat(text)
            then = then if then.tzinfo else then.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        allowed = "allowed: ISO 8601, or a number and s, m, h or d"
        raise click.BadParameter(f"{text!r}; {allowed}", param_hint="--since") from None
    return int(then.timestamp() * 1e9)
