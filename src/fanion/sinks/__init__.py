"""Sinks: rows of the journal's events for others, each sink with a place and a back-off of its own.

Modules: `service` (the process under a server) -> `sink` (reads on, has a receiver take it, keeps the place) ->
`state` (the place, on disk), `receiver` (what a kind of sink is), `lines` (rows as JSON). A kind is one module and
one line in `KINDS`: `parquet` (objects in an S3-compatible store), `kafka`, `file`, `command` (lines of JSON).

Files, in DIR/sinks (0700, files 0600)
    NAME.json     the place: how far the receiver has taken what there is; renamed into place
    NAME.lock     its flock is the claim: one process of a sink at a time
    *.tmp         files being made

A step: rows are read, the receiver says that it has them safe, then the place is kept. A kill between the two has
the receiver take them again, with the same identities (machine, writer, sequence, index, part). A receiver that is
`planned` is told the step's name before, and the plan is kept before it: the same rows come again under the same
name, so that what is there already is known by its name.

Decisions
    2026-11  A process each, forked by the supervisor: libraries of receivers have threads and queues of their own,
             and none may delay a worker, the pipeline or another sink.
    2026-11  A failed step is read again from the place, not kept in memory: one path for a kill, a restart and a
             receiver that is down, and no memory for how long it is down.
    2026-11  The epoch is not part of the key. Recovery writes a record again in a later epoch, and then a key with
             it would tell two rows apart that are one (docs/rows.md).
    2026-11  A command is run once a step and its exit status is the answer: a pipe that took bytes says nothing.
    2026-11  A sink holds segments by two bounds of its own (`journal.retention`), not until the disk is full as
             rows do: they are for others, and another machine may be down for days.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from fanion.config.sinks import Sinks
from fanion.sinks.receiver import Kind

KINDS = ("parquet", "kafka", "file", "command")
"""Each a module of this package that exposes one `KIND`."""


def kind_of(name: str) -> Kind:
    """Of one of `KINDS`. Imports no library of a receiver."""
    kind: Kind = import_module(f"fanion.sinks.{name}").KIND
    return kind


def wanted(settings: Sinks) -> list[str]:
    """The sinks that the settings ask for."""
    return [name for name in KINDS if getattr(settings, kind_of(name).setting)]


def missing_libraries(name: str) -> list[str]:
    """What the extra would bring and isn't there."""
    return [package for module, package in kind_of(name).needs if not find_spec(module)]
