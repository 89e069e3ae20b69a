"""Random records without one of their units: others' rows are what they were, natively and in plain Python."""

from __future__ import annotations

import os
import random

from fanion.dialects import canonical_forms
from fanion.journal.columns import Expander
from fanion.journal.erasing import erase, find_holes
from fanion.journal.log_segment import KIND_EVENTS, KIND_EXPOSURES
from fanion.journal.rows import Row
from fanion.model.forgotten import Forms
from tests.property.bending import bend
from tests.property.test_row_columns import (
    EVENTS_OF,
    Exposures,
    batch_of,
    body_of,
    check,
    exposures_of,
    flag_of,
    payload_of,
    plain,
)

SEED = int(os.environ.get("ERASED_ROWS_SEED", random.randrange(1 << 32)))
BATCHES = int(os.environ.get("ERASED_ROWS_BATCHES", 15))
CANONICAL = canonical_forms()


def payloads_of(draw: random.Random) -> list[bytes]:
    payloads: list[bytes] = []
    for _ in range(20):
        dialect, count = draw.choice(list(EVENTS_OF)), draw.choice([1, 2, 5])
        body, whole = body_of(draw, dialect, count)
        if draw.random() < 0.1:
            body = bend(draw, body)
        payloads.append(payload_of(dialect, body, bytes(draw.choices([0, 1, 2], k=count)), whole))
        if draw.random() < 0.2:
            payloads.append(Exposures(payload_of(dialect, exposures_of(draw, count), b"", False)))
    return payloads


def place(row: Row) -> tuple[int, int, int]:
    return row.sequence, row.index, row.part


def test_others_rows_are_what_they_were() -> None:
    print(f"ERASED_ROWS_SEED={SEED}")
    draw, met = random.Random(SEED), 0
    for _ in range(BATCHES):
        payloads = payloads_of(draw)
        before, unreadable = plain(batch_of(payloads))
        units = sorted({row.unit for row in before if row.unit and "\ufffd" not in row.unit})
        if not units:
            continue
        forms, gone, after_payloads = Forms(draw.sample(units, min(2, len(units)))), set(), []
        for sequence, payload in enumerate(payloads, 1):
            kind = KIND_EXPOSURES if isinstance(payload, Exposures) else KIND_EVENTS
            new = erase(payload, kind, forms, CANONICAL)
            if new is None:
                after_payloads.append(payload)
                continue
            assert len(new.payload) == len(payload)
            assert set(new.erased) == set(find_holes(new.payload, kind))
            gone |= {(sequence, index) for index in new.erased}
            after_payloads.append(type(payload)(new.payload))
            assert erase(new.payload, kind, forms, CANONICAL) is None
        expander = Expander(CANONICAL, flag_of)
        check(expander, batch_of(after_payloads))  # natively as in plain Python
        after, left_unreadable = plain(batch_of(after_payloads))
        assert left_unreadable == unreadable
        assert not [row for row in after if forms.is_unit(row.unit)]
        assert [place(row) for row in after] == [place(row) for row in before if place(row)[:2] not in gone]
        old = {place(row): row for row in before}
        for row in after:
            was = old[place(row)]
            assert (row.kind, row.received_at, row.value, row.disposition) == (
                was.kind, was.received_at, was.value, was.disposition,
            )  # fmt: skip
            assert row.unit == was.unit or forms.redact(was.unit or "") == row.unit
        met += len(gone)
    assert met > BATCHES / 4
