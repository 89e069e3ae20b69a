"""Following the store: what a request sees after a publish, a bad bundle, a revoked or expired key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion._core.shared import GenerationWord
from fanion.errors import BundleError, StoreError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store.list_writer import ListWriter
from fanion.store.publication import Publication
from fanion.store.reload import Reloader
from fanion.store.store import Store


class View:
    """Holds the map's buffer as a real bundle does."""

    made = 0

    def __init__(self, environment: str, buffer: memoryview, unit_key: bytes | None) -> None:
        View.made += 1
        self.text = bytes(buffer)
        if self.text.startswith(b"bad"):
            raise BundleError(f"{environment}: bad")
        self.holder = re.finditer(b"x", buffer)


def record(environment: str = "a", expires_at: float | None = None) -> KeyRecord:
    return KeyRecord(
        id="key_1", environment=environment, organisation="o", kind="server", expires_at=expires_at
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "data", create=True) as opened:
        yield opened


class Worker:
    """A reloader with everything that it was told."""

    def __init__(self, store: Store, **options: int) -> None:
        self.time = 1_000.0
        self.reports: list[tuple[str, str]] = []
        self.reloader: Reloader[View] = Reloader(
            store,
            store.word,
            View,
            now=lambda: self.time,
            report=lambda environment, problem: self.reports.append((environment, problem)),
            **options,
        )

    def text(self, environment: str = "a") -> bytes | None:
        view = self.reloader.current().view(environment)
        return None if view is None else view.text


@pytest.fixture
def worker(store: Store) -> Iterator[Worker]:
    store.publish(
        Publication(
            bundles={"a": b"a1", "b": b"b1"},
            keys={hash_key(b"k"): record(), hash_key(b"brief"): record(expires_at=2_000.0)},
        )
    )
    opened = Worker(store)
    yield opened
    opened.reloader.close()
    assert opened.reloader._retired == []


def test_publish_counts_from_the_next_request_on(store: Store, worker: Worker) -> None:
    assert worker.text() == b"a1"
    store.publish(Publication(bundles={"a": b"a2"}))
    assert worker.text() == b"a2"
    assert worker.text("b") == b"b1"
    assert worker.reloader.current().number == 2


def test_unknown_environment_is_none(worker: Worker) -> None:
    assert worker.text("c") is None


def test_views_of_unchanged_environments_are_taken_over_and_not_made_again(
    store: Store, worker: Worker
) -> None:
    worker.text("a")
    worker.text("b")
    made = View.made
    view = worker.reloader.current().view("b")
    for number in range(30):
        store.publish(Publication(bundles={"a": b"%d" % number * 4_000}))
        assert worker.text("a") == b"%d" % number * 4_000
        assert worker.reloader.current().view("b") is view
        worker.reloader.tick()
    assert View.made == made + 30
    assert len(worker.reloader._retired) == 0


def test_publish_whose_word_was_never_raised_is_seen_at_the_tick(
    store: Store, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Silent:
        def raise_to(self, generation: int) -> None: ...

        load = store.word.load

    monkeypatch.setattr(store, "word", Silent())
    store.publish(Publication(bundles={"a": b"a2"}))
    assert worker.text() == b"a1"
    worker.reloader.tick()
    assert worker.text() == b"a2"


def test_word_ahead_of_the_store_changes_nothing(store: Store, worker: Worker, tmp_path: Path) -> None:
    GenerationWord(store.word.path).raise_to(77)
    assert worker.text() == b"a1"
    assert store.publish(Publication(bundles={"a": b"a2"})) == 78
    assert worker.text() == b"a2"


def test_two_generations_at_most_are_pinned_in_a_publish_storm(store: Store, worker: Worker) -> None:
    for number in range(50):
        store.publish(Publication(bundles={"a": b"%d" % number}))
        assert worker.text() == b"%d" % number
        assert len(worker.reloader._retired) <= 1
    worker.reloader.tick()
    assert worker.reloader._retired == []


def test_generation_that_a_request_still_uses_outlives_the_ticks(store: Store, worker: Worker) -> None:
    view = worker.reloader.current().view("a")
    assert view is not None
    for text in (b"a2", b"a3", b"a4"):
        store.publish(Publication(bundles={"a": text}))
        worker.text()
        worker.reloader.tick()
    assert len(worker.reloader._retired) == 1
    del view
    worker.reloader.tick()
    assert worker.reloader._retired == []


def test_confirmation_moves_with_every_tick(worker: Worker) -> None:
    snapshot = worker.reloader.current()
    snapshot.confirmed_at = 0.0
    worker.reloader.tick()
    assert snapshot.confirmed_at > 0.0


def test_bad_bundle_is_refused_in_favour_of_the_last_good_one(store: Store, worker: Worker) -> None:
    assert worker.text() == b"a1"
    for text in (b"bad2", b"bad3", b"bad4"):
        store.publish(Publication(bundles={"a": text}))
        assert worker.text() == b"a1"
        worker.reloader.tick()
    assert worker.reports == [("a", "a: bad")] * 3
    store.publish(Publication(bundles={"a": b"a5"}))
    assert worker.text() == b"a5"
    worker.reloader.tick()
    assert worker.reloader._retired == []


def test_worker_that_starts_on_a_bad_bundle_serves_the_previous_one(store: Store) -> None:
    store.publish(Publication(bundles={"a": b"a1"}))
    store.publish(Publication(bundles={"a": b"bad"}))
    worker = Worker(store)
    assert worker.text() == b"a1"
    worker.reloader.close()


def test_environment_without_any_good_bundle_is_an_error_found_once(store: Store) -> None:
    store.publish(Publication(bundles={"a": b"bad", "b": b"b1"}))
    worker = Worker(store)
    made = View.made
    for _ in range(3):
        with pytest.raises(StoreError, match="no bundle of environment a verifies"):
            worker.text("a")
    assert View.made == made + 1
    assert worker.text("b") == b"b1"
    worker.reloader.close()


def test_revoked_key_is_refused_from_the_next_request_on(store: Store, worker: Worker) -> None:
    assert worker.reloader.current().key(b"k") == record()
    assert worker.reloader.current().key(b"unknown") is None
    store.revoke_key("key_1")
    assert worker.reloader.current().key(b"k") is None


def test_store_is_asked_for_known_keys_only_where_a_caller_wants_it_so(store: Store) -> None:
    store.publish(Publication(bundles={"a": b"a1"}, keys={hash_key(b"old"): record()}))
    worker = Worker(store)
    assert worker.reloader.current().known_key(b"old") is not None  # it was there at the start
    store.add_key(hash_key(b"new"), record())
    assert worker.reloader.current().known_key(b"new") is None
    assert worker.reloader.current().key(b"new") is not None
    store.publish(Publication(bundles={"a": b"a2"}, keys={}))
    assert worker.reloader.current().known_key(b"new") is not None  # another generation, the same process
    assert worker.reloader.current().known_key(b"old") is None
    worker.reloader.close()


def test_key_expires_without_a_publish(worker: Worker) -> None:
    snapshot = worker.reloader.current()
    assert snapshot.key(b"brief") is not None
    worker.time = 1_999.9
    assert snapshot.key(b"brief") is not None
    worker.time = 2_000.0
    assert snapshot.key(b"brief") is None
    assert snapshot.key(b"k") is not None


def test_unknown_keys_are_not_remembered_and_known_ones_only_so_many(store: Store) -> None:
    keys = {hash_key(b"%d" % number): record() for number in range(40)}
    store.publish(Publication(bundles={"a": b"a1"}, keys=keys))
    worker = Worker(store, key_cache_entries=16)
    snapshot = worker.reloader.current()
    for number in range(100):
        assert (snapshot.key(b"%d" % number) is not None) == (number < 40)
        assert len(snapshot._keys) <= 16
    worker.reloader.close()


def test_key_of_an_environment_that_is_gone_opens_nothing(store: Store, worker: Worker) -> None:
    store.add_key(hash_key(b"made"), record("b"))
    assert worker.reloader.current().key(b"made") is not None
    store.publish(Publication(bundles={}, removed=("b",)))
    assert worker.reloader.current().key(b"made") is None


def test_store_that_can_not_be_read_leaves_the_last_snapshot(
    store: Store, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> int:
        raise StoreError("disk on fire")

    assert worker.text() == b"a1"
    monkeypatch.setattr(store, "generation", broken)
    monkeypatch.setattr(store, "pin", broken)
    worker.reloader.tick()
    worker.reloader.tick()
    store.word.raise_to(99)
    assert worker.text() == b"a1"
    assert worker.reloader.problem == "disk on fire"
    assert worker.reports == [("", "disk on fire")]
    monkeypatch.undo()
    worker.reloader.tick()
    assert worker.reloader.problem == "generation 99 was announced, and the store holds 1: it was put back"
    assert store.publish(Publication(bundles={"a": b"a2"})) == 100
    worker.reloader.tick()
    assert (worker.text(), worker.reloader.problem) == (b"a2", "")

    assert worker.reloader.problem == ""


def contents(worker: Worker) -> dict[str, bytes]:
    snapshot = worker.reloader.current()
    return {environment: snapshot.content(environment) for environment in snapshot.environments()}


def test_what_an_environment_is_answered_from_has_a_digest_that_a_publish_of_the_same_keeps(
    store: Store, worker: Worker
) -> None:
    first = contents(worker)
    assert first["a"] != first["b"]
    store.publish(Publication(bundles={"a": b"a1"}))
    store.add_key(hash_key(b"new"), record())
    assert contents(worker) == first
    store.publish(Publication(bundles={"a": b"a2"}))
    second = contents(worker)
    assert second["a"] != first["a"]
    assert second["b"] == first["b"]
    store.rollback()
    assert contents(worker) == first
    fresh = Worker(store)
    assert contents(fresh) == first, "every worker says the same"
    fresh.reloader.close()


def test_the_digest_is_that_of_the_bundle_which_is_served(store: Store, worker: Worker) -> None:
    """A refused bundle changes nothing of the answers, so nothing of the digest."""
    first = contents(worker)
    store.publish(Publication(bundles={"a": b"bad"}))
    assert contents(worker) == first
    fresh = Worker(store)
    assert contents(fresh) == first
    fresh.reloader.close()
    store.publish(Publication(bundles={"a": b"a3"}))
    assert contents(worker)["a"] != first["a"]


def test_the_digest_changes_with_the_members_of_a_list(store: Store, worker: Worker) -> None:
    lists = {"a": {"beta": [b"x"]}}
    store.publish(Publication(bundles={"a": b"a1"}, lists=lists, list_sources={"a": {"beta": "digest"}}))
    seen = [contents(worker)["a"]]
    store.publish(Publication(bundles={"a": b"a1"}, lists=lists, list_sources={"a": {"beta": "digest"}}))
    assert contents(worker)["a"] == seen[0]
    writer = ListWriter(store.transactions)
    for change, members in ((writer.add, [b"y"]), (writer.remove, [b"x"]), (writer.replace, [b"z"])):
        change("a", "beta", members)
        seen.append(contents(worker)["a"])
    writer.add("a", "beta", [b"one more"])
    writer.remove("a", "beta", [b"z"])  # as many members as before
    seen.append(contents(worker)["a"])
    assert len(set(seen)) == len(seen)


def test_a_command_that_changes_no_member_keeps_the_digest_and_what_the_list_came_from(
    store: Store, worker: Worker
) -> None:
    lists, sources = {"a": {"beta": [b"x", b"y"]}}, {"a": {"beta": "digest"}}
    store.publish(Publication(bundles={"a": b"a1"}, lists=lists, list_sources=sources))
    first = contents(worker)
    writer = ListWriter(store.transactions)
    assert writer.add("a", "beta", [b"x"])[1] == 0
    assert writer.remove("a", "beta", [b"never there"])[1] == 0
    assert contents(worker) == first
    store.publish(Publication(bundles={"a": b"a1"}, lists={"a": {"beta": []}}, list_sources=sources))
    assert contents(worker) == first
