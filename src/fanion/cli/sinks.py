"""`fanion sinks status|run`: how far each sink is, and one of them without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from fanion.cli.common import configuration, data_option, print_table
from fanion.cli.text import echo
from fanion.config import Config
from fanion.model.canonical import iso_from_ns
from fanion.sinks import KINDS, kind_of, missing_libraries, wanted

COLUMNS = ("sink", "where", "rows", "behind", "last taken", "gaps", "left out", "problem")
NUMBERS = ("rows", "left out")
SUMMARY = "Rows of the journal's events for others, each sink with a place of its own (docs/sinks.md)."


@click.group(name="sinks", help=SUMMARY)
def command() -> None:
    pass


@command.command()
@data_option
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
def status(data: Path, form: str) -> None:
    """Show how far each sink is: those that the settings name, and those that were.

    What is behind is counted in requests. A sink that the settings don't name any more still has the journal keep
    segments, within its bounds: remove DATA/journal/readers/sink-NAME.json when it is not to go on.
    """
    config = configuration(data)
    asked = wanted(config.sinks)
    found = [
        _described(data, config, name, on=name in asked)
        for name in KINDS
        if name in asked or _files(data, name)
    ]
    if form == "json":
        echo(msgspec.json.encode(found).decode())
        return
    if not found:
        echo("no sink is set up; `fanion serve --settings` lists what can be, as sinks.*")
        return
    print_table(COLUMNS, [_shown(one) for one in found], numbers=NUMBERS)


@command.command()
@click.argument("name", type=click.Choice(KINDS))
@data_option
@click.option("--once", is_flag=True, help="End when all that is there now has been taken.")
def run(name: str, data: Path, once: bool) -> None:
    """Run one sink, until SIGTERM or Ctrl-C.

    A server does the same beside its workers for each sink that the settings name; this may run beside one that
    doesn't have it. What killed workers left is written to the journal's segments and synced first, where no other
    worker did.
    """
    from logging.config import dictConfig

    from fanion.app import draining, make_sink
    from fanion.pipeline.service import Ending
    from fanion.sinks.service import Service
    from fanion.telemetry.logs import logging_config

    config = configuration(data)
    if name not in wanted(config.sinks):
        raise click.UsageError(f"sinks.{kind_of(name).setting} is empty; it says where rows go")
    ending, drain = Ending(), draining(data, config)
    if not once:
        dictConfig(logging_config(config.log.level))  # as the server's, or what fails has no reason
        Service(name, config.sinks, lambda turn: make_sink(name, data, config, turn, drain)).run(ending)
        return
    with make_sink(name, data, config, lambda: None, drain) as sink:
        rows = sink.run_once(ending)
        for problem in sink.problems():
            echo(f"fanion: {problem}", err=True)
        echo(f"{rows:,} rows were taken by {kind_of(name).where(config.sinks)}")


def _files(data: Path, name: str) -> bool:
    return (data / "sinks" / f"{name}.json").exists()


def _described(data: Path, config: Config, name: str, *, on: bool) -> dict[str, Any]:
    """What there is to say, read from files: no sink is asked."""
    from fanion.errors import JournalError, SinkError
    from fanion.journal.gaps import load_gaps
    from fanion.journal.lag import lag_of
    from fanion.journal.reader import JournalReader
    from fanion.journal.storage import Storage
    from fanion.sinks.sink import reader_name
    from fanion.sinks.state import State, load_state

    storage = Storage()
    damaged = ""
    try:
        state = load_state(storage, data, name)
    except SinkError as error:
        state, damaged = State(), str(error)
    told: dict[str, Any] = {
        "sink": name,
        "on": on,
        "where": kind_of(name).where(config.sinks) if on else "",
        "rows": state.rows,
        "steps": state.steps,
        "left_out_rows": state.left_out,
        "unreadable_records": state.unreadable,
        "taken_at": iso_from_ns(int(state.taken_unix_s * 1e9)) if state.taken_unix_s else None,
        "place": state.place,
        "missing": missing_libraries(name),
        "failing": damaged or state.failing or None,
        "failing_since": iso_from_ns(int(state.failing_since_unix_s * 1e9)) if state.failing else None,
        "behind_records": None,
        "held_bytes": None,
        "gaps": None,
    }
    try:
        reader = JournalReader(data, storage=storage, checkpoint=state.place)
        lag = lag_of(reader, storage)
        told |= {"behind_records": lag.records, "held_bytes": lag.held_bytes}
        told["gaps"] = load_gaps(storage, data / "journal", reader_name(name))
    except JournalError as error:
        told["failing"] = told["failing"] or str(error)
    return told


def _shown(one: dict[str, Any]) -> tuple[str, ...]:
    behind, gaps = one["behind_records"], one["gaps"]
    missing = f"not installed: {', '.join(one['missing'])}; pip install 'fanion[sinks]'"
    return (
        one["sink"],
        one["where"] if one["on"] else "off",
        f"{one['rows']:,}",
        "" if behind is None else f"{behind:,} requests, {one['held_bytes'] >> 20:,} MiB held",
        one["taken_at"] or "never",
        f"{gaps.records:,} requests, {gaps.last[-1].segment} the last" if gaps and gaps.records else "none",
        f"{one['left_out_rows']:,}",
        missing if one["missing"] else one["failing"] or "",
    )
