"""Broken batches of the neutral API: kept, rejected event by event or refused, as its documents say; nothing else
ever happens, and what was kept can be read back as rows."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fanion.dialects import canonical_forms
from fanion.journal.batch import Record
from fanion.journal.rows import expand_rows
from tests.fuzz.document_mutants import mutate
from tests.property.bending import bend
from tests.rounds import rounds
from tests.unit.neutral_standins import CASES, PATH, check_answer, make_caller

MUTANTS = rounds(200, 1_000, "PROPERTY_PROGRAMS") // 4
JUNK: list[Any] = [
    None,
    True,
    -1,
    2**63,
    10**400,
    1e308,
    "",
    "x",
    "\ud800",
    "a\u0000b",
    "x" * 70_000,
    "2026-11-28T20:05:00.123Z",
    "0001-01-01T00:00:00+23:59",
    "f" * 64,
    [],
    {},
    [[]],
    {"kind": "userId", "id": "u"},
    {"id": []},
    {"events": []},
]
CALLER = make_caller()


def send(body: bytes) -> None:
    """The answer is one of the document's, and every event of the batch is accounted for in it."""
    records: list[Any] = CALLER.parts.journal.records
    records.clear()
    answer = CALLER.call("POST", PATH, body, key=b"k_server")
    check_answer(answer.status, answer.headers, answer.json())
    if answer.status != 200:
        assert answer.status in (400, 413)
        assert not records
        return
    found = answer.json()
    events = json.loads(body.decode(errors="replace"), strict=False)["events"]
    rejected = [one["index"] for one in found["rejected"]]
    assert sorted({*rejected, *found["duplicates"]}) == sorted([*rejected, *found["duplicates"]])
    assert found["accepted"] + len(found["duplicates"]) + len(rejected) == len(events)
    assert len(records) == bool(found["accepted"])
    for kept in records:
        record = Record(
            0, 1, 1, 0, "neutral", "production", kept.get("dispositions", b""), b"", True, kept["body"]
        )
        rows = list(expand_rows(record, "m", canonical_forms()))
        assert len(rows) == len(events) - len(rejected)
        assert all(row.event_id and row.unit for row in rows)


@settings(max_examples=MUTANTS)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_mutated_batches_are_kept_rejected_or_refused(source: random.Random) -> None:
    events = [copy.deepcopy(source.choice(CASES)["event"]) for _ in range(source.randrange(1, 4))]
    document: Any = {"events": events}
    for _ in range(source.randrange(1, 4)):
        if document:
            mutate(source, document, JUNK)
    send(json.dumps(document).encode(errors="surrogatepass"))


@settings(max_examples=MUTANTS // 2)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_bent_bytes_are_kept_rejected_or_refused(source: random.Random) -> None:
    events = [source.choice(CASES)["event"] for _ in range(source.randrange(1, 4))]
    send(bend(source, json.dumps({"events": events}).encode()))


@settings(max_examples=MUTANTS // 2)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused(data: bytes) -> None:
    send(data)
