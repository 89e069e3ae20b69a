"""`fanion forget` beside a running server: a person planted through every API is in no byte, and all others stay.

FORGET_ROUNDS: how often the command is killed before it is left to end.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zstandard

from fanion.dialects import canonical_forms
from fanion.journal.compression import FRAME
from fanion.journal.log_segment import START
from fanion.journal.reader import JournalReader
from fanion.journal.rows import Row, expand_rows
from fanion.journal.storage import Storage
from tests.e2e.server import Running, publish, run, wait_until
from tests.e2e.test_e2e_exposures import ask_all, demo, expected, requests

pytest.importorskip("pyarrow")
pytest.importorskip("duckdb")

PERSON, ANONYMOUS = "zoe.planted@example.org", "anon-77310-zoe"
KILLS = int(os.environ.get("FORGET_ROUNDS", 2))
NOW = "2026-11-28T10:30:00.123Z"
STITCHD = "5b1f6a52-0000-4000-8000-000000000001"
SMALL = {"FANION_JOURNAL_SEGMENT_BYTES": str(4 << 20)}
ENVIRONMENT = f"/v1/environments/{STITCHD}"


def sha(unit: str) -> str:
    return hashlib.sha256(unit.encode()).hexdigest()


def events(units: list[str], tag: str) -> Iterator[tuple[str, dict[str, str], object]]:
    """A batch of each API about these units; ids of events hold none of them."""
    seen = [(unit, f"{tag}-{number}") for number, unit in enumerate(units)]
    fixed: dict[str, object] = {
        "flagKey": "checkout-copy",
        "flagId": "flag_01hy",
        "environmentId": "env_01hx",
    }
    fixed |= {"orgId": "org_01hx", "value": "variant-b", "reason": "ROLLOUT", "sdkType": "server"}
    fixed |= {"sdkVersion": "1", "evaluatedAt": NOW}
    sent = [{**fixed, "userIdHash": sha(unit)} for unit in units]
    yield "/v1/telemetry/events", {"Authorization": "Bearer sk_demo_server"}, sent
    fixed = {"event": "purchase", "variable": "checkout-flow", "variation": "control", "value": 1.5}
    sent = [{**fixed, "user": {"id": unit}, "event_id": id} for unit, id in seen]
    yield "/v1/events", {"X-API-Key": "00000000-0000-0000-0000-000000000000"}, sent
    fixed = {"type": "track", "orgId": "org_acme", "projectId": "proj_marketplace", "env": "production"}
    fixed |= {"timestamp": NOW, "event": "purchase", "sdkName": "e2e", "sdkVersion": "1"}
    sent = [{**fixed, "id": id, "unitKey": unit, "properties": {"who": f"user:{unit}"}} for unit, id in seen]
    yield "/v1/events/batch", {"Authorization": "Bearer traffical_sk_demo"}, sent
    fixed = {"metric_key": "button_click", "context_type": "user", "value": True}
    sent = [{**fixed, "context_key": unit} for unit in units]
    yield f"{ENVIRONMENT}/events/batch", {"x-sdk-key": "sdk_live_demo"}, sent
    fixed = {"type": "metric", "time": NOW, "metric": "purchase", "value": 1.5}
    sent = [{**fixed, "id": id, "unit": {"kind": "userId", "id": unit}} for unit, id in seen]
    yield "/fanion/v1/events", {"Authorization": "Bearer neutral_demo_client"}, sent


def send(running: Running, units: list[str], tag: str) -> None:
    for path, headers, sent in events(units, tag):
        body = json.dumps({"events": sent})
        if "batch" in path:  # escapes and blanks, as clients may write them
            body = body.replace("zoe", "z\\u006fe").replace('", "', '" , "')
        answer = running.ask("POST", path, body=body.encode(), key=None, headers=headers)
        assert answer.status in (200, 202), (path, answer)


def forms() -> list[bytes]:
    found = []
    for unit in (PERSON, ANONYMOUS):
        digest = hashlib.sha256(unit.encode()).digest()
        texts = [
            unit,
            unit.replace("zoe", "z\\u006fe"),
            digest.hex(),
            base64.b64encode(unit.encode()).decode(),
        ]
        found += [digest, *(text.encode() for text in texts)]
    return found


def written(path: Path) -> bytes:
    """A file's bytes but for its holes, which read as zeros: the window's files are of gigabytes of those."""
    storage = Storage()
    fd = storage.open(path, write=False)
    try:
        parts = storage.written(fd) if path.parent.name == "shared" else [(0, storage.size(fd))]
        return b"".join(storage.pread(fd, end - start, start) for start, end in parts)
    finally:
        storage.close(fd)


def pieces(data: Path) -> Iterator[tuple[str, bytes]]:
    """Every byte below the data directory, as it lies there and decompressed."""
    import pyarrow.parquet

    for path in sorted(data.rglob("*")):
        if not path.is_file():
            continue
        raw = written(path)
        yield str(path), raw
        if path.suffix == ".zst":
            at = START
            while at < len(raw):
                size, plain, _ = FRAME.unpack_from(raw, at)
                yield str(path), zstandard.ZstdDecompressor().decompress(raw[at + 12 : at + 12 + size], plain)
                at += 12 + size
        if path.suffix == ".parquet":
            yield str(path), repr(pyarrow.parquet.read_table(path).to_pydict()).encode()


def holders(data: Path) -> list[str]:
    return sorted({f"{name}: {form!r}" for name, raw in pieces(data) for form in forms() if form in raw})


def rows_of(data: Path) -> list[Row]:
    reader = JournalReader(data)
    rows = [row for record in reader.read() for row in expand_rows(record, "m", canonical_forms())]
    assert reader.defects == []
    return rows


def is_others(row: Row) -> bool:
    return row.unit not in {PERSON, ANONYMOUS, sha(PERSON), sha(ANONYMOUS)}


def of_others(rows: list[Row]) -> Counter[object]:
    return Counter(
        (row.dialect, row.kind, row.event_id, row.unit, row.writer, row.sequence, row.index)
        for row in rows
        if is_others(row)
    )


def settled(data: Path, exposures: int) -> Counter[object]:
    """Others' rows once so many exposures are among them: nobody waits until one is in the journal."""

    def there() -> bool:
        return (
            sum(row.kind in ("served", "assigned") and is_others(row) for row in rows_of(data)) == exposures
        )

    wait_until(there)
    return of_others(rows_of(data))


def in_rows(data: Path) -> Counter[object]:
    from fanion.pipeline.query import ask

    names = "dialect, kind, event_id, unit, writer, sequence, index"
    return Counter(ask(data, f"SELECT {names} FROM rows")[1])


def forget(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run(["forget", "--data", str(data), PERSON, ANONYMOUS, *arguments], timeout_s=120)


def plant(running: Running, tag: str) -> int:
    """How many exposures of others there are of it."""
    units = [f"{tag}-other-{number}" for number in range(40)]
    send(running, [*units[:20], PERSON, *units[20:], ANONYMOUS], tag)
    asked = [*units, PERSON, ANONYMOUS]
    ask_all(running, requests(asked))
    return sum(unit not in (sha(PERSON), sha(ANONYMOUS)) for *_, unit in expected(asked))


class Load(threading.Thread):
    """Sends others' events until it is told to end."""

    def __init__(self, running: Running) -> None:
        super().__init__()
        self._running = running
        self.ending = threading.Event()
        self.sent = 0

    def run(self) -> None:
        while not self.ending.is_set():
            send(self._running, [f"load-{self.sent}-{number}" for number in range(10)], f"load-{self.sent}")
            self.sent += 1


@pytest.mark.heavy
@pytest.mark.slow
@pytest.mark.timeout(900 + 20 * KILLS)
def test_a_person_is_in_no_byte_and_all_others_are_where_they_were(
    tmp_path: Path, serve: Callable[..., Running]
) -> None:
    data, seed = tmp_path / "data", int(os.environ.get("FORGET_SEED", random.randrange(1 << 32)))
    print("FORGET_SEED", seed)
    draw = random.Random(seed)
    publish(data, demo(tmp_path, "{record: splits}"))
    added = run(["lists", "add", "--data", str(data), "env_01hx", "beta-users", PERSON, ANONYMOUS])
    assert added.returncode == 0, added.stderr
    first = serve("--workers", "1", data=data, environment=SMALL)
    exposures = plant(first, "a")
    assert first.stop() == 0
    first = serve("--workers", "1", data=data, environment=SMALL)
    exposures += plant(first, "b")
    first.stop(9)
    running = serve("--workers", "2", "--pipeline", data=data, environment=SMALL)
    exposures += plant(running, "c")
    wait_until(lambda: sum(in_rows(data).values()) > 0)
    before = settled(data, exposures)
    assert len(holders(data)) > 8
    counted = forget(data, "--dry-run")
    assert counted.returncode == 0, counted.stderr
    load = Load(running)
    load.start()
    try:
        for number in range(KILLS):
            send(running, [PERSON, ANONYMOUS], f"k{number}")  # there is something to do again
            command = [sys.executable, "-m", "fanion", "forget", "--data", str(data), PERSON, ANONYMOUS]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(draw.uniform(0.3, 3.0))
                process.kill()
        ended = forget(data)
    finally:
        load.ending.set()
        load.join()
    assert ended.returncode == 0, ended.stderr + ended.stdout
    assert holders(data) == []  # while the server runs
    rows = rows_of(data)
    after = of_others(rows)
    assert before - after == Counter()
    assert sum(after.values()) == sum(before.values()) + load.sent * 50
    assert sum(of_others([row for row in rows if row.unit]).values()) == len(rows)
    wait_until(lambda: in_rows(data) == after)
    wait_until(running.takes_events)
    assert running.stop() == 0
    assert holders(data) == []
    assert "Traceback" not in running.log.read_text()
