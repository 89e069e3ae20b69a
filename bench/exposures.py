"""`python -m bench.exposures`: evaluations with and without their exposures, per API; and the table of marks.

In process and interleaved: in each round the same calls without a recorder, with one whose definitions record
nothing, with everything recorded today already, and with units that are new, whose record is made, hashed and
published. Of the thread's CPU time in the rounds the median counts; the difference to the first is what recording
costs. `--units`: how many millions of units the table of marks is met with, on two days. What it can't show: the
writer's share, which runs beside, and requests, which `bench.exposures_served` measures.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.figures import say
from fanion import definitions
from fanion._core.exposures import MarkTable, Recorder
from fanion._core.overlay import Overlay
from fanion.app import renderers
from fanion.bundle.compiler import compile_bundle
from fanion.dialects import served, vocabulary
from fanion.engine.evaluator import Bundle, open_environment
from fanion.journal import JournalSettings, JournalWriter

CALLS = 2_000
RECORDED = "exposures: {record: splits}"
NOT_RECORDED = "exposures: {record: off}"
Ask = Callable[[Bundle, int, str], object]


def recorded_files(folder: Path, *, recorded: bool = True) -> Path:
    """The demo world's files, which record every split, or nothing; the document to publish."""
    said = RECORDED if recorded else NOT_RECORDED
    for path in definitions.DEMO.parent.glob("demo*"):
        text = path.read_text()
        if path.suffix == ".yaml":
            text = text.replace("          production:\n", f"          production:\n            {said}\n")
        (folder / path.name).write_text(text)
    return folder / "demo.yaml"


def worlds(folder: Path, *, recorded: bool = True) -> dict[str, Bundle]:
    """The demo world's environments, recorded or not."""
    loaded = definitions.load([recorded_files(folder, recorded=recorded)], vocabulary())
    found = {}
    for lowered in loaded.environments:
        tables = {name: one for name, one in renderers().items() if name in lowered.identifiers}
        made = compile_bundle(lowered, tables)
        found[lowered.environment] = open_environment(lowered.environment, made)
    return found


def feather(bundle: Bundle, table: int, unit: str) -> object:
    return bundle.put_one(table, "checkout-copy", False, {"userId": unit}, {}, None, b"", b"")


def redpennon(bundle: Bundle, table: int, unit: str) -> object:
    return bundle.resolve(table, "checkout-flow", False, {"id": unit}, None, None)


def stitchd(bundle: Bundle, table: int, unit: str) -> object:
    return bundle.resolve(table, "my-flag", False, {"userId": unit}, {}, (("user", unit, {}),))


def ofrep(bundle: Bundle, table: int, unit: str) -> object:
    return bundle.resolve(table, "checkout-copy", False, {"userId": unit}, {}, ())


OVERLAYS: dict[int, Overlay] = {}


def traffical(bundle: Bundle, table: int, unit: str) -> object:
    overlay = OVERLAYS.get(id(bundle)) or OVERLAYS.setdefault(id(bundle), Overlay(bundle, table))
    return overlay.run(["checkout.button.color"], None, None, {"userId": unit}, None)


ASKS: dict[str, Ask] = {
    "feather": feather,
    "redpennon": redpennon,
    "stitchd": stitchd,
    "ofrep": ofrep,
    "traffical": traffical,
}


def timed(ask: Ask, bundle: Bundle, table: int, units: list[str]) -> float:
    """Nanoseconds of this thread's time a call."""
    begin = time.thread_time_ns()
    for unit in units:
        ask(bundle, table, unit)
    return (time.thread_time_ns() - begin) / len(units)


def evaluations(folder: Path, rounds: int) -> None:
    loop = asyncio.new_event_loop()
    marks = MarkTable(str(folder / "marks"), 1 << 22)
    recorder = Recorder(marks)
    settings = JournalSettings(raise_priority=False, reserve_bytes=0, compress=False)
    journal = JournalWriter.open(folder, settings, loop)
    journal.lend(recorder.lend)
    plain, recorded, off = worlds(folder), worlds(folder), worlds(folder, recorded=False)
    for bundle in (*recorded.values(), *off.values()):
        for dialect in served():
            table = bundle.table(dialect.name)
            if table >= 0 and dialect.units is not None:
                given: dict[str, Any] = {"assigned": False, "anonymous": False, "carried": None}
                bundle.expose(table, recorder, dialect.name, dialect.units(bundle), **given)
    print(
        "ns an evaluation  no recorder  + for not recorded  today already      + for it   a new unit      + for it"
    )
    for name, ask in ASKS.items():
        (environment,) = [key for key, bundle in plain.items() if bundle.table(name) >= 0]
        table = plain[environment].table(name)
        known = [f"known-{n}" for n in range(CALLS)]
        timed(ask, recorded[environment], table, known)
        found: list[list[float]] = [[], [], [], []]
        for number in range(rounds):
            new = [f"{name}-{number}-{n}" for n in range(CALLS)]
            found[0].append(timed(ask, plain[environment], table, known))
            found[1].append(timed(ask, recorded[environment], table, known))
            found[2].append(timed(ask, recorded[environment], table, new))
            found[3].append(timed(ask, off[environment], table, known))
        without, again, first, not_recorded = map(statistics.median, found)
        print(
            f"{name:18}{without:11.0f}{not_recorded - without:20.0f}{again:15.0f}{again - without:14.0f}"
            f"{first:13.0f}{first - without:14.0f}"
        )
        say(f"exposures/{name}/not recorded", (not_recorded - without) / 1000, "us")
        say(f"exposures/{name}/recorded today", (again - without) / 1000, "us")
        say(f"exposures/{name}/new unit", (first - without) / 1000, "us")
    print("recorder:", recorder.counts())
    journal.close()
    marks.close()


def table(folder: Path, units: int) -> None:
    """Two days of so many units, each met twice a day: what is lost must be none, what is repeated may be."""
    for size in (1 << 21, 1 << 24):
        marks = MarkTable(str(folder / f"table-{size}-{units}"), size)
        lost = repeated = 0
        begin = time.perf_counter()
        for day in (20_000, 20_001):
            for again in (False, True):
                for n in range(units):
                    met = marks.meet(b"%d" % n, day)
                    lost += met and not again
                    repeated += again and not met
        took_ns = (time.perf_counter() - begin) / (4 * units) * 1e9
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(
            f"{units / 1e6:4.0f} M units, {size / 1e6:4.1f} M marks ({size * 8 >> 20} MiB): "
            f"{took_ns:4.0f} ns a look, "
            f"{lost} first ones lost, {repeated / (2 * units):6.1%} repeated, {peak} MB resident at most"
        )
        marks.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--units", type=int, nargs="*", default=[1, 4, 10], help="millions; none: no table")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        evaluations(Path(name), given.rounds)
        for millions in given.units:
            table(Path(name), millions * 1_000_000)


if __name__ == "__main__":
    main()
