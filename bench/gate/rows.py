"""The rows: what is measured, by name. A row makes `count` operations ready and returns the call that does them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.gate import worlds
from bench.gate.entry import (
    CONTEXT,
    OTHER,
    Computed,
    Core,
    Log,
    Recorded,
    Run,
    Served,
    ServedByRsgi,
    ServedInLane,
)

Row = Callable[[int], Run]
Rows = dict[str, Row]

RECORDS = 1_000
BATCHES = 100


def repeated(call: Callable[[], Any], count: int) -> Run:
    def run() -> None:
        for _ in range(count):
            call()

    return run


@contextmanager
def core() -> Iterator[Rows]:
    """Deciding alone."""
    with tempfile.TemporaryDirectory() as name:
        made = Core(Path(name))
    keys = [f"flag-{n * 7}" for n in range(50)]
    assert made.one(CONTEXT) != made.one(OTHER) == b'{"value":false,"reason":"DEFAULT"}'
    assert made.fifty(keys).count(b'"reason"') == 50
    yield {
        "kernel": lambda count: partial(made.kernel, count),
        "dict to JSON, matching": partial(repeated, partial(made.one, CONTEXT)),
        "dict to JSON, missing": partial(repeated, partial(made.one, OTHER)),
        "dict to JSON, 50 flags": partial(repeated, partial(made.fifty, keys)),
    }


def fresh(body: bytes, count: int) -> list[bytes]:
    """The body `count` times, each with ids of its own where it has any."""
    parts = body.split(worlds.ID)
    if len(parts) == 1:
        return [body] * count
    made, number = [], fresh_from[0]
    for _ in range(count):
        pieces = [parts[0]]
        for part in parts[1:]:
            pieces += [b"01M7Y3BWW3%012d" % number, part]
            number += 1
        made.append(b"".join(pieces))
    fresh_from[0] = number
    return made


fresh_from = [0]


@contextmanager
def endpoints(dialect: str) -> Iterator[Rows]:
    """Each endpoint of one dialect, through the application."""
    with tempfile.TemporaryDirectory() as name:
        served = Served(Path(name))
        rows: Rows = {}
        for request in worlds.requests():
            if not request.name.startswith(f"{dialect} "):
                continue
            start, *rest = served.ask(request, fresh(request.body, 1))
            assert start["status"] in (200, 202, 204, 304), (request.name, start, rest)

            def row(count: int, request: worlds.Request = request) -> Run:
                return partial(served.ask, request, fresh(request.body, count))

            rows[request.name] = row
        yield rows
        served.close()


@contextmanager
def judged() -> Iterator[Rows]:
    """Batches whose events are wrong, each in itself."""
    with tempfile.TemporaryDirectory() as name:
        served = Served(Path(name))
        rows: Rows = {}
        for request in worlds.wrong():
            start, *rest = served.ask(request, [request.body])
            assert start["status"] in (200, 202, 400, 422), (request.name, start, rest)

            def row(count: int, request: worlds.Request = request) -> Run:
                return partial(served.ask, request, [request.body] * count)

            rows[request.name] = row
        assert len(rows) == 6, list(rows)
        yield rows
        served.close()


BY_RSGI = ("feather bulk of 2", "feather bulk of 100", "feather events", "ofrep flag", "ofrep flags, 50")


IN_LANE = ("feather bulk of 2", "ofrep flag", "ofrep flags, 50")


@contextmanager
def rsgi() -> Iterator[Rows]:
    """Some of the endpoints by the other interface; a stand-in for the server's part is counted with them."""
    with by_rsgi(ServedByRsgi, "rsgi", BY_RSGI) as rows:
        yield rows


@contextmanager
def lane() -> Iterator[Rows]:
    """Some of those as a server has them, without a task."""
    with by_rsgi(ServedInLane, "lane", IN_LANE) as rows:
        yield rows


@contextmanager
def by_rsgi(kind: type[ServedByRsgi], group: str, names: tuple[str, ...]) -> Iterator[Rows]:
    with tempfile.TemporaryDirectory() as name:
        served = kind(Path(name))
        rows: Rows = {}
        for request in worlds.requests():
            if request.name in names:
                (answer,) = served.ask(request, [request.body])
                assert answer["status"] in (200, 202), (request.name, answer)

                def row(count: int, request: worlds.Request = request) -> Run:
                    return partial(served.ask, request, [request.body] * count)

                rows[f"{group} {request.name}"] = row
        yield rows
        served.close()


@contextmanager
def journal() -> Iterator[Rows]:
    """A thousand batches: read as the pipeline does, recovered as after a kill."""
    (body,) = [one.body for one in worlds.requests() if one.name == "feather events"]
    with tempfile.TemporaryDirectory() as name:
        log = Log(Path(name), RECORDS, body)
        assert log.read() == RECORDS
        assert log.recover() == RECORDS + 1
        yield {
            "journal reader": partial(repeated, log.read),
            "recovery of a segment": partial(repeated, log.recover),
        }


@contextmanager
def columns() -> Iterator[Rows]:
    """A hundred batches of each API's events as columns of rows."""
    bodies = {one.name: fresh(one.body, 1)[0] for one in worlds.requests() if one.name.endswith(" events")}
    with tempfile.TemporaryDirectory() as name:
        rows: Rows = {}
        for request, body in bodies.items():
            dialect = request.split()[0]
            (Path(name) / dialect).mkdir()
            log = Log(Path(name) / dialect, BATCHES, body, dialect)
            assert log.columns() == BATCHES * worlds.EVENTS
            rows[f"rows of {request}"] = partial(repeated, log.columns)
        yield rows


@contextmanager
def splits() -> Iterator[Rows]:
    """Splits beyond the plain kernel: a condition that must be computed, and one whose exposures are recorded."""
    computed = Computed()
    assert computed.ask() == computed.ask(plain=True) == 0
    with tempfile.TemporaryDirectory() as name:
        recorded = Recorded(Path(name))
        assert recorded.ask() != b"{}"
        assert recorded.counts()["served"] == 1
        yield {
            "computed slot": partial(repeated, computed.ask),
            "exposure of today": partial(repeated, recorded.ask),
        }
        assert recorded.counts()["served"] == 1
        recorded.close()


GROUPS = {
    "core": core,
    "feather": partial(endpoints, "feather"),
    "redpennon": partial(endpoints, "redpennon"),
    "traffical": partial(endpoints, "traffical"),
    "stitchd": partial(endpoints, "stitchd"),
    "ofrep": partial(endpoints, "ofrep"),
    "neutral": partial(endpoints, "neutral"),
    "judge": judged,
    "rsgi": rsgi,
    "lane": lane,
    "journal": journal,
    "rows": columns,
    "splits": splits,
}
"""A process each."""
