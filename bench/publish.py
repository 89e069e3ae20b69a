"""`python -m bench.publish`: what `fanion publish` takes, whole process, with every API; two trees in turn.

Each round publishes a world into a store that has it already, from the file that it was published from, in which
one flag was switched off or on again (`--whole`: another split in every flag), by the command itself; with `--full`
all of it is compiled. Taken: processor time (user and system), peak of resident memory, mapped pages of the store
included, and when a reader of the generation word saw it, counted from the command's begin. `--against DIR`: the
top of another tree with built extensions, whose rounds come in turn with this one's (A B A B); medians count.
Worlds: `alike` is `bench.data`'s, every flag of one shape; `mixed` draws types, rules, splits, variants, segments.
What it can't show: workers, which open a bundle at its first use (`engine.evaluator.open_environment`: 24 ms at
50,000 flags). What the store's copy costs once the flag is served is in the processor time alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from bench.data import flag_key, world
from bench.figures import say
from fanion.store.store import Store

OPERATORS = ("in", "equals", "gte", "ends_with")


class Taken(NamedTuple):
    served_s: float
    served_processor_s: float
    processor_s: float
    peak_mb: float


def mixed(flags: int) -> dict[str, Any]:
    """A world whose flags have little in common."""
    draw = random.Random(16)
    made = world(0)
    project = made["organisations"]["org_bench"]["projects"]["bench"]
    project["segments"] = {
        f"segment-{n}": {
            "conditions": [{"attribute": "email", "operator": "ends_with", "value": f"@{n}.example"}]
        }
        for n in range(20)
    }
    project["flags"] = {flag_key(number): _mixed_flag(draw, number) for number in range(flags)}
    return made


def _mixed_flag(draw: random.Random, number: int) -> dict[str, Any]:
    kind = draw.choice(["boolean", "boolean", "string", "number", "json"])
    first, second = {
        "boolean": (True, False),
        "string": ("control", f"treatment-{number % 97}"),
        "number": (draw.randrange(100), draw.random()),
        "json": ({"a": number % 13}, {"b": [1, 2]}),
    }[kind]
    flag: dict[str, Any] = {
        "id": f"flag_{number:06}",
        "type": kind,
        "client_safe": draw.random() < 0.3,
        "enabled": draw.random() < 0.9,
        "default_value": second,
        "description": f"What flag {number} is for",
        "rules": [],
    }
    for rule_number in range(draw.randrange(4)):
        conditions = [_condition(draw) for _ in range(draw.randrange(1, 3))]
        rule: dict[str, Any] = {"id": f"rule-{number}-{rule_number}", "conditions": conditions}
        if draw.random() < 0.2:
            rule["split"] = [{"weight": 40, "value": first}, {"weight": 60, "value": second}]
        else:
            rule["value"] = first
            if draw.random() < 0.4:
                rule["rollout_percentage"] = draw.randrange(1, 100)
        flag["rules"].append(rule)
    if draw.random() < 0.3:
        flag["variants"] = [{"key": "one", "value": first}, {"key": "two", "value": second}]
    return flag


def _condition(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.1:
        return {"segment": f"segment-{draw.randrange(20)}"}
    operator = draw.choice(OPERATORS)
    values: dict[str, Any] = {
        "in": draw.sample(["DE", "AT", "CH", "FR", "US", "GB", "NL"], 3),
        "equals": f"v{draw.randrange(50)}",
        "gte": draw.randrange(100),
        "ends_with": f"@x{draw.randrange(20)}.example",
    }
    attribute = draw.choice(["country", "plan", "email", "age", "appVersion"])
    return {"attribute": attribute, "operator": operator, "value": values[operator]}


def worlds(kind: str, flags: int, switched: int, *, whole: bool = False) -> list[str]:
    """The world, and the same with one flag switched off, or all of them changed; both served through every API."""
    made = mixed(flags) if kind == "mixed" else world(flags)
    project = made["organisations"]["org_bench"]["projects"]["bench"]
    environment = project["environments"]["production"]
    del environment["dialects"]
    environment["keys"] = [{"key": f"sha256:{'ab' * 32}", "kind": "server"}]
    texts = []
    for enabled in (True, False):
        for key, flag in project["flags"].items():
            if whole and flag.get("rules"):
                flag["rules"][0]["rollout_percentage"] = 50 if enabled else 60
            elif whole or key == flag_key(switched):
                flag["enabled"] = enabled
        texts.append(json.dumps(made))
    return texts


def publish(tree: Path, path: Path, data: Path, *options: str) -> Taken:
    """One publication by a command of its own."""
    environment = {**os.environ, "PYTHONPATH": str(tree / "src")}
    before = _generation(data)
    began = time.monotonic()
    command = [sys.executable, "-m", "fanion", "publish", str(path), "--data", str(data), "--yes", *options]
    running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    served_s = served_processor_s = 0.0
    while True:
        if not served_s and before and _generation(data) > before:
            served_s = time.monotonic() - began
            served_processor_s = _processor_s(running.pid)
        ended, status, used = os.wait4(running.pid, os.WNOHANG)
        if ended:
            break
        time.sleep(0.002)
    running.returncode = os.waitstatus_to_exitcode(status)
    if running.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {running.returncode}")
    return Taken(served_s, served_processor_s, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _processor_s(pid: int) -> float:
    """Of a process until now, to a hundredth of a second."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


_stores: dict[Path, Store] = {}


def _generation(data: Path) -> int:
    """By the shared word alone: no lock is taken and no page of the store read."""
    if data not in _stores:
        if not (data / "store").exists():
            return 0
        _stores[data] = Store.open(data)
    return _stores[data].word.load()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flags", type=int, default=50_000)
    parser.add_argument("--world", choices=("alike", "mixed"), default="alike")
    parser.add_argument("--switched", type=int, default=0, help="number of the flag")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--whole", action="store_true", help="change every flag, so that nothing stays")
    parser.add_argument("--against", type=Path)
    asked = parser.parse_args()
    trees = {"this": Path(__file__).parents[1]}
    if asked.against is not None:
        trees["against"] = asked.against
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "world.json"
        options = ["--full"] if asked.full else []
        texts = worlds(asked.world, asked.flags, asked.switched, whole=asked.whole)
        path.write_text(texts[0])
        for label, tree in trees.items():
            publish(tree, path, folder / label)
        taken: dict[str, list[Taken]] = {label: [] for label in trees}
        for number in range(asked.rounds):
            path.write_text(texts[(number + 1) % 2])
            for label, tree in trees.items():
                taken[label].append(publish(tree, path, folder / label, *options))
        for store in _stores.values():
            store.close()
    for label, rounds in taken.items():
        if label == "this":
            for name, unit in zip(Taken._fields, ("s", "s", "s", "MB"), strict=True):
                found = statistics.median(getattr(one, name) for one in rounds)
                say(f"publish/{asked.flags}/{'whole' if asked.whole else 'one changed'}/{name}", found, unit)
        served, until, processor, peak = (sorted(values) for values in zip(*rounds, strict=True))
        print(
            f"{label}: served after {statistics.median(served):.2f} s ({served[0]:.2f} to {served[-1]:.2f}), "
            f"of which processor {statistics.median(until):.2f} s, in all "
            f"{statistics.median(processor):.2f} s ({processor[0]:.2f} to {processor[-1]:.2f}), "
            f"peak {statistics.median(peak):.0f} MB"
        )


if __name__ == "__main__":
    main()
