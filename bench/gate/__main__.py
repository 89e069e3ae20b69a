"""`python -m bench.gate`: see the package."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from bench.gate.comparison import (
    FIGURES,
    GROUPS,
    TREE,
    GateError,
    build,
    check_tools,
    compare,
    enough,
    measure,
    measure_writer,
    other_tools,
    versions,
    write_figures,
)


def run(groups: tuple[str, ...], figures: Path, *, update: bool, add: bool, whole: bool) -> None:
    check_tools()
    build(TREE, whole=False)
    kept = json.loads(figures.read_text())
    differing = other_tools(kept["versions"], versions())
    found = measure(TREE, groups, {} if update or differing else enough(kept["rows"]))
    if update:
        write_figures(found)
        kept, differing = json.loads(figures.read_text()), []
    if add:
        if differing:
            raise GateError("\n".join(["the figures are of other tools, none can be added:", *differing]))
        write_figures(found | kept["rows"])
        kept = json.loads(figures.read_text())
    rows = {name: row for name, row in kept["rows"].items() if whole or name in found}
    if differing:
        print("the figures were written by other tools:", *differing, sep="\n  ")
        print("its commit is measured beside", flush=True)
        rows = measure_writer(groups) or found
    wrong = compare(rows, found, strict=whole and not differing)
    if wrong:
        raise GateError("\n".join(wrong))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.gate", description=__doc__)
    parser.add_argument("--update", action="store_true", help="write figures.json anew, of every row")
    parser.add_argument("--add", action="store_true", help="add the figures of rows that have none")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="only these rows")
    parser.add_argument("--against", type=Path, default=FIGURES, help="other figures, of the same tools")
    options = parser.parse_args()
    whole = set(options.groups) == set(GROUPS)
    if options.update and not whole:
        parser.error("figures are written of every row at once, by one set of tools")
    started = time.monotonic()
    try:
        run(tuple(options.groups), options.against, update=options.update, add=options.add, whole=whole)
    except GateError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
    finally:
        print(f"{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
