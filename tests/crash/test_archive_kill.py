"""kill -9 of who archives and of who restores at random moments, with a real object store; and a store that is
away, slow, or has lost and damaged objects.

`ARCHIVE_KILLS` is how often each is killed; 100 is the full round.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion.archive.bucket import Bucket
from fanion.config.places import Places
from fanion.errors import ArchiveError
from fanion.journal.reader import JournalReader
from tests.crash.proxy import proxy
from tests.crash.receivers import BUCKET, object_store
from tests.rounds import rounds
from tests.unit.archive_world import ID, World, need_library
from tests.unit.shipping_world import records_of

KILLS = rounds(3, 20, "ARCHIVE_KILLS")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    need_library()
    with object_store(tmp_path_factory.mktemp("store")) as environment:
        yield environment["FANION_SINKS_PARQUET_ENDPOINT"]


def reached(endpoint: str, timeout_s: float = 20.0) -> Places:
    return Places(endpoint=endpoint, access_key="any", secret_key="any-secret", timeout_s=timeout_s)


def world_at(directory: Path, endpoint: str, **settings: float) -> World:
    prefix = os.urandom(6).hex()
    return World(directory, f"s3://{BUCKET}/{prefix}", reached(endpoint), **settings)


@pytest.mark.timeout(240 + 30 * KILLS)
def test_kills_of_archivers_and_restorers_lose_and_double_nothing(endpoint: str, tmp_path: Path) -> None:
    """While retention takes from the journal whatever the archive has."""
    seed = int(os.environ.get("ARCHIVE_SEED") or random.randrange(1 << 30))
    print("ARCHIVE_SEED", seed)
    environment = {
        **os.environ,
        "FANION_PLACES_ENDPOINT": endpoint,
        "FANION_PLACES_ACCESS_KEY": "any",
        "FANION_PLACES_SECRET_KEY": "any-secret",
    }
    url = f"s3://{BUCKET}/{os.urandom(6).hex()}"
    command = [sys.executable, "-m", "tests.crash.archive_worker", str(tmp_path), url, str(KILLS), str(seed)]
    limit_s = 100 + 25 * KILLS
    told = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
    )
    assert told.returncode == 0, told.stdout + told.stderr
    archived, restored, records, left = map(int, told.stdout.split())
    assert left < records, "retention took what was archived"
    print(f"{archived} kills of archivers, {restored} of restorers, {records} records: lost 0, twice 0")


def test_rows_of_a_restored_journal_are_those_of_the_lost_one(endpoint: str, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    from tests.unit.pipeline_world import kept, pipeline

    world = world_at(tmp_path, endpoint)
    world.journal.fill(random.Random(5), 40)
    world.journal.finish()
    world.archive()
    into, rows = tmp_path / "new", []
    assert world.restore(into).problems == []
    for data in (world.data, into):
        with pipeline(data) as made:
            made.run_once()
            rows.append(kept(made, data))
    assert rows[0] == rows[1]
    assert len(rows[0]) == 80


@pytest.mark.heavy
def test_a_bucket_that_is_away_delays_and_loses_nothing(endpoint: str, tmp_path: Path) -> None:
    world = world_at(tmp_path, endpoint, timeout_s=3.0)
    world.journal.append(0, 20)
    world.journal.begin(0)
    with proxy(int(endpoint.rpartition(":")[2])) as between:
        world.places = reached(f"http://127.0.0.1:{between.port}")
        between.cut()
        with world.archiver() as archiver, pytest.raises(ArchiveError, match="was not taken"):
            archiver.run_once()
        between.heal()
        between.swallows = True
        began = time.monotonic()
        with world.archiver() as archiver, pytest.raises(ArchiveError):
            archiver.run_once()
        print(f"a bucket that swallows is left after {time.monotonic() - began:.0f} s of a time-out of 3")
        between.heal()
        assert world.archive() == 1
    world.places = reached(endpoint)
    assert world.restore(tmp_path / "new").records == 20


@pytest.mark.heavy
def test_a_kill_of_the_connection_within_an_object_leaves_it_whole_or_not_there(
    endpoint: str, tmp_path: Path
) -> None:
    world = world_at(tmp_path, endpoint, timeout_s=20.0)
    for _ in range(6):
        world.journal.append(0, 10, size=60_000)
        world.journal.begin(0)
    with proxy(int(endpoint.rpartition(":")[2])) as between:
        between.bytes_per_s = 4e6
        world.places = reached(f"http://127.0.0.1:{between.port}")
        draw, over = random.Random(7), threading.Event()

        def cut() -> None:
            while not over.wait(draw.uniform(0.05, 0.3)):
                between.cut()
                between.heal()

        cutting = threading.Thread(target=cut)
        cutting.start()
        try:
            for _ in range(10):
                try:
                    world.archive()
                except ArchiveError:
                    continue
        finally:
            over.set()
            cutting.join()
        between.bytes_per_s = 0.0
        world.archive()
    world.places = reached(endpoint)
    assert len(world.objects()) == 6
    found = world.restore(tmp_path / "new")
    assert (found.records, found.problems) == (60, [])


def test_objects_that_are_damaged_or_gone_are_named_and_nothing_else_is_lost(
    endpoint: str, tmp_path: Path
) -> None:
    obstore = pytest.importorskip("obstore")
    world = world_at(tmp_path, endpoint)
    for _ in range(4):
        world.journal.append(0, 5)
        world.journal.begin(0)
    world.archive()
    first, second, *_ = world.objects()
    bucket = world.bucket()
    damaged = bytearray(bucket.get(ID, first))
    damaged[-1] ^= 1
    bucket.replace(ID, first, bytes(damaged))
    obstore.delete(bucket._store, f"{ID}/segments/{second}")
    found = world.restore(tmp_path / "new")
    assert found.records == 10
    assert any(f"{first} is damaged" in problem for problem in found.problems)
    there = {key for batch in JournalReader(tmp_path / "new").read_batches() for key in records_of(batch)}
    assert there == {(0, sequence) for sequence in range(11, 21)}
    with pytest.raises(ArchiveError, match="isn't there"):
        bucket.get(ID, second)
    (world.data / "journal" / "readers" / "archive.json").unlink()
    with world.archiver() as archiver, pytest.raises(ArchiveError, match="move it away"):
        archiver.run_once()
    assert bytes(Bucket(world.url, world.places, 20.0).get(ID, first)) == bytes(damaged), "never overwritten"
