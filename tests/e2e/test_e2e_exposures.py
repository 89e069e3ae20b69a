"""The demo world asked for many units through every API: who reached a split is in the journal.

EXPOSURE_UNITS: how many units. What is expected is computed here, from the documents' rules and with hashes of this
file's own.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from fanion import definitions
from fanion.dialects import canonical_forms
from fanion.journal.reader import JournalReader
from fanion.journal.rows import Row, expand_rows
from tests.e2e.server import Running, publish, wait_until
from tests.rounds import rounds

UNITS = rounds(400, 2_000, "EXPOSURE_UNITS")
AT_ONCE = 50
"""Requests on their way on the one connection."""
MASK = 2**64 - 1
STITCHD = "5b1f6a52-0000-4000-8000-000000000001"

Expected = dict[tuple[str, str, str, str], tuple[str, str]]
"""(API, flag, kind of unit, digest) -> (variant, in or out)."""


def rotated(x: int, by: int) -> int:
    return (x << by | x >> (64 - by)) & MASK


def xxh64(data: bytes) -> int:
    """XXH64 of what is at least 32 bytes or less, seed 0, as its specification has it."""
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

    def mix(lane: int, word: int) -> int:
        return rotated((lane + word * p2) & MASK, 31) * p1 & MASK

    left, at = len(data), 0
    h = p5
    if left >= 32:
        lanes = [(p1 + p2) & MASK, p2, 0, -p1 & MASK]
        while left - at >= 32:
            for n in range(4):
                lanes[n] = mix(lanes[n], int.from_bytes(data[at + 8 * n : at + 8 * n + 8], "little"))
            at += 32
        h = sum(rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & MASK
        for lane in lanes:
            h = ((h ^ mix(0, lane)) * p1 + p4) & MASK
    h = (h + left) & MASK
    while left - at >= 8:
        h = (rotated(h ^ mix(0, int.from_bytes(data[at : at + 8], "little")), 27) * p1 + p4) & MASK
        at += 8
    if left - at >= 4:
        h = (rotated(h ^ int.from_bytes(data[at : at + 4], "little") * p1 & MASK, 23) * p2 + p3) & MASK
        at += 4
    for byte in data[at:]:
        h = rotated(h ^ byte * p5 & MASK, 11) * p1 & MASK
    h = (h ^ h >> 33) * p2 & MASK
    h = (h ^ h >> 29) * p3 & MASK
    return h ^ h >> 32


def murmur128(data: bytes) -> int:
    """MurmurHash3 x64_128, seed 0: (h2 << 64) + h1."""
    c1, c2 = 0x87C37B91114253D5, 0x4CF5AD432745937F
    h1 = h2 = 0
    whole = len(data) // 16 * 16
    for at in range(0, whole, 16):
        k1, k2 = (int.from_bytes(data[at + n : at + n + 8], "little") for n in (0, 8))
        h1 ^= rotated(k1 * c1 & MASK, 31) * c2 & MASK
        h1 = ((rotated(h1, 27) + h2) * 5 + 0x52DCE729) & MASK
        h2 ^= rotated(k2 * c2 & MASK, 33) * c1 & MASK
        h2 = ((rotated(h2, 31) + h1) * 5 + 0x38495AB5) & MASK
    tail = data[whole:].ljust(16, b"\0")
    h2 ^= rotated(int.from_bytes(tail[8:], "little") * c2 & MASK, 33) * c1 & MASK
    h1 ^= rotated(int.from_bytes(tail[:8], "little") * c1 & MASK, 31) * c2 & MASK
    h1, h2 = h1 ^ len(data), h2 ^ len(data)
    h1 = (h1 + h2) & MASK
    h2 = (h2 + h1) & MASK

    def final(k: int) -> int:
        k = (k ^ k >> 33) * 0xFF51AFD7ED558CCD & MASK
        k = (k ^ k >> 33) * 0xC4CEB9FE1A85EC53 & MASK
        return k ^ k >> 33

    h1, h2 = final(h1), final(h2)
    h1 = (h1 + h2) & MASK
    return ((h2 + h1) & MASK) << 64 | h1


def digest(id: str) -> str:
    return hashlib.sha256(id.encode()).hexdigest()


def expected(units: list[str]) -> Expected:
    found: Expected = {}
    for n, unit in enumerate(units):
        own = digest(unit)
        inside = xxh64(f"checkout-copy:rule-1:{unit}".encode()) % 10_000 < 5_000
        served = ("b", "in") if inside else ("a", "out")
        found["feather", "checkout-copy", "userId", own] = served
        found["ofrep", "checkout-copy", "targetingKey", own] = served
        if not is_staff(n):
            first = xxh64(f"env_01hx:checkout:{unit}".encode()) % 10_000 < 5_000
            found["redpennon", "checkout", "id", own] = "control" if first else "variant-a", "in"
        if unit != "user-123":
            bucket = murmur128(f"my-flag{STITCHD}{unit}".encode()) % 100_000 // 10
            found["stitchd", "my-flag", "user", own] = "control" if bucket < 5_000 else "treatment", "in"
        layer = "layer_checkout"
        said = f"traffical:assignment:v2|u:{len(unit.encode())}:{unit}|l:{len(layer)}:{layer}"
        number = int.from_bytes(hashlib.sha256(said.encode()).digest()[:8], "big") % 10_000
        arm = "control" if number < 5_000 else "treatment"
        found["traffical", "policy_color_test", "userId", own] = arm, "in"
    return found


def is_staff(n: int) -> bool:
    return n % 10 == 0


def requests(units: list[str]) -> Iterator[tuple[str, str, Any]]:
    """Path, key header, body: of every unit one to each API."""
    stitchd = f"/v1/environments/{STITCHD}/evaluate"
    for n, unit in enumerate(units):
        email = {"email": f"{unit}@example.com"} if is_staff(n) else {}
        context = {"userId": unit}
        yield (
            "/v1/evaluate",
            "Authorization: Bearer sk_demo_server",
            {
                "flagKey": "checkout-copy",
                "context": context,
            },
        )
        yield (
            "/v1/variables/checkout-flow",
            "X-API-Key: 00000000-0000-0000-0000-000000000000",
            {"user": {"id": unit, **email}},
        )
        yield (
            stitchd,
            "x-sdk-key: sdk_live_demo",
            {
                "flag_key": "my-flag",
                "context_type": "user",
                "context_key": unit,
                "attributes": {},
            },
        )
        yield (
            "/v1/resolve",
            "Authorization: Bearer traffical_sk_demo",
            {
                "context": context,
                "parameters": ["checkout.button.color"],
            },
        )
        yield (
            "/ofrep/v1/evaluate/flags/checkout-copy",
            "Authorization: Bearer ofrep_demo_server",
            {"context": {"targetingKey": unit}},
        )


def ask_all(running: Running, asked: Iterator[tuple[str, str, Any]]) -> int:
    """Sends all, some at once, and waits for their answers; how many there were."""
    count = 0
    with running.connect() as connection, connection.makefile("rb") as answers:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while batch := list(islice(asked, AT_ONCE)):
            sent = b""
            for path, key, document in batch:
                body = json.dumps(document).encode()
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{key}\r\nContent-Type: application/json\r\n"
                sent += head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
            connection.sendall(sent)
            for path, *_ in batch:
                status = answers.readline()
                assert b" 200 " in status, (path, status, answers.read(600))
                length = 0
                while (line := answers.readline()) != b"\r\n":
                    if line.lower().startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                answers.read(length)
            count += len(batch)
    return count


def demo(folder: Path, said: str) -> Path:
    """The demo world's files, with this in every environment."""
    source = definitions.DEMO.parent
    for path in source.glob("demo*"):
        shutil.copy(path, folder)
    text = (folder / "demo.yaml").read_text()
    text = text.replace("          production:\n", f"          production:\n            exposures: {said}\n")
    (folder / "demo.yaml").write_text(text)
    return folder / "demo.yaml"


def counted(running: Running) -> tuple[int, int]:
    """Exposures that were recorded or had been before, and those that were dropped."""
    met = dropped = 0
    for line in running.operations("/metrics").body.decode().splitlines():
        name, _, number = line.rpartition(" ")
        if name == "fanion_exposures_dropped_total":
            dropped = int(number)
        elif name.startswith("fanion_exposures_total{"):
            met += int(number)
    return met, dropped


def rows_of(data: Path) -> list[Row]:
    records = JournalReader(data).read()
    return [row for record in records for row in expand_rows(record, "m", canonical_forms())]


@pytest.mark.timeout(300 + UNITS // 20)
def test_who_reached_a_split_is_in_the_journal_through_all_apis(
    tmp_path: Path, serve: Callable[..., Running]
) -> None:
    data = tmp_path / "data"
    publish(data, demo(tmp_path, "{record: splits}"))
    running = serve("--workers", "2", "--ack", "buffered", data=data)
    units = ["user-123", "é", *(f"unit-{n}" for n in range(UNITS - 2))]
    wanted = expected(units)
    asked = met = dropped = 0
    for _ in range(
        5
    ):  # what a journal that takes nothing for a moment drops, it counts; the next one is recorded
        before = dropped
        assert ask_all(running, requests(units)) == 5 * UNITS
        asked += len(wanted)
        wait_until(lambda: sum(counted(running)) >= asked)  # noqa: B023
        met, dropped = counted(running)
        if dropped == before:
            break
    assert met + dropped == asked
    assert running.stop() == 0
    rows = rows_of(data)
    found = {(row.dialect, row.flag, row.unit_kind, row.unit): (row.variant, row.reason) for row in rows}
    assert found == wanted
    assert len(rows) == len(found)  # none twice, by whichever worker
    assert {row.kind for row in rows} == {"served"}
    assert {row.generation for row in rows} == {1}
    assert len({(row.flag, row.run) for row in rows}) == 4  # one run a flag, whichever API asked for it


def test_nothing_is_recorded_that_no_experiment_is_about(
    tmp_path: Path, serve: Callable[..., Running]
) -> None:
    data = tmp_path / "data"
    publish(data, demo(tmp_path, "{}"))
    running = serve("--workers", "1", "--ack", "buffered", data=data)
    ask_all(running, requests(["a", "b"]))
    assert running.stop() == 0
    assert {row.flag for row in rows_of(data)} == {"checkout-copy"}  # which the demo has an experiment of


@pytest.mark.heavy
def test_exposures_in_the_ring_outlive_the_process(tmp_path: Path, serve: Callable[..., Running]) -> None:
    data = tmp_path / "data"
    publish(data, demo(tmp_path, "{record: splits}"))
    running = serve("--workers", "1", "--ack", "buffered", data=data)
    units = [f"u{n}" for n in range(200)]
    ask_all(running, requests(units))
    running.stop(9)
    again = serve("--workers", "1", "--ack", "buffered", data=data)
    ask_all(again, requests(units))
    assert again.stop() == 0
    rows = rows_of(data)
    assert len(rows) == len(expected(units))  # the marks outlive it too
    assert {(row.dialect, row.flag, row.unit_kind, row.unit) for row in rows} == set(expected(units))
