"""Three servers that ship to three of NATS, while all of it is killed: `python -m loadtest.machines --rounds 200`.

Each server follows a place in NATS and ships its events to one stream there, by way of proxies of its own; a
publisher publishes to the place all the while, and `fanion pipeline --from` makes rows of the stream. Clients send
events to any of the servers: half of them without ids, once each; half with ids, which they send again, also to
another server, until they are answered. Each round kills a child of a server, a server with all its processes, a
NATS server, a publisher or who makes the rows, or cuts a machine off from NATS for a while: connections end, or are
left half open. Several may be away at once. With `--ack replicated`, or `both`, answers to events
of all servers, or of two, wait for the stream, and a round may take such a server's directory for good, too: an
empty one takes its place.

Then all is healed, and the clients' books are held against the rows: every acknowledged event has one that counts
(else it is lost), a machine counts none twice, one without an id is at one machine only, and no row's identity is
there twice. An event with an id that was sent again to another machine has a row of each, which results count once
(docs/machines.md). No server's flag ever went back, and each has what was published last. Exits 1 where that
isn't so. Needs `NATS_SERVER`, fanion[machines] and fanion[results].
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import say
from fanion.pipeline.query import ask as query
from loadtest.cluster import WORLD, Client, Command, Machine, Publisher
from tests.crash.proxy import proxy
from tests.crash.receivers import NatsServers, nats_servers

MACHINES = 3
ACKS = {
    "durable": ("durable",) * MACHINES,
    "replicated": ("replicated",) * MACHINES,
    "both": ("replicated", "durable", "replicated"),
}
"""Of each server."""
AWAY_S = (0.0, 3.0)
"""A server, or a NATS server, that was killed."""
HEALED_S = 180.0
"""Until all is where it belongs, at most; a cluster that lost its leaders takes seconds, and `check_s` passes."""
ROWS = (
    "SELECT machine, unit, event_id IS NOT NULL, count(*) FROM rows "
    "WHERE counts AND kind NOT IN ('served', 'assigned') GROUP BY ALL"
)
IDENTITY = "machine, writer, sequence, index, part"
TWICE = f"SELECT count(*) FROM (SELECT 1 FROM rows GROUP BY {IDENTITY} HAVING count(*) > 1)"


class Fate:
    """Chooses what happens in a round, and lets it happen. What is away comes back by itself."""

    def __init__(
        self,
        machines: list[Machine],
        nats: NatsServers,
        publisher: Publisher,
        rows: Command,
        options: argparse.Namespace,
    ) -> None:
        self._machines, self._nats, self._publisher, self._rows = machines, nats, publisher, rows
        self._draw = random.Random(options.seed)
        self._cut_s: tuple[float, float] = tuple(options.cut_s)
        self._pause_s: tuple[float, float] = tuple(options.pause_s)
        self._away: dict[object, threading.Timer] = {}
        self.faults: list[str] = []
        self.cuts_s: list[float] = []

    def strike(self) -> str:
        time.sleep(self._draw.uniform(*self._pause_s))
        strikes: list[Callable[[], str]] = [
            self._kill_child,
            self._kill_server,
            self._kill_nats,
            self._kill_publisher,
            self._kill_rows,
            self._cut,
        ]
        if any(machine.replicated for machine in self._machines):
            strikes.append(self._lose_directory)
        return self._draw.choice(strikes)()

    def settle(self) -> None:
        for timer in list(self._away.values()):
            timer.join()

    def _later(self, what: object, within: tuple[float, float], do: Callable[[], None]) -> float:
        """How many seconds it is away."""

        def back() -> None:
            try:
                do()
            except BaseException as error:  # a server that doesn't start says so by SystemExit
                self.faults.append(f"{what}: {error}")
            del self._away[what]

        away_s = self._draw.uniform(*within)
        self._away[what] = timer = threading.Timer(away_s, back)
        timer.start()
        return away_s

    def _kill_child(self) -> str:
        machine = self._draw.choice(self._machines)
        return "child" if machine not in self._away and machine.kill_worker(self._draw) else "nothing"

    def _kill_server(self) -> str:
        machine = self._draw.choice(self._machines)
        if machine in self._away:
            return "nothing"
        machine.kill_all()
        self._later(machine, AWAY_S, partial(self._start, machine))
        return "server"

    def _lose_directory(self) -> str:
        machine = self._draw.choice([machine for machine in self._machines if machine.replicated])
        if machine in self._away:
            return "nothing"
        machine.kill_all()
        machine.lose()
        self._later(machine, AWAY_S, partial(self._start, machine))
        return "directory"

    def _start(self, machine: Machine) -> None:
        """One whose directory was taken may be killed before it has fetched what it is to serve."""
        if machine.replicated:
            machine.start_anew(self._cut_s[1])
        else:
            machine.start()

    def _kill_nats(self) -> str:
        number = self._draw.randrange(len(self._nats.ports))
        if number in self._away:
            return "nothing"

        def start() -> None:
            self._nats.start(number)
            self._nats.ready(number)

        self._nats.kill(number)
        self._later(number, AWAY_S, start)
        return "NATS"

    def _kill_publisher(self) -> str:
        self._publisher.command.end()
        return "publisher"

    def _kill_rows(self) -> str:
        self._rows.end()
        self._rows.start()
        return "rows"

    def _cut(self) -> str:
        number = self._draw.randrange(len(self._machines))
        half, what = self._draw.random() < 0.3, f"connections of {number}"
        if what in self._away:
            return "nothing"
        self._machines[number].cut(half=half)
        self.cuts_s.append(self._later(what, self._cut_s, self._machines[number].heal))
        return "half open" if half else "cut"


class Books(NamedTuple):
    """Clients' events, and what the rows have of them."""

    acknowledged: int
    found: int
    lost: int
    twice: int
    at_several: int


def compare(data: Path, clients: list[Client]) -> Books:
    acknowledged = {unit for client in clients for unit in client.acknowledged}
    counted, machines, without_id = Counter[str](), Counter[str](), set[str]()
    for _, unit, with_id, times in query(data, ROWS)[1]:
        counted[unit] = max(counted[unit], times)
        machines[unit] += 1
        if not with_id:
            without_id.add(unit)
    several = {unit for unit, number in machines.items() if number > 1}
    twice = {unit for unit, times in counted.items() if times > 1} | (several & without_id)
    identities = query(data, TWICE)[1][0][0]
    lost = len(acknowledged - counted.keys())
    return Books(len(acknowledged), len(counted), lost, len(twice) + identities, len(several - without_id))


def until(done: Callable[[], Any], within_s: float = HEALED_S) -> float:
    """The seconds until it was, or `within_s`."""
    began = time.monotonic()
    while not done() and time.monotonic() - began < within_s:
        time.sleep(0.1)
    return time.monotonic() - began


def run(root: Path, options: argparse.Namespace) -> int:
    with ExitStack() as open_until_the_end:
        nats = open_until_the_end.enter_context(nats_servers(root / "nats", MACHINES))
        ending, published = threading.Event(), threading.Event()
        far = root / "far"
        publisher = Publisher(root, nats.url("place"), published, options.publish_s)
        until(publisher.publish)
        if not publisher.statuses[0]:
            raise SystemExit(f"nothing could be published: {publisher.command.said()}")
        machines = []
        for number in range(MACHINES):
            between = [open_until_the_end.enter_context(proxy(port)) for port in nats.ports]
            machines.append(Machine(root / f"machine-{number}" / "data", between, ACKS[options.ack][number]))
            open_until_the_end.callback(machines[-1].kill_all)
            machines[-1].start_anew(0.0)
        (root / "far.yaml").write_text(WORLD.format(number=0))
        if Command(root / "rows.log", ["publish", root / "far.yaml", "--data", far]).run():
            raise SystemExit("the definitions can't be published")
        from_stream: list[object] = ["pipeline", "--from", nats.url("events"), "--data", far]
        rows = Command(root / "rows.log", from_stream)
        rows.start()
        open_until_the_end.callback(rows.end)
        clients = [Client([each.port for each in machines], n, ending) for n in range(options.clients)]
        publisher.start()
        for client in clients:
            client.start()
        open_until_the_end.callback(ending.set)
        open_until_the_end.callback(published.set)
        fate, befallen = Fate(machines, nats, publisher, rows, options), Counter[str]()
        ends = time.monotonic() + options.seconds
        while befallen.total() - befallen["nothing"] < options.rounds and time.monotonic() < ends:
            befallen[fate.strike()] += 1
            for machine in machines:
                machine.look()
        fate.settle()
        ending.set()
        published.set()
        for thread in (*clients, publisher):
            thread.join()
        return judge(far, from_stream, machines, publisher, rows, clients, fate, befallen, options)


def judge(
    far: Path,
    from_stream: list[object],
    machines: list[Machine],
    publisher: Publisher,
    rows: Command,
    clients: list[Client],
    fate: Fate,
    befallen: Counter[str],
    options: argparse.Namespace,
) -> int:
    """Prints what became of it."""
    last = 0

    def publish() -> int:
        nonlocal last
        last = publisher.publish()
        return last

    until(publish)
    seen_s = until(lambda: all(machine.look() == last for machine in machines))
    behind = sum(machine.look() != last for machine in machines)
    rows.end(signal.SIGTERM)
    once = Command(far.parent / "rows.log", [*from_stream, "--once"])
    caught_up_s = until(lambda: not once.run() and not compare(far, clients).lost)
    ended = [machine.stop() for machine in machines]
    once.run()
    books = compare(far, clients)
    went_back = sum(machine.went_back for machine in machines)
    statuses = sum((client.statuses for client in clients), Counter())
    print(f"seed {options.seed}, ack {options.ack}: {dict(befallen)}, servers' last exit statuses {ended}")
    print(f"seconds that machines were cut off: {sorted(round(each, 1) for each in fate.cuts_s)}")
    print(f"answers {dict(statuses)}, publishes by exit status {dict(publisher.statuses)}")
    print(
        f"healed: all servers had what was published last after {seen_s:.1f} s, rows of all that was acknowledged "
        f"after {caught_up_s:.1f} s; went back = {went_back}, behind = {behind}, faults = {fate.faults}"
    )
    print(
        f"acknowledged {books.acknowledged}, found {books.found}, lost = {books.lost}, twice = {books.twice}; "
        f"{books.at_several} of those with ids came to several machines"
    )
    say("machines/lost", books.lost, "events")
    say("machines/twice", books.twice, "events")
    wrong = books.lost + books.twice + went_back + behind + len(fate.faults) + any(ended) + (not last)
    return 1 if wrong or not books.acknowledged else 0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument(
        "--seconds", type=float, default=3_600.0, help="rounds that are left then are left out"
    )
    parser.add_argument("--ack", choices=tuple(ACKS), default="durable")
    parser.add_argument("--clients", type=int, default=6)
    parser.add_argument(
        "--cut-s", type=float, nargs=2, default=(0.5, 10.0), metavar=("LEAST", "MOST"), help="length of a cut"
    )
    parser.add_argument(
        "--pause-s", type=float, nargs=2, default=(0.1, 2.0), metavar=("LEAST", "MOST"), help="between rounds"
    )
    parser.add_argument("--publish-s", type=float, default=0.2, help="from one publication to the next")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    parser.add_argument("--directory", type=Path, help="parent of the temporary directory")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanion-machines-", dir=options.directory) as root:
        sys.exit(run(Path(root), options))


if __name__ == "__main__":
    main()
