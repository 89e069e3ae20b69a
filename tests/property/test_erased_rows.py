"""Random records without one of their units: others' rows are what they were, natively and in plain Python."""

from __future__ import annotations

import hashlib
import json
import os
import random
import string
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from typing import Any

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


def payloads_of(draw: random.Random) -> list[tuple[bytes, bytes | None]]:
    """Each with its events' body, None where that is bent."""
    payloads: list[tuple[bytes, bytes | None]] = []
    for _ in range(20):
        dialect, count = draw.choice(list(EVENTS_OF)), draw.choice([1, 2, 5])
        body, whole = body_of(draw, dialect, count)
        bent = draw.random() < 0.1
        if bent:
            body = bend(draw, body)
        payload = payload_of(dialect, body, bytes(draw.choices([0, 1, 2], k=count)), whole)
        payloads.append((payload, None if bent else body))
        if draw.random() < 0.2:
            payloads.append((Exposures(payload_of(dialect, exposures_of(draw, count), b"", False)), b""))
    return payloads


def place(row: Row) -> tuple[int, int, int]:
    return row.sequence, row.index, row.part


def is_one_of(unit: str, drawn: list[str]) -> bool:
    """Whether a unit's text is one of these people, as docs/privacy.md has it and without `Forms`."""
    ends = [unit, *(unit[at + 1 :] for at, letter in enumerate(unit) if letter == ":")]
    ids = {*drawn, *(text.lower() for text in drawn if "@" in text)}
    known = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in ids]
    known += [
        bytes.fromhex(text) for text in ids if len(text) == 64 and set(text.lower()) <= set(string.hexdigits)
    ]
    digits = {digest.hex() for digest in known}
    encoded = {
        made(digest).decode().rstrip("=") for digest in known for made in (b64encode, urlsafe_b64encode)
    }
    return any(
        end in ids
        or ("@" in end and end.lower() in {text.lower() for text in ids})
        or end.lower() in digits
        or end.rstrip("=") in encoded
        for end in ends
    )


def texts_of(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from texts_of(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_of(one)


def may_be_theirs(row: Row, body: bytes | None, drawn: list[str]) -> bool:
    """Whether an event names one of these people anywhere; its row has only one of its units."""
    if row.unit is not None and is_one_of(row.unit, drawn):
        return True
    if not body:
        return body is None
    document = json.loads(body.decode("utf-8", "surrogatepass"))
    events = document if isinstance(document, list) else document["events"]
    return any(is_one_of(text, drawn) for text in texts_of(events[row.index]))


def test_others_rows_are_what_they_were() -> None:
    print(f"ERASED_ROWS_SEED={SEED}")
    draw, met = random.Random(SEED), 0
    for _ in range(BATCHES):
        drawn_payloads = payloads_of(draw)
        payloads, bodies = [payload for payload, _ in drawn_payloads], [body for _, body in drawn_payloads]
        before, unreadable = plain(batch_of(payloads))
        units = sorted({row.unit for row in before if row.unit and "\ufffd" not in row.unit})
        if not units:
            continue
        drawn = draw.sample(units, min(2, len(units)))
        drawn += [text.swapcase() for text in drawn if draw.random() < 0.3]
        forms, gone, after_payloads = Forms(drawn), set(), []
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
        for row in before:  # what is taken for a person's is, by other means, one of those that were drawn
            assert place(row)[:2] not in gone or may_be_theirs(row, bodies[row.sequence - 1], drawn), row
        for row in after:
            was = old[place(row)]
            assert (row.kind, row.received_at, row.value, row.disposition) == (
                was.kind, was.received_at, was.value, was.disposition,
            )  # fmt: skip
            assert row.unit == was.unit or forms.redact(was.unit or "") == row.unit
        met += len(gone)
    assert met > BATCHES / 4
