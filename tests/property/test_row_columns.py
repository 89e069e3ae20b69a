"""Columns hold the plain expansion's rows: events of all APIs as clients send them, unusual ones, and bent bytes.

A seed is printed; ROW_COLUMNS_SEED takes one in. ROW_COLUMNS_EVENTS: how many events are bent.
"""

from __future__ import annotations

import json
import os
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from fanion._core import journal_format, record_table
from fanion._core.columns import NAMES, Columns
from fanion.dialects import canonical_forms
from fanion.errors import JournalError
from fanion.journal.batch import EVENTS_HEADER, RecordBatch
from fanion.journal.columns import Expander
from fanion.journal.exposures import ATTRIBUTES, DIGEST_BYTES, FORM, HEAD, RUN_BYTES, SAME_UNIT, VARIANT
from fanion.journal.log_segment import KIND_EVENTS, KIND_EXPOSURES
from fanion.journal.rows import Row, expand_rows
from fanion.model.canonical import iso_from_ns
from fanion.model.rows import KINDS
from tests.property.bending import bend
from tests.rounds import rounds

SEED = int(os.environ.get("ROW_COLUMNS_SEED", random.randrange(1 << 32)))
EVENTS = rounds(2_500, 20_000, "ROW_COLUMNS_EVENTS")
BATCH_RECORDS = 40
SALT = 0x1111111122223333
RECEIVED_NS = 1_767_225_600_123_456_789
MACHINE = bytes(range(16))
DAY_NS = 86_400_000_000_000

OWN = "metric"
KIND = list(Row.__struct_fields__).index("kind")

Draw = random.Random


def time_of(draw: Draw) -> str:
    apart_ns = draw.choice([0, -DAY_NS, -7 * DAY_NS, 300_000_000_000, -8 * DAY_NS, DAY_NS])
    text = iso_from_ns(RECEIVED_NS + apart_ns + draw.choice([0, 1000]))
    return draw.choice([text, text[:23] + "Z", text[:19] + "Z", text[:19] + "+05:30", text[:26] + "-00:30"])


ODD_TIMES = [
    *("", "2026-01-01", "2026-01-01 00:00:00", "20260101T000000Z", "2026-01-01T00:00:00.1234567Z"),
    *("2026-02-29T00:00:00Z", "1960-02-29T00:00:00Z", "0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59Z"),
    *("2026-01-01T24:00:00Z", "2999-12-31T23:59:59-23:59", "1971-01-01T00:00:00Z", None, 5, True),
]
ODD = [
    *("", 'quo"te', "back\\slash", "new\nline", "\x7f", "\ud800", True, False, None),
    *(0, -0.0, 1, -1, 12, 1.5, 1e300, 1e-7, 0.1, 123456789.123456789, 2**53 + 1, 2**63, 10**30),
    *([], {}, [1, {"a": "]"}], {"id": "x"}, {"a": [{}]}),
]


def odd_time(draw: Draw) -> Any:
    return draw.choice(ODD_TIMES)


def text_of(draw: Draw) -> str:
    return draw.choice(["a", "user_123", "checkout-copy", "é", "日本語", "\U0001f600", "x" * 70, "a/b~c"])


def odd(draw: Draw) -> Any:
    return draw.choice(ODD)


def maybe_odd(draw: Draw, usual: Callable[[Draw], Any]) -> Any:
    return odd(draw) if draw.random() < 0.03 else usual(draw)


def scalar(draw: Draw) -> Any:
    return draw.choice([True, False, "b", "", 1, -7, 0, 2.5, -0.25, 99.99, 1e6, 123456789012345])


def feather(draw: Draw) -> dict[str, Any]:
    return {
        "flagKey": maybe_odd(draw, text_of),
        "flagId": "flag_1",
        "environmentId": "env",
        "value": maybe_odd(draw, scalar),
        "reason": maybe_odd(draw, lambda d: d.choice(["ROLLOUT", "DEFAULT"])),
        "userIdHash": maybe_odd(draw, lambda d: d.choice(["", "a0" * 32])),
        "anonymousIdHash": "b1" * 32,
        "sdkVersion": "1.0.0",
        "evaluatedAt": odd_time(draw) if draw.random() < 0.03 else time_of(draw),
    }


def user(draw: Draw) -> dict[str, Any]:
    return {"id": maybe_odd(draw, text_of), "email": text_of(draw), "attributes": {"a": 1}}


def redpennon(draw: Draw) -> dict[str, Any]:
    return {
        "event": maybe_odd(draw, text_of),
        "variable": maybe_odd(draw, text_of),
        "variation": maybe_odd(draw, text_of),
        "user": maybe_odd(draw, user),
        "value": maybe_odd(draw, lambda d: d.choice([1, 2.5, None, -3])),
        "occurred_at": odd_time(draw) if draw.random() < 0.03 else time_of(draw),
        "event_id": maybe_odd(draw, text_of),
        "evaluation_trace": None,
    }


def layer(draw: Draw) -> Any:
    sent: dict[str, Any] = {"layerId": "l", "bucket": 7, "policyId": maybe_odd(draw, text_of)}
    for name in ("allocationKey", "allocationName", "unitKey", "unitKeyValue"):
        if draw.random() < 0.5:
            sent[name] = maybe_odd(draw, text_of)
    return sent


def traffical(draw: Draw) -> dict[str, Any]:
    sent: dict[str, Any] = {
        "type": maybe_odd(draw, lambda d: d.choice(["track", "exposure", "decision", "page"])),
        "id": text_of(draw),
        "unitKey": maybe_odd(draw, text_of),
        "timestamp": time_of(draw),
        "event": maybe_odd(draw, text_of),
        "value": maybe_odd(draw, lambda d: d.choice([1, 2.5, -3])),
        "layers": maybe_odd(draw, lambda d: [layer(d) for _ in range(d.choice([0, 1, 1, 3]))]),
        "properties": {"a": odd(draw)},
        "assignments": {"p": 1},
    }
    if draw.random() < 0.3:
        sent["eventTimestamp"] = odd_time(draw) if draw.random() < 0.3 else time_of(draw)
    return sent


def stitchd(draw: Draw) -> dict[str, Any]:
    return {
        "metric_key": maybe_odd(draw, text_of),
        "context_type": maybe_odd(draw, lambda d: d.choice(["user", "account"])),
        "context_key": maybe_odd(draw, text_of),
        "value": maybe_odd(draw, scalar),
        "timestamp_ms": maybe_odd(
            draw, lambda d: RECEIVED_NS // 1_000_000 - d.choice([0, 1000, -400_000, 10**9])
        ),
    }


def neutral(draw: Draw) -> dict[str, Any]:
    unit = {"kind": maybe_odd(draw, text_of), draw.choice(["id", "sha256"]): maybe_odd(draw, text_of)}
    if draw.random() < 0.05:
        unit["id"] = maybe_odd(draw, text_of)
    sent: dict[str, Any] = {
        "type": maybe_odd(draw, lambda d: d.choice(["metric", "exposure", "page"])),
        "id": maybe_odd(draw, text_of),
        "unit": maybe_odd(draw, lambda d: unit),
        "value": maybe_odd(draw, scalar),
        "properties": {"a": odd(draw)},
    }
    for name in ("flag", "variant", "metric", "reason"):
        if draw.random() < 0.6:
            sent[name] = maybe_odd(draw, text_of)
    if draw.random() < 0.7:
        sent["time"] = odd_time(draw) if draw.random() < 0.1 else time_of(draw)
    return sent


EVENTS_OF = {
    "feather": feather,
    "redpennon": redpennon,
    "traffical": traffical,
    "stitchd": stitchd,
    "neutral": neutral,
}


def body_of(draw: Draw, dialect: str, count: int) -> tuple[bytes, bool]:
    events: list[Any] = []
    for _ in range(count):
        sent = EVENTS_OF[dialect](draw)
        if draw.random() < 0.2:
            sent = dict(draw.sample(list(sent.items()), draw.randrange(len(sent) + 1)))
        events.append(odd(draw) if draw.random() < 0.01 else sent)
    whole = draw.random() < 0.7
    document: Any = events
    if whole:
        document = {"events": events}
        if draw.random() < 0.1:
            document = {"sent": odd(draw), **document, "\\" if draw.random() < 0.5 else "more": [odd(draw)]}
    dumps = draw.choice([{}, {"separators": (",", ":")}, {"indent": 1}, {"ensure_ascii": False}])
    return json.dumps(document, **dumps).encode("utf-8", "surrogatepass"), whole


def payload_of(
    dialect: str, body: bytes, dispositions: bytes, whole: bool, environment: bytes = b"prod"
) -> bytes:
    head = EVENTS_HEADER.pack(len(dialect), len(environment), len(dispositions), 0, whole)
    return head + dialect.encode() + environment + dispositions + body


def packed(text: str) -> bytes:
    return struct.pack("<H", len(text.encode())) + text.encode()


def exposures_of(draw: Draw, count: int) -> bytes:
    body = HEAD.pack(FORM, count, draw.choice([0, 7, 2**63]))
    for number in range(count):
        bits = draw.randrange(32) & (15 if number == 0 else 31) | draw.choice([0, 64])  # keyed
        body += bytes([bits])
        if not bits & SAME_UNIT:
            body += packed(draw.choice(["userId", "", "é"])) + draw.randbytes(DIGEST_BYTES)
        body += draw.randbytes(RUN_BYTES) + packed(text_of(draw))
        body += packed(draw.choice(["on", "", "日本語"])) if bits & VARIANT else b""
        body += packed(draw.choice(['{"plan":"pro"}', "{}"])) if bits & ATTRIBUTES else b""
    return body


class Exposures(bytes):
    """A payload of a record of exposures."""


def batch_of(payloads: Sequence[bytes]) -> RecordBatch:
    data = bytearray()
    for sequence, payload in enumerate(payloads, 1):
        kind = KIND_EXPOSURES if isinstance(payload, Exposures) else KIND_EVENTS
        data += journal_format.make_record(payload, kind, sequence, RECEIVED_NS, SALT)
    dialects, environments = record_table.Names(), record_table.Names()
    table = record_table.tabulate(data, 0, len(data), len(payloads), 0, 0, dialects, environments)
    return RecordBatch(MACHINE, 5, 2, data, table, dialects.texts, environments.texts)


def flag_of(dialect: str, environment: str, parameter: str) -> str | None:
    return None if len(parameter) % 3 == 0 else f"{dialect}/{environment}/{parameter}"


def key_of(environment: str) -> bytes | None:
    return bytes(range(32)) if environment == "keyed" else None


def plain(batch: RecordBatch) -> tuple[list[Row], int]:
    rows: list[Row] = []
    unreadable = 0
    for n in range(len(batch.table)):
        try:
            rows.extend(list(expand_rows(batch.record(n), MACHINE.hex(), canonical_forms(), flag_of, key_of)))
        except JournalError:
            unreadable += 1
    return rows, unreadable


def check(expander: Expander, batch: RecordBatch) -> Columns:
    before = expander.unreadable
    rows, unreadable = plain(batch)
    expander.add(batch)
    columns = expander.take()
    found, wanted = columns.tuples(), [msgspec.structs.astuple(row) for row in rows]
    if repr(found) != repr(wanted):  # repr: NaN, and the sign of 0
        for one, other in zip(found, wanted, strict=False):
            assert repr(one) == repr(other)
        assert len(found) == len(wanted)
    assert expander.unreadable - before == unreadable
    return columns


def check_apart(expander: Expander, batch: RecordBatch) -> None:
    """Rows of `OWN` stand in columns of their own, in the order of the others."""
    rows = [msgspec.structs.astuple(row) for row in plain(batch)[0]]
    expander.add(batch)
    assert expander.rows == len(rows)
    sides = [[row for row in rows if (row[KIND] == OWN) is own] for own in (True, False)]
    found = [columns.tuples() for columns in expander.take_parts()]
    assert repr(found) == repr([side for side in sides if side])


@pytest.mark.parametrize("bent", [False, True], ids=["as sent", "bent"])
def test_columns_hold_the_plain_expansions_rows(bent: bool) -> None:
    print(f"ROW_COLUMNS_SEED={SEED}")
    draw = Draw(SEED + bent)
    expander = Expander(canonical_forms(), flag_of, key_of)
    apart = Expander(canonical_forms(), flag_of, key_of, own=OWN)
    done = 0
    while done < EVENTS:
        payloads = []
        for _ in range(BATCH_RECORDS):
            dialect = draw.choice([*EVENTS_OF, *EVENTS_OF, *EVENTS_OF, "ofrep", "morse"])
            count = draw.choice([0, 1, 1, 2, 5])
            body, whole = body_of(draw, dialect if dialect in EVENTS_OF else "feather", count)
            if bent and len(body) > 8 and draw.random() < 0.9:
                body = bend(draw, body)
            dispositions = bytes(draw.choices([0, 1, 2, 9], k=draw.choice([0, count, count])))
            environment = draw.choice([b"prod", b"keyed"])
            payloads.append(payload_of(dialect, body, dispositions, whole, environment))
            if draw.random() < 0.2:
                body = exposures_of(draw, count)
                body = bend(draw, body) if bent else body
                payloads.append(Exposures(payload_of(dialect, body, b"", False, environment)))
            done += count
        check(expander, batch_of(payloads))
        check_apart(apart, batch_of(payloads))


def test_what_clients_send_is_read_without_the_plain_expansion(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> Any:
        raise AssertionError("the plain expansion was asked")

    monkeypatch.setattr(Expander, "plain_event", never)
    monkeypatch.setattr(Expander, "plain_record", never)
    draw = Draw(SEED)
    monkeypatch.setattr("tests.property.test_row_columns.maybe_odd", lambda draw, usual: usual(draw))
    monkeypatch.setattr("tests.property.test_row_columns.odd_time", time_of)
    monkeypatch.setattr("tests.property.test_row_columns.odd", lambda draw: {"deep": [1, None, "\n"]})
    for dialect, make in EVENTS_OF.items():
        body = json.dumps({"events": [make(draw) for _ in range(100)]}, ensure_ascii=False).encode()
        batch = batch_of([payload_of(dialect, body, b"", True)])
        assert len(check(Expander(canonical_forms(), flag_of, key_of), batch)) >= 100
    batch = batch_of([Exposures(payload_of("feather", exposures_of(draw, 100), b"", False))])
    assert len(check(Expander(canonical_forms(), flag_of, key_of), batch)) == 100


def test_a_part_beyond_the_native_bound_is_a_row_too() -> None:
    for count in (64, 65):
        sent = {"type": "exposure", "layers": [{"policyId": str(n)} for n in range(count)]}
        batch = batch_of([payload_of("traffical", json.dumps([sent]).encode(), b"", False)])
        assert len(check(Expander(canonical_forms()), batch)) == count


@pytest.mark.parametrize("depth", [60, 61, 62, 63, 64, 65, 66, 70])
def test_values_that_nest_deep_read_alike(depth: int) -> None:
    body = b'[{"context":%b%b,"flagKey":"f"}]' % (b"[" * depth, b"]" * depth)
    check(Expander(canonical_forms()), batch_of([payload_of("feather", body, b"", False)]))


NUMBERS = [
    *("999999999999999", "9999999999999999", "999999999999999999", "1000000000000000000", "9007199254740993"),
    *(
        "-9223372036854775808",
        "1" * 299,
        "1" * 301,
        "0.000000000000001",
        "12345678.1234567",
        "12345678.12345678",
    ),
    *("99999999999999.9", "999999999999999.9", "-0", "-0.0", "0.1", "1e3", "1E400"),
    *("00", "1.", ".5", "-", "+1", "5 "),
]


@pytest.mark.parametrize("number", NUMBERS)
def test_numbers_at_the_edges_read_alike(number: str) -> None:
    for dialect, member in (
        *(("feather", "value"), ("feather", "flagKey"), ("feather", "other"), ("stitchd", "timestamp_ms")),
        *(("redpennon", "value"), ("traffical", "value"), ("stitchd", "value")),
    ):
        bodies = [
            f'[{{"type":"track","{member}":{number}}}]',
            f'[{{"user":{{"id":{number}}}}}]',
            f"[{number}]",
        ]
        payloads = [payload_of(dialect, body.encode(), b"", False) for body in bodies]
        check(Expander(canonical_forms()), batch_of(payloads))


def test_rows_begin_anew_when_they_are_taken() -> None:
    expander = Expander(canonical_forms())
    assert expander.take().tuples() == []
    batch = batch_of([payload_of("feather", b'[{"flagKey":"f"}]', b"", False)] * 3000)
    expander.add(batch)
    kinds = sum(map(len, KINDS))
    assert (expander.rows, expander.text_bytes) == (3000, kinds)
    first = expander.take()
    assert (len(first), expander.rows) == (3000, 0)
    expander.add(batch)
    assert expander.take().tuples() == first.tuples()


def test_columns_that_are_kept_stay_as_they_are_while_others_are_filled() -> None:
    expander = Expander(canonical_forms(), own=OWN)
    for number in range(6):  # those of the first three leave their memory to the next ones
        body = b'[{"flagKey":"f%d","userIdHash":"%d"}]' % (number, number)
        stitchd = b'[{"metric_key":"m%d","value":%d}]' % (number, number)
        payloads = [payload_of("feather", body, b"", False), payload_of("stitchd", stitchd, b"", False)]
        batch = batch_of(payloads * 700)
        if number < 3:
            check_apart(expander, batch)
            continue
        expander.add(batch)
        kept = expander.take_parts()
        before = [columns.tuples() for columns in kept]
        check_apart(Expander(canonical_forms(), own=OWN), batch)
        check_apart(expander, batch_of(payloads[:1]))
        assert [columns.tuples() for columns in kept] == before


def test_columns_are_named_as_rows_are() -> None:
    assert tuple(name.decode() for name in NAMES) == Row.__struct_fields__


def test_records_that_cant_be_read_are_counted_and_named() -> None:
    expander = Expander(canonical_forms())
    check(expander, batch_of([payload_of("feather", b"{", b"", True), payload_of("morse", b"[]", b"", True)]))
    assert expander.unreadable == 2
    assert "record 5/1 is not JSON" in expander.problems[0]


def colliding_names(count: int) -> list[str]:
    """Texts of 16 characters that the columns' quick hash (fanion_columns.h) doesn't tell apart."""
    source, found, mask = random.Random(1), [], 2**64 - 1
    allowed = [byte for byte in range(0x20, 0x7F) if byte not in b'"\\']
    length = 16 * 0x9E3779B97F4A7C15 & mask
    while len(found) < count:
        first = bytes(source.choices(allowed, k=8))
        state = (length ^ int.from_bytes(first, "little")) * 0xFF51AFD7ED558CCD & mask
        second = (state ^ state >> 32) ^ 0x0123456789ABCDEF
        if second & 0x8080808080808080 == 0 and all(byte in allowed for byte in second.to_bytes(8, "little")):
            found.append((first + second.to_bytes(8, "little")).decode())
    return found


def test_names_that_meet_in_the_quick_hash_are_numbered_all_the_same() -> None:
    names = colliding_names(120)
    events = b",".join(b'{"flagKey":"%b","value":true}' % name.encode() for name in names)
    expander = Expander(canonical_forms())
    for _ in range(2):
        expander.add(batch_of([payload_of("feather", b"[%b]" % events, bytes(len(names)), False)]))
        flag = list(Row.__struct_fields__).index("flag")
        assert [row[flag] for row in expander.take().tuples()] == names
