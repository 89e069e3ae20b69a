"""What the worst bodies cost a worker: `python -m bench.nasty`.

Each route is sent shapes that an attacker would choose, as large as it takes them, plain and compressed as far as
the ratio allows, through the application in process with a stand-in journal. Prints the thread's CPU time of one
request beside the goal, 50 us and 4 us a KB after decompression, and the longest stretch without a turn of the
event loop beside its goal, 20 ms; worst first, the least of `--rounds`. Other tenants wait as long as a stretch.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import zlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.figures import say
from bench.gate import entry, worlds
from fanion.config import Limits
from fanion.dialects.wire.bodies import BYTE_ORDER_MARK

GOAL_US, GOAL_US_PER_KB, STRETCH_MS = 50.0, 4.0, 20.0
ITEMS = 1_000
"""Of a batch, as many as every API takes."""
BATCH_OF = 10
"""A request of so many items at least is one of those."""
SPARE_BYTES = 512
"""Kept below a route's bound for what stands around the repeated part."""


class Cost(NamedTuple):
    """Of one request: its answer, CPU time in all, and between two turns of the loop at most."""

    status: int
    cpu_ns: int
    longest_ns: int


class Stepped:
    """Awaits a coroutine and measures each of its steps."""

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine
        self.steps: list[int] = []

    def __await__(self) -> Generator[Any, Any, None]:
        steps = self._coroutine.__await__()
        while True:
            began = time.thread_time_ns()
            try:
                awaited = next(steps)
            except StopIteration:
                return
            finally:
                self.steps.append(time.thread_time_ns() - began)
            yield awaited


def fill(begin: bytes, part: bytes, end: bytes, size: int, separator: bytes = b",") -> bytes:
    """`begin`, as many of `part` as make `size` bytes, `end`."""
    count = max(1, (size - len(begin) - len(end)) // (len(part) + len(separator)))
    return begin + separator.join([part] * count) + end


def documents(item: bytes, around: tuple[bytes, bytes], size: int) -> Iterator[tuple[str, bytes]]:
    """Shapes of a document whose usual content is `item` between the two parts of `around`."""
    begin, end = around
    yield "items as they should be", fill(begin, item, end, size)
    yield "numbers", fill(begin, b"1", end, size)
    yield "empty objects", fill(begin, b"{}", end, size)
    yield "empty lists", fill(begin, b"[]", end, size)
    yield "nested 60 deep", fill(begin, b"[" * 60 + b"]" * 60, end, size)
    yield "brackets in one text", fill(begin + b'"', b"[{", b'"' + end, size, b"")
    yield "escapes in one text", fill(begin + b'"', b"\\u00e4", b'"' + end, size, b"")
    yield "halves of pairs in one text", fill(begin + b'"', b"\\ud83d", b'"' + end, size, b"")
    yield "a byte order mark", fill(BYTE_ORDER_MARK + begin, item, end, size)
    yield "long numbers", fill(begin, b"9" * 300, end, size)
    yield "exponents", fill(begin, b"1e300", end, size)
    yield "one deep, never closed", fill(begin, b"[", b"", size, b"")
    yield "blanks", fill(begin, b" ", end, size, b"")
    unknown = item[:-1] + b',"zz":' if item.endswith(b"}") else item
    yield "unknown members", fill(begin, unknown + b"[[],{},1]}", end, size)
    yield "one item, many members", fill(begin + unknown + b"{", b'"aaaaaaaa":1', b"}}" + end, size)
    yield "a bad byte at the end", fill(begin, item, b',"\xff"' + end, size)


def wrong_items(item: bytes, around: tuple[bytes, bytes], size: int) -> Iterator[tuple[str, bytes]]:
    """Batches of items that are each wrong in themselves, mostly, and no two alike."""
    begin, end = around
    members = json.loads(item)
    count = min(ITEMS, size // (len(item) + 40))

    def batch(make: Callable[[int], object]) -> bytes:
        return begin + b",".join(json.dumps(make(number)).encode() for number in range(count)) + end

    yield "wrong items: numbers", batch(lambda number: number)
    yield "wrong items: one unknown member", batch(lambda number: {f"zz{number}": number})
    for name, value in members.items():
        others = {key: one for key, one in members.items() if key != name}
        yield f"wrong items: without {name}", batch(lambda number, rest=others: {**rest, f"zz{number}": 1})
        for odd in ("x", -1, None, {}):
            if type(odd) is not type(value) or isinstance(value, str):
                body = batch(
                    lambda number, rest=others, name=name, odd=odd: {**rest, name: odd, f"zz{number}": 1}
                )
                yield f"wrong items: {name} is {json.dumps(odd)}", body


def compressed(body: bytes) -> bytes | None:
    """As gzip, where the ratio that a server takes allows it."""
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(body) + packer.flush()
    return packed if len(packed) * 100 > len(body) else None


def split(request: worlds.Request) -> tuple[bytes, tuple[bytes, bytes]]:
    """A request's repeated item and what stands around: of its first list, else of its last object."""
    document = json.loads(request.body)
    mark = "item-goes-here"
    if isinstance(document, list):
        return json.dumps(document[0]).encode(), (b"[", b"]")
    for name, value in document.items():
        if isinstance(value, list) and value:
            around = json.dumps({**document, name: [mark]}).encode()
            item = json.dumps(value[0]).encode()
            break
    else:
        name = list(document)[-1]
        around = json.dumps({**document, name: {"a": [mark]}}).encode()
        item = b'{"a":"b"}'
    begin, end = around.split(json.dumps(mark).encode())
    return item, (begin, end)


def ask(served: entry.Served, request: worlds.Request, body: bytes, headers: dict[str, str]) -> Cost:
    return served.loop.run_until_complete(_ask(served, request, body, headers))


async def _ask(served: entry.Served, request: worlds.Request, body: bytes, headers: dict[str, str]) -> Cost:
    pairs = [(name.encode(), value.encode()) for name, value in {**request.headers, **headers}.items()]
    scope = entry.scope_of(request)
    scope["headers"] = [*pairs, (b"host", b"localhost"), (b"content-length", b"%d" % len(body))]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    stepped = Stepped(served.application(scope, receive, send))
    await stepped
    return Cost(sent[0]["status"], sum(stepped.steps), max(stepped.steps))


def measure(
    served: entry.Served, rounds: int, size: Callable[[bool], int], only: str = ""
) -> Iterator[tuple[str, int, Cost]]:
    """Name, bytes after decompression and cost of each case."""
    for request in worlds.requests():
        if not request.body:
            continue
        item, around = split(request)
        ingest = "event" in request.path
        shapes = [*documents(item, around, size(ingest))]
        if request.body.count(b"},{") >= BATCH_OF - 1:
            shapes += wrong_items(item, around, size(ingest))
        for shape, body in shapes:
            for packing, packed in (("plain", body), ("gzip", compressed(body) if ingest else None)):
                if packed is None:
                    continue
                name = f"{request.name}, {shape}, {packing}"
                if only not in name:
                    continue
                headers = {"content-encoding": "gzip"} if packing == "gzip" else {}
                costs = [ask(served, request, packed, headers) for _ in range(rounds)]
                least = min(costs, key=lambda cost: cost.cpu_ns)
                yield name, len(body), least


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=25, help="how many to print")
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    options = parser.parse_args()
    limits = Limits()

    def size(ingest: bool) -> int:
        return (limits.ingest_body_bytes_max if ingest else limits.body_bytes_max) - SPARE_BYTES

    with tempfile.TemporaryDirectory() as folder:
        served = entry.Served(Path(folder))
        found = list(measure(served, options.rounds, size, options.only))
        served.close()

    def share(row: tuple[str, int, Cost]) -> float:
        _, plain_bytes, cost = row
        return cost.cpu_ns / 1000 / (GOAL_US + GOAL_US_PER_KB * plain_bytes / 1024)

    found.sort(key=share, reverse=True)
    print(f"{'shape':60} {'KB':>6} {'answer':>6} {'CPU ms':>8} {'of goal':>8} {'stretch ms':>10}")
    for row in found[: options.rows]:
        name, plain_bytes, cost = row
        print(
            f"{name:60} {plain_bytes / 1024:6.0f} {cost.status:6} {cost.cpu_ns / 1e6:8.2f} {share(row):8.2f} "
            f"{cost.longest_ns / 1e6:10.2f}"
        )
    longest = max(found, key=lambda row: row[2].longest_ns)
    over = sum(share(row) > 1 for row in found)
    late = sum(row[2].longest_ns / 1e6 > STRETCH_MS for row in found)
    print(
        f"{len(found)} cases: {over} above the goal of CPU time, {late} stretches above {STRETCH_MS:.0f} ms;"
    )
    say("nasty/worst of the goal", share(found[0]), "times")
    say("nasty/longest stretch", longest[2].longest_ns / 1e6, "ms")
    print(f"the longest is {longest[0]}: {longest[2].longest_ns / 1e6:.1f} ms")


if __name__ == "__main__":
    main()
