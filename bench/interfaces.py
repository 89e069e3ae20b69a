"""ASGI, RSGI and Node beside each other, interleaved on one machine: requests a second, CPU a request.

`python -m bench.interfaces [--rounds 3] [--seconds 2] [--threads 1]` needs `wrk`, `node`, `npm` and
FLAGD_NODE_MODULES, a folder in which npm installed `@openfeature/flagd-core`. Fanion and the do-nothing app run
once for each interface, with one worker each and as many threads of the HTTP server as Fanion takes by default,
which is said (the do-nothing app by RSGI has as many as suit it, having no lane); `--threads 1` adds both once more
with that many. OFREP's cases are `bench.ofrep_ratio`'s, where Node answers the same; Feather's are
`bench.http_ratio`'s bulks, beside which Node answers one flag of OFREP; the Node server around GrowthBook's SDK has
OFREP's alone. Each round drives all in turn. First servers and wrk share the cores, then (`pinned`) the servers
have core 0 and wrk core 1. CPU is what all processes and threads of a server took.

What it can't show: more than one worker, clients that keep no connection.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

from bench.figures import say
from bench.http_ratio import (
    Case,
    bulk,
    drive,
    fanion,
    free_port,
    nothing,
    post,
    post_script,
    publish_world,
    running,
)
from bench.ofrep_ratio import (
    BODY,
    FLAGS,
    WARM_UP_S,
    Side,
    agreed,
    check_tools,
    cpu_s,
    headers,
    node,
    publish,
    tag,
)
from bench.ofrep_ratio import CASES as OFREP_CASES
from fanion.config import Server
from fanion.process.machine import cores_to_run_on
from fanion.process.runtimes import runtimes_of

ONE = OFREP_CASES[0]
CASES = [
    Case("bulk, 2 flags", 0, "/v1/evaluate/bulk", bulk(2)),
    Case("bulk, 100 flags", 0, "/v1/evaluate/bulk", bulk(100)),
    *OFREP_CASES,
]


class Program(NamedTuple):
    """`fanion` or `nothing` by an interface, `node` or `growthbook`, which are OFREP in Node.
    `threads`: of the HTTP server; 0: by default."""

    kind: str
    interface: str = ""
    threads: int = 0

    @property
    def is_node(self) -> bool:
        return self.kind in ("node", "growthbook")

    @property
    def name(self) -> str:
        return f"{self.kind} {self.interface}{f', {self.threads}' if self.threads else ''}".strip()


class World(NamedTuple):
    """A published data directory, and what a request to it has to say."""

    data: Path
    headers: dict[str, str]


def programs(threads: int) -> list[Program]:
    counts = (0, threads) if threads else (0,)
    ours = [
        Program(kind, interface, count)
        for count in counts
        for kind in ("fanion", "nothing")
        for interface in ("asgi", "rsgi")
    ]
    return [*ours, Program("node"), Program("growthbook")]


def by_default(*, pinned: bool) -> str:
    """The HTTP server's threads in a server of one worker."""
    interfaces: tuple[Literal["asgi", "rsgi"], ...] = ("asgi", "rsgi")
    found = [
        runtimes_of(Server(interface=each), 1, 1 if pinned else cores_to_run_on()) for each in interfaces
    ]
    said = (f"{name} {made.threads} ({made.mode})" for name, made in zip(interfaces, found, strict=True))
    return f"threads by default: {', '.join(said)}"


def command(
    program: Program, case: Case, world: World, port: int, work: Path, status: int, fanion_port: int
) -> list[str]:
    if program.is_node:
        return node(work, port, program.kind, fanion_port)
    settings = {"FANION_SERVER_INTERFACE": program.interface}
    if program.threads:
        settings["FANION_SERVER_RUNTIME_THREADS"] = str(program.threads)
    if program.kind == "fanion":  # one server a directory
        own = work / f"data-{port}"
        subprocess.run(["cp", "-r", "--sparse=always", str(world.data), str(own)], check=True)
        made = fanion(own, port, case.ack)
    else:
        made = nothing(port, work / "answer", status)
    return ["env", *(f"{name}={value}" for name, value in settings.items()), *made]


def measure(
    case: Case, world: World, work: Path, every: list[Program], *, rounds: int, seconds: int, pinned: bool
) -> dict[Program, list[Side]]:
    """Each program's rounds. The case 304 sends each server its own tag; beside Feather's, Node answers a flag."""
    unchanged, feather = case.name == "304", case.path not in (FLAGS, ONE.path)
    every = [program for program in every if not (feather and program.kind == "growthbook")]
    ports = {program: free_port() for program in every}
    asked = {program: ONE if feather and program.is_node else case for program in every}
    urls = {program: f"http://127.0.0.1:{ports[program]}{asked[program].path}" for program in every}
    asgi = every[0]
    status, pids = 200, {}
    with ExitStack() as up:
        for program in sorted(every, key=lambda program: program.kind == "nothing"):
            if program.kind == "nothing" and not (work / "answer").exists():
                if feather:
                    status, answer = post(ports[asgi], case, world.headers)
                else:
                    in_node = {program.kind: ports[program] for program in every if program.is_node}
                    status, answer = agreed(case, {"fanion": ports[asgi], **in_node})
                status = 304 if unchanged else status
                (work / "answer").write_bytes(b"" if unchanged else answer)
            made = command(program, case, world, ports[program], work, status, ports[asgi])
            pids[program] = up.enter_context(running(made, urls[program], pinned=pinned))
        (work / "answer").unlink()
        scripts = {}
        for number, program in enumerate(every):
            sent = headers() if program.is_node else world.headers
            if unchanged:
                sent = headers(tag(ports[asgi if program.kind == "nothing" else program]))
            scripts[program] = work / f"{number}.lua"
            scripts[program].write_text(post_script(asked[program].body, sent))

        def drive_one(program: Program, length: int) -> Side:
            before = cpu_s(pids[program])
            driven = drive(program.name, urls[program], scripts[program], length, pinned=pinned)
            return Side(driven.rate, (cpu_s(pids[program]) - before) / (driven.rate * length) * 1e6)

        for program in every:
            drive_one(program, WARM_UP_S)
        sides: dict[Program, list[Side]] = {program: [] for program in every}
        for _ in range(rounds):
            for program in every:
                sides[program].append(drive_one(program, seconds))
        return sides


def ratio(sides: dict[Program, list[Side]], one: Program, other: Program) -> float:
    return statistics.median(a.rate / b.rate for a, b in zip(sides[one], sides[other], strict=True))


def cpu_ratio(sides: dict[Program, list[Side]], one: Program, other: Program) -> float:
    return statistics.median(a.cpu_us / b.cpu_us for a, b in zip(sides[one], sides[other], strict=True))


def print_case(case: Case, sides: dict[Program, list[Side]], *, pinned: bool) -> None:
    for program in sides:
        rate = statistics.median(side.rate for side in sides[program])
        cpu = statistics.median(side.cpu_us for side in sides[program])
        line = f"{case.name:16}{program.name:18}{rate:10,.0f}{cpu:9.1f}"
        name = f"interfaces/{'pinned' if pinned else 'shared'}/{case.name}/{program.name}"
        say(f"{name}/rate", rate, "requests/s")
        say(f"{name}/cpu", cpu, "us")
        if program.kind == "fanion":
            beside = program._replace(kind="nothing")
            above = statistics.median(
                a.cpu_us - b.cpu_us for a, b in zip(sides[program], sides[beside], strict=True)
            )
            others = {"nothing": beside, "asgi": next(iter(sides))}
            others |= {other.kind: other for other in sides if other.is_node}
            say(f"{name}/above nothing", above, "us")
            line += f"{above:9.1f}"
            for label, other in others.items():
                figure = ratio(sides, program, other)
                say(f"{name}/of {label}", figure, "times")
                line += f"{figure:9.2f}"
                if other.is_node:
                    say(f"{name}/cpu of {label}", cpu_ratio(sides, program, other), "times")
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument(
        "--threads", type=int, default=0, help="add both interfaces with so many threads of the HTTP server"
    )
    parser.add_argument("--cases", nargs="+", choices=[case.name for case in CASES], help="only these")
    parser.add_argument("--bulks", action="store_true", help="Feather's two cases alone")
    parser.add_argument("--only", choices=["pinned", "shared"])
    arguments = parser.parse_args()
    check_tools()
    cases = [case for case in CASES if arguments.cases is None or case.name in arguments.cases]
    cases = [case for case in cases if not (arguments.bulks and case.body is BODY)]
    every = programs(arguments.threads)
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        (work / "feather").mkdir()
        feather = World(*publish_world(work / "feather", 1_000))
        ofrep = World(publish(work, 50), headers())
        for pinned in [name == "pinned" for name in ("shared", "pinned") if arguments.only in (None, name)]:
            print(f"{'pinned: a core each' if pinned else 'both cores shared'}; {by_default(pinned=pinned)}")
            heads = ("CPU us", "above", "/nothing", "/asgi", "/node", "/growthb")
            print(f"{'case':16}{'':18}{'/s':>10}" + "".join(f"{head:>9}" for head in heads))
            for case in cases:
                world = ofrep if case.body is BODY else feather
                times = {"rounds": arguments.rounds, "seconds": arguments.seconds}
                sides = measure(case, world, work, every, pinned=pinned, **times)
                print_case(case, sides, pinned=pinned)


if __name__ == "__main__":
    main()
