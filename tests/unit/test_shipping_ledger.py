"""The ledger's entries in memory: as a plain table has them, small, and gone over once."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from fanion.journal.storage import Storage
from fanion.shipping.block import Span
from fanion.shipping.chain import Chain, Entry
from fanion.shipping.ledger import HEAD_BYTES, Ledger
from fanion.shipping.reconciler import Reconciler
from tests.unit.shipping_world import MACHINE


def entry(first: int, behind: int, part: int = 0, parts: int = 1, place: int = 1) -> Entry:
    return Entry(Span(7, first, behind, part, parts), place, first, 5.0)


def spans(chain: Chain) -> list[Span]:
    return [each.span for each in chain]


class Twin:
    """Rows in a list, looked through from its beginning."""

    def __init__(self) -> None:
        self.rows: list[Entry] = []

    def put(self, new: Entry) -> None:
        whole = new.span._replace(part=0)
        self.rows = [
            row
            for row in self.rows
            if not whole.first <= row.span.first < whole.next
            or (row.span._replace(part=0) == whole and row.span.part != new.span.part)
        ]
        self.rows = sorted([*self.rows, new], key=lambda row: (row.span.first, row.span.part))

    def ends_from(self, sequence: int, good: set[int] | None = None) -> int:
        while True:
            rows = [row for row in self.rows if row.span.first == sequence]
            if not rows or len(rows) < rows[0].span.parts:
                return sequence
            if good is not None and not all(row.place in good or not row.place for row in rows):
                return sequence
            sequence = rows[0].span.next


def test_a_chain_is_as_a_plain_table() -> None:
    draw = random.Random(11)
    for _ in range(60):
        chain, twin, good, sequence, place = Chain(7), Twin(), set[int](), 1, 0
        for _ in range(60):
            again = bool(twin.rows) and draw.random() < 0.2
            first = draw.choice(twin.rows).span.first if again else sequence
            behind, parts = first + draw.randrange(1, 5), draw.choice([1, 1, 1, 2, 3])
            for part in range(parts):
                place += 1
                new = entry(first, behind, part, parts, place if draw.random() < 0.9 else 0)
                chain.put(new)
                twin.put(new)
                assert list(chain) == twin.rows
                if draw.random() < 0.1:
                    break
            sequence = max(sequence, behind)
            if draw.random() < 0.5:
                row = draw.randrange(len(chain))
                chain.good[row] = True
                good.add(chain.places[row])
            since = twin.rows[0].span.first
            assert chain.ends_from(since) == twin.ends_from(since)
            assert chain.good_from(0) == twin.ends_from(since, good)
        until = draw.randrange(sequence)
        listed = [row for row in twin.rows if row.place and row.place not in good and row.span.next <= until]
        assert [chain[row] for row in chain.not_good(0, until)] == listed
        chain.forget(until)
        assert list(chain) == [row for row in twin.rows if row.span.next > until]


class Holding:
    """A stream that has all."""

    keep_s = 0.0

    def lacks(self) -> Any:
        return lambda place: False

    def fetch(self, places: list[int]) -> Any:
        raise AssertionError(places)


def test_what_was_verified_is_small_and_not_gone_over_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A week of a block a second is 600,000 entries of one worker."""
    count = 20_000
    ledger = Ledger(Storage(), tmp_path / "ledger", MACHINE)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(1, count, 1_000):
            ledger.add([entry(n, n + 1, place=n) for n in range(at, at + 1_000)])
        reconciler = Reconciler(ledger, {7: count}, lambda: None)
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken < 64 * count
    asked: list[int] = []
    find = Chain.find
    monkeypatch.setattr(Chain, "__getitem__", lambda self, row: pytest.fail(f"row {row} was read again"))
    monkeypatch.setattr(Chain, "find", lambda self, sequence: asked.append(sequence) or find(self, sequence))  # type: ignore[func-returns-value]
    ledger.forget({7: 1})
    assert reconciler.check(Holding(), {7: count}, 6.0, lambda: False) == 0  # type: ignore[arg-type]
    reconciler.let_go(6.0, 0.0)
    assert reconciler.verified == {7: count}
    assert len(asked) < 10
    ledger.close()


def test_memory_and_file_are_bounded_by_what_the_journal_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under `ack = "replicated"`: a message for each record, for ever, and a journal that keeps some."""
    kept, step, dead = 1_000, 125, 250
    monkeypatch.setattr("fanion.shipping.ledger.PIECE_ENTRIES", 200)
    monkeypatch.setattr("fanion.shipping.ledger.DEAD_MIN", dead)
    path = tmp_path / "ledger"
    ledger = Ledger(Storage(), path, MACHINE)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(1, 10 * kept, step):
            ledger.add([entry(n, n + 1, place=n) for n in range(at, at + step)])
            assert path.stat().st_size <= HEAD_BYTES + 64 * (max(2 * kept, kept + dead) + 2 * step)
            ledger.forget({7: max(1, at + step - kept)})
            assert len(ledger.chains[7]) <= kept
        taken = tracemalloc.get_traced_memory()[0] - before
        most = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert taken < 2 * 45 * kept + 20_000  # arrays grow by more than they need, and shrink at half
    assert most - taken < 1_000 * (step + 200)  # a piece of entries as objects, also while it is made anew
    ledger.close()
    ledger = Ledger(Storage(), path, MACHINE)  # what was forgotten stays in the file for a while
    assert ledger.ends == {7: 10 * kept + 1}
    ledger.close()


def test_a_block_that_was_cut_anew_and_noted_in_part_is_sent_from_there(tmp_path: Path) -> None:
    """The ledger isn't synced: a power cut may leave half of what took a block's place."""
    path = tmp_path / "ledger"
    ledger = Ledger(Storage(), path, MACHINE)
    ledger.add([entry(1, 10), entry(10, 20), entry(20, 30)])
    ledger.add([entry(10, 15), entry(15, 20)])
    ledger.close()
    with path.open("r+b") as file:
        file.truncate(HEAD_BYTES + 4 * 64)
    ledger = Ledger(Storage(), path, MACHINE)
    assert ledger.ends == {7: 15}
    ledger.add([entry(15, 25)])
    assert spans(ledger.chains[7]) == [Span(7, 1, 10), Span(7, 10, 15), Span(7, 15, 25)]
    ledger.close()


def test_a_ledger_reads_back_and_is_cut_where_it_was_torn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ledger"
    entries = [Entry(Span(1, n, n + 1), n * 10, n, 5.0) for n in range(1, 30)]
    ledger = Ledger(Storage(), path, MACHINE)
    ledger.add(entries[:20])
    ledger.close()
    whole = path.read_bytes()
    for cut_at in range(len(whole) - 130, len(whole), 7):
        path.write_bytes(whole[:cut_at])
        ledger = Ledger(Storage(), path, MACHINE)
        assert ledger.ends == {1: (cut_at - 32) // 64 + 1}
        ledger.add(entries[(cut_at - 32) // 64 :])
        assert ledger.ends == {1: 30}
        ledger.close()
    monkeypatch.setattr("fanion.shipping.ledger.DEAD_MIN", 3)
    ledger = Ledger(Storage(), path, MACHINE)
    ledger.forget({1: 25})
    ledger.add([Entry(Span(1, 30, 31), 300, 30, 5.0)])
    ledger.close()
    ledger = Ledger(Storage(), path, MACHINE)
    assert ledger.ends == {1: 31}
    assert [entry.span.first for entry in ledger.chains[1]] == list(range(25, 31))
    ledger.close()
    ledger = Ledger(Storage(), path, bytes(16))
    assert ledger.ends == {}
    ledger.close()
