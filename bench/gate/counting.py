"""One process under callgrind: `python -m bench.gate.counting GROUP FOLDER [ROW...]` prints its rows as JSON.

A first short count says how many operations a row needs; then three long ones, of which the least counts. Where
FOLDER holds `ENOUGH`, a row that its figure there already satisfies isn't counted again: more counts only lower it.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import fanion_gate

from bench.gate.comparison import ENOUGH
from bench.gate.rows import GROUPS, Row

INSTRUCTIONS_MIN = 300_000_000
REPETITIONS = 3
WARM_UP, FIRST = 30, 2
FIRST_INSTRUCTIONS = 10_000_000
"""Fewer say too little of what an operation costs, beside the call that does them."""
KEPT_SHARE = 0.003
"""A function with less of a row's instructions is not worth keeping."""


def read_dump(path: Path) -> dict[str, int]:
    """Instructions by function, without those of what it calls. See callgrind's format, names uncompressed."""
    functions: dict[str, int] = {}
    function, called = "", False
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("fn="):
            function = line[3:].partition("'")[0]  # 'N: how deep in its own recursion
        elif line.startswith("calls="):
            called = True
        elif line[:1].isdigit():
            if not called:
                functions[function] = functions.get(function, 0) + int(line.split()[1])
            called = False
    return functions


class Counter:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.dumps = 0
        enough = folder / ENOUGH
        self.enough: dict[str, float] = json.loads(enough.read_text()) if enough.exists() else {}

    def count(self, row: Row, count: int) -> dict[str, int]:
        run = row(count)
        before = set(self.folder.iterdir())
        self.dumps += 1
        fanion_gate.count(run, f"d{self.dumps}".encode())
        (dump,) = [path for path in set(self.folder.iterdir()) - before if path.stat().st_size]
        functions = read_dump(dump)
        dump.unlink()
        return functions

    def measure(self, name: str, row: Row) -> dict[str, Any]:
        enough = self.enough.get(name, 0.0)
        row(WARM_UP)()
        count = FIRST
        while (first := sum(self.count(row, count).values())) < FIRST_INSTRUCTIONS:
            count *= 4
        count = int(count * INSTRUCTIONS_MIN / first * 1.05) + 1
        counts: list[dict[str, int]] = []
        while len(counts) < REPETITIONS:
            counts.append(self.count(row, count))
            found = sum(counts[-1].values())
            if found < INSTRUCTIONS_MIN:  # the more at once, the less each takes
                count = int(count * 1.2)
                counts.clear()
            elif found / count <= enough:
                break
        least = min(counts, key=lambda one: sum(one.values()))
        total = sum(least.values())
        kept = {name: round(own / count, 1) for name, own in least.items() if own >= KEPT_SHARE * total}
        by_size = sorted(kept.items(), key=lambda item: (-item[1], item[0]))
        spread = max(sum(one.values()) for one in counts) / total - 1
        return {
            "instructions": round(total / count, 1),
            "operations": count,
            "spread": round(spread, 4),
            "functions": dict(by_size),
        }


def main(group: str, folder: str, *names: str) -> None:
    assert fanion_gate.is_running(), "only under callgrind: python -m bench.gate"
    counter = Counter(Path(folder))
    gc.disable()
    with GROUPS[group]() as rows:
        for name, row in rows.items():
            if not names or name in names:
                print(json.dumps({"name": name, **counter.measure(name, row)}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
