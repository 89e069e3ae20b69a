"""Evaluating in process from a store that is published, replaced, broken and mended under it."""

from __future__ import annotations

import errno
import gc
import os
import shutil
import time
import traceback
from pathlib import Path
from typing import Any

import pytest

from fanion import Evaluator
from fanion.errors import (
    BundleError,
    EnvironmentMissingError,
    StoreError,
)
from fanion.store.list_writer import ListWriter
from fanion.store.pins import Pinned
from fanion.store.store import Store
from tests.unit.evaluator.stores import USER, WORLD, publish, small

# -- publishes


def test_a_publish_counts_from_the_next_evaluation_and_an_unrelated_one_changes_nothing(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        assert flags.evaluate("a", USER).value == "first"
        publish(data, small("second"))
        assert flags.evaluate("a", USER).value == "second"
        assert flags.changes == 1
        generation = publish(data, small("x", "other"))
        assert flags.evaluate("a", USER).value == "second"
        assert (flags.changes, flags.generation) == (1, generation)


def test_members_of_a_list_that_come_and_go_count_from_the_next_evaluation(tmp_path: Path) -> None:
    data = tmp_path / "data"
    publish(data, WORLD)
    person = {"targetingKey": "user-beta"}
    with Evaluator.open(data, "env_ofrep") as flags:
        assert flags.evaluate("in-beta", person).value is True
        with Store.open(data, write=True) as store:
            ListWriter(store.transactions).remove("env_ofrep", "org_ofrep/shop/beta/include", [b"user-beta"])
        assert flags.evaluate("in-beta", person).value is False


def test_a_removed_environment_is_not_answered_until_it_comes_back(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        with Store.open(data, write=True) as store:
            store.publish(module_publication(removed=("env",)))
        for _ in range(2):
            with pytest.raises(EnvironmentMissingError):
                flags.evaluate("a", USER)
        publish(data, small("back"))
        assert flags.evaluate("a", USER).value == "back"


def module_publication(**given: Any) -> Any:
    from fanion.store.publication import Publication

    return Publication(**{"bundles": {}, "keys": {}, **given})


def test_what_an_evaluator_reads_is_kept_by_publishes_until_it_moves_on(data: Path) -> None:
    first = 1
    flags = Evaluator.open(data, "env")
    bundle = flags._sight.bundle
    before = bytes(bundle)
    for number in range(6):
        publish(data, small(f"value {number}"))
    with Pinned(data / "store" / "data.mdb") as pinned:
        assert pinned.holds(first)
        assert not pinned.holds(first + 1)
    assert bytes(bundle) == before, "its pages were used again"
    assert flags.evaluate("a", USER).value == "value 5"
    del bundle
    gc.collect()
    with Pinned(data / "store" / "data.mdb") as pinned:
        assert not pinned.holds(first)
        assert pinned.holds(flags._sight.entry.publication)
    publish(data, small("last"))
    with Store.open(data) as store, store.transactions.reading():
        transaction = store.transactions.database.begin()
        rows = transaction.stat(store.transactions.databases["bundles"])["entries"]
        transaction.abort()
    assert rows == 2, "only the current and the previous publication's bundles are left"
    flags.close()


def test_a_bundle_that_does_not_verify_leaves_the_last_good_one(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        with Store.open(data, write=True) as store:
            store.publish(module_publication(bundles={"env": os.urandom(10_000)}))
        assert flags.evaluate("a", USER).value == "first"
        assert "env" in flags.problem
        publish(data, small("mended"))
        assert flags.evaluate("a", USER).value == "mended"
        assert flags.problem == ""
    with Store.open(data, write=True) as store:
        store.publish(module_publication(bundles={"env": os.urandom(10_000)}))
    with pytest.raises(BundleError):
        Evaluator.open(data, "env")


@pytest.mark.parametrize("what", ["store", "shared", "shared/generation", ""])
def test_a_store_that_was_replaced_is_followed_at_the_next_look(
    data: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluator, "due", lambda self: True)
    with Evaluator.open(data, "env") as flags:
        path = data / what
        old = path.with_name(f"{path.name}.old")
        path.rename(old)
        flags.refresh()
        assert flags.problem
        assert flags.evaluate("a", USER).value == "first"
        (shutil.copytree if old.is_dir() else shutil.copy)(old, path)
        publish(data, small("second"))
        flags.refresh()
        assert (flags.evaluate("a", USER).value, flags.problem) == ("second", "")


def test_a_publisher_that_died_before_it_raised_the_word_is_made_up_for(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Evaluator, "due", lambda self: True)
    with Evaluator.open(data, "env") as flags:
        word = (data / "shared" / "generation").read_bytes()
        publish(data, small("second"))
        with (data / "shared" / "generation").open("r+b") as file:
            file.write(word)
        flags.refresh()
        assert flags.evaluate("a", USER).value == "second"


def test_an_evaluator_that_is_forgotten_in_a_circle_is_collected_quietly(data: Path) -> None:
    """The collector once took the word's map away from under the buffer that the core has of it."""
    flags: Any = Evaluator.open(data, "env")
    publication = flags._sight.entry.publication
    flags.circle = flags
    del flags
    gc.collect()  # what can't be raised would be a warning, and so an error
    with Pinned(data / "store" / "data.mdb") as pinned:
        assert not pinned.holds(publication)


def test_a_process_without_a_descriptor_or_memory_left_serves_what_it_has(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> memoryview:
        raise OSError(errno.EMFILE, "Too many open files")

    with Evaluator.open(data, "env") as flags:
        monkeypatch.setattr("fanion.store.onlooker._map", refused)
        publish(data, small("second"))
        assert flags.evaluate("a", USER).value == "first"
        assert "Too many open files" in flags.problem
        monkeypatch.undo()
        monkeypatch.setattr(Evaluator, "due", lambda self: True)
        flags.refresh()
        assert flags.evaluate("a", USER).value == "second"


def coarse_second() -> int:
    return int(time.clock_gettime(6))  # CLOCK_MONOTONIC_COARSE, which the module has no name for


def test_the_store_is_looked_at_once_a_second_and_not_for_half_of_each(data: Path) -> None:
    with Evaluator.open(data, "env") as flags:
        looked = 0
        while looked < 20:
            second = coarse_second()
            flags.evaluate("a", USER)
            due = flags.due()
            if coarse_second() == second:  # none began between the two calls
                assert not due
                looked += 1
            time.sleep(0.06)


def test_an_error_that_is_raised_again_and_again_keeps_no_frames(data: Path) -> None:
    flags = Evaluator.open(data, "env")
    flags.close()
    depths = []
    for _ in range(3):
        with pytest.raises(StoreError) as closed:
            flags.evaluate("a", USER)
        depths.append(len(list(traceback.walk_tb(closed.value.__traceback__))))
    assert depths[0] == depths[2]
