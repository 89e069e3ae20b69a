"""Derived files of a wrong size or with wild words are made anew at the next start; drafts of a kill go."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fanion.journal.window import IDS, EventWindow
from fanion.process.directory import remove_drafts
from fanion.store.publication import Publication
from fanion.store.store import Store
from fanion.telemetry.exposition import Exposition
from fanion.telemetry.metrics import Metrics

HEADER_BYTES = 4096

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "longer": lambda whole: whole + b"x",
    "wild words": lambda whole: whole[:HEADER_BYTES] + b"\xff" * (len(whole) - HEADER_BYTES),
    "wild file": lambda whole: b"\xff" * len(whole),
}
damages = pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())


@damages
def test_generation_word_is_made_anew_from_the_store(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    with Store.open(tmp_path, create=True) as store:
        store.publish(Publication(bundles={"a": b"x"}))
    path = tmp_path / "shared" / "generation"
    path.write_bytes(damage(path.read_bytes()))
    with Store.open(tmp_path, write=True) as store:
        assert store.word.load() == 1
        assert store.publish(Publication(bundles={"a": b"y"})) == 2
        assert (store.word.load(), store.replaced()) == (2, "")


def test_word_of_a_store_that_was_put_back_is_no_damage(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        store.publish(Publication(bundles={"a": b"x"}))
        store.word.raise_to(1_000_000)
    with Store.open(tmp_path, write=True) as store:
        assert store.publish(Publication(bundles={"a": b"y"})) == 1_000_001


@damages
def test_metrics_are_counted_anew(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    Metrics.prepare(tmp_path)
    metrics = Metrics.open(tmp_path)
    metrics.answered("feather", "evaluate", 200)
    metrics.close()
    path = tmp_path / "shared" / "metrics"
    path.write_bytes(damage(path.read_bytes()))
    Metrics.prepare(tmp_path)
    metrics = Metrics.open(tmp_path)
    metrics.answered("feather", "evaluate", 200)
    reader = Exposition(tmp_path)
    assert b'endpoint="evaluate",status="200"} 1\n' in reader.text()
    reader.close()
    metrics.close()


def test_metrics_that_are_whole_go_on_at_the_next_start(tmp_path: Path) -> None:
    for count in (1, 2):
        Metrics.prepare(tmp_path)
        metrics = Metrics.open(tmp_path)
        metrics.answered("feather", "evaluate", 200)
        metrics.close()
        reader = Exposition(tmp_path)
        assert b'endpoint="evaluate",status="200"} %d\n' % count in reader.text()
        reader.close()


@damages
def test_window_of_ids_is_made_anew_and_read_from_the_journal(
    tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    EventWindow.open(tmp_path, 65_536, name=IDS).close()
    path = tmp_path / "shared" / f"window-{IDS}"
    path.write_bytes(damage(path.read_bytes()))
    window = EventWindow.open(tmp_path, 65_536, name=IDS, replace=True)
    assert not window.ready
    assert path.read_bytes()[HEADER_BYTES : 2 * HEADER_BYTES] == bytes(HEADER_BYTES)
    window.close()


def test_drafts_that_a_kill_left_are_removed(tmp_path: Path) -> None:
    (tmp_path / "shared" / "active").mkdir(parents=True)
    kept = tmp_path / "shared" / "generation"
    drafts = [
        tmp_path / "shared" / name for name in ("generation.7.aabbccdd.new", "clock.new", "active/x.7.aa.new")
    ]
    for path in (kept, *drafts):
        path.write_bytes(b"x")
    remove_drafts(tmp_path)
    assert kept.exists()
    assert not any(draft.exists() for draft in drafts)


def test_old_drafts_of_small_files_are_removed_and_one_being_made_is_not(tmp_path: Path) -> None:
    old, fresh = (tmp_path / "journal" / "readers" / f"x.json.{name}.tmp" for name in ("aa", "bb"))
    old.parent.mkdir(parents=True)
    for path in (old, fresh):
        path.write_bytes(b"x")
    then = time.time() - 2 * 3_600
    os.utime(old, (then, then))
    remove_drafts(tmp_path)
    assert (old.exists(), fresh.exists()) == (False, True)
