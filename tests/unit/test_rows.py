"""Rows of events (docs/rows.md), one by one: what each API's words come to."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from fanion._core.hash import xxh64
from fanion.dialects import NAMES, canonical_forms
from fanion.dialects.redpennon.emit import CATALOGUE, Catalogue
from fanion.errors import JournalError
from fanion.journal.batch import Record
from fanion.journal.event import expand
from fanion.journal.exposures import ASSIGNED, ATTRIBUTES, FORM, HEAD, INSIDE, SAME_UNIT, VARIANT
from fanion.journal.log_segment import KIND_EXPOSURES
from fanion.journal.rows import SENT_AGE_MAX_US, SENT_AHEAD_MAX_US, Row, expand_rows, unit_key
from fanion.model.canonical import iso_from_ns

RECEIVED_US = 1_767_225_600_000_000
MACHINE = "ab" * 16
MEMBERS_MAX, PART_MEMBERS_MAX = 24, 8


def record(dialect: str, body: Any, *, whole: bool = False, dispositions: bytes = b"") -> Record:
    encoded = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return Record(3, 2, 7, RECEIVED_US * 1000 + 999, dialect, "prod", dispositions, b"", whole, encoded)


def rows(
    dialect: str, body: Any, flag_of: Callable[..., str | None] | None = None, **members: Any
) -> list[Row]:
    resolve = {} if flag_of is None else {"flag_of": flag_of}
    return list(expand_rows(record(dialect, body, **members), MACHINE, canonical_forms(), **resolve))


def said(row: Row) -> dict[str, Any]:
    """The columns that an event filled."""
    names = ("event_id", "unit_kind", "unit", "flag", "parameter", "variant", "metric", "value", "value_text")
    return {name: getattr(row, name) for name in (*names, "reason") if getattr(row, name) is not None}


def test_a_row_has_its_records_identity_and_what_the_journal_knows() -> None:
    first, second = rows("feather", {"events": [{}, {"environmentId": "another"}]}, whole=True)
    assert (first.machine, first.writer, first.epoch, first.sequence) == (MACHINE, 3, 2, 7)
    assert [(row.index, row.part) for row in (first, second)] == [(0, 0), (1, 0)]
    assert (second.environment, second.dialect, second.kind) == ("prod", "feather", "evaluation")
    assert (first.received_at, first.event_at, first.time_from) == (RECEIVED_US, RECEIVED_US, "received")
    assert (first.disposition, first.counts, first.verified, first.unit_hashed) == ("kept", True, None, True)
    assert said(first) == {}


@pytest.mark.parametrize(
    ("apart_us", "time_from"),
    [
        (-SENT_AGE_MAX_US, "sent"),
        (-SENT_AGE_MAX_US - 1, "implausible"),
        (SENT_AHEAD_MAX_US, "sent"),
        (SENT_AHEAD_MAX_US + 1, "implausible"),
    ],
)
def test_a_sent_time_counts_within_seven_days_before_and_five_minutes_behind(
    apart_us: int, time_from: str
) -> None:
    sent = RECEIVED_US + apart_us
    for dialect, event in (
        ("feather", {"evaluatedAt": iso_from_ns(sent * 1000)}),
        ("redpennon", {"occurred_at": iso_from_ns(sent * 1000)}),
        ("traffical", {"timestamp": iso_from_ns(sent * 1000)}),
    ):
        (row,) = rows(dialect, [event])
        assert (row.sent_at, row.time_from) == (sent, time_from)
        assert row.event_at == (sent if time_from == "sent" else RECEIVED_US)


@pytest.mark.parametrize("sent", [True, 1.0, "5", None, 10**17, -(10**17), 10**400])
def test_milliseconds_that_are_none_are_no_time(sent: Any) -> None:
    (row,) = rows(
        "stitchd",
        b'[{"timestamp_ms":%b}]' % (b"1" + b"0" * 400 if sent == 10**400 else msgspec.json.encode(sent)),
    )
    assert (row.sent_at, row.time_from) == (None, "received")


def test_a_duplicate_is_a_row_that_doesnt_count_and_a_trace_is_a_column() -> None:
    kept, verified, duplicate, other = rows("redpennon", [{}] * 4, dispositions=b"\0\1\2\7")
    assert [row.disposition for row in (kept, verified, duplicate, other)] == [
        "kept",
        "verified",
        "duplicate",
        "7",
    ]
    assert [row.counts for row in (kept, verified, duplicate, other)] == [True, True, False, True]
    assert [row.verified for row in (kept, verified, duplicate, other)] == [False, True, False, False]


def test_feather_units_are_hashes_of_the_user_else_of_the_anonymous() -> None:
    user, anonymous, none = rows(
        "feather",
        [
            {"userIdHash": "aa", "anonymousIdHash": "bb", "flagKey": "f", "value": True, "reason": "ROLLOUT"},
            {"userIdHash": "", "anonymousIdHash": "bb", "value": "b"},
            {"anonymousIdHash": "", "value": 2},
        ],
    )
    assert said(user) == {
        "unit_kind": "userId",
        "unit": "aa",
        "flag": "f",
        "value": 1.0,
        "value_text": "true",
        "reason": "ROLLOUT",
    }
    assert said(anonymous) == {"unit_kind": "anonymousId", "unit": "bb", "value_text": "b"}
    assert said(none) == {"value": 2.0}


def test_redpennon_variables_resolve_to_their_feature_in_any_case() -> None:
    catalogue = Catalogue([("checkout", ["on", "off"])], {"price": (0, True)})
    flags_of = canonical_forms()["redpennon"].rows.flags_of
    assert flags_of is not None
    look_up = flags_of({CATALOGUE: msgspec.json.encode(catalogue)}.get)
    sent = [
        {"event": "bought", "variable": "Price", "variation": "on", "user": {"id": 7}, "event_id": "e"},
        {"variable": "gone", "user": {"id": "", "email": "a@b"}, "value": 1.5},
        {"user": "u"},
    ]
    price, gone, none = rows("redpennon", sent, lambda dialect, environment, name: look_up(name))
    assert said(price) == {
        "event_id": "e",
        "unit_kind": "id",
        "unit": "7",
        "flag": "checkout",
        "parameter": "Price",
        "variant": "on",
        "metric": "bought",
    }
    assert said(gone) == {"unit_kind": "email", "unit": "a@b", "parameter": "gone", "value": 1.5}
    assert said(none) == {}
    assert flags_of({}.get)("price") is None


def test_neutral_events_fill_the_columns_of_their_names() -> None:
    unit = {"kind": "userId", "id": "u1"}
    digest = {"kind": "userId", "sha256": "a0" * 32}
    metric, exposure, other = rows(
        "neutral",
        [
            {
                "type": "metric",
                "id": "m",
                "unit": unit,
                "metric": "buy",
                "value": 2,
                "time": "2026-01-01T00:00:00Z",
            },
            {"type": "exposure", "id": "x", "unit": digest, "flag": "f", "variant": "on", "reason": "SPLIT"},
            {"type": "exposure", "unit": {"kind": "userId", "sha256": ""}, "metric": "none", "value": True},
        ],
    )
    assert (metric.kind, metric.time_from, metric.unit_hashed) == ("metric", "sent", False)
    assert said(metric) == {
        "event_id": "m",
        "unit_kind": "userId",
        "unit": "u1",
        "metric": "buy",
        "value": 2.0,
    }
    assert (exposure.kind, exposure.time_from, exposure.unit_hashed) == ("exposure", "received", True)
    assert said(exposure) == {
        "event_id": "x",
        "unit_kind": "userId",
        "unit": "a0" * 32,
        "flag": "f",
        "variant": "on",
        "reason": "SPLIT",
    }
    assert (other.unit_hashed, said(other)) == (
        False,
        {"unit_kind": "userId", "value": 1.0, "value_text": "true"},
    )


def test_traffical_exposures_are_a_row_a_layer() -> None:
    layers = [
        {"layerId": "1", "policyId": "p", "policyKey": "k", "allocationKey": "a", "allocationName": "A"},
        {
            "layerId": "2",
            "policyId": "q",
            "allocationName": "B",
            "unitKey": "account",
            "unitKeyValue": "acme",
        },
        {"layerId": "3", "unitKey": "account", "unitKeyValue": ""},
        "no layer",
    ]
    sent = {
        "type": "exposure",
        "id": "e",
        "unitKey": "u",
        "timestamp": "",
        "layers": layers,
        "event": "x",
        "value": 1,
    }
    found = rows("traffical", [sent, {**sent, "type": "decision"}, {**sent, "layers": []}])
    own = {"event_id": "e", "unit": "u"}
    other = {"event_id": "e", "unit_kind": "account"}
    each = [
        {**own, "flag": "p", "variant": "a"},
        {**other, "unit": "acme", "flag": "q", "variant": "B"},
        other,
    ]
    assert [said(row) for row in found] == [*each, *each, own]
    assert [row.kind for row in found] == ["exposure"] * 3 + ["decision"] * 3 + ["exposure"]
    assert [(row.index, row.part) for row in found] == [
        *((0, n) for n in range(3)),
        *((1, n) for n in range(3)),
        (2, 0),
    ]


def test_traffical_tracks_are_metrics_of_the_time_that_they_name() -> None:
    times = {"timestamp": "2026-01-01T00:00:00Z", "eventTimestamp": "2025-12-31T23:00:00Z"}
    track, unreadable, other = rows(
        "traffical",
        [
            {"type": "track", "unitKey": "u", **times, "event": "buy", "value": 3, "layers": [{}, {}]},
            {"type": "track", "unitKey": "", **times, "eventTimestamp": "then"},
            {"type": "page", "event": "buy", "value": 3},
        ],
    )
    assert said(track) == {"unit": "u", "metric": "buy", "value": 3.0}
    assert (track.event_at, track.time_from) == (RECEIVED_US - 3_600_000_000, "sent")
    assert (said(unreadable), unreadable.event_at) == ({}, RECEIVED_US)
    assert (said(other), other.kind) == ({}, "metric")


def test_stitchd_units_have_the_contexts_type_as_kind() -> None:
    sent = {
        "metric_key": "m",
        "context_type": "user",
        "context_key": "alice",
        "value": False,
        "timestamp_ms": 1,
    }
    (row,) = rows("stitchd", sent, whole=True)
    assert said(row) == {
        "unit_kind": "user",
        "unit": "alice",
        "metric": "m",
        "value": 0.0,
        "value_text": "false",
    }
    assert (row.sent_at, row.time_from) == (1000, "implausible")


@pytest.mark.parametrize("sent", [1, "x", None, [], {"layers": 5, "type": []}, {"user": "u", "flagKey": 3}])
@pytest.mark.parametrize("dialect", NAMES)
def test_events_of_no_sensible_shape_are_rows_that_say_nothing(dialect: str, sent: Any) -> None:
    (row,) = rows(dialect, [sent])
    assert said(row) == {}


def test_half_a_surrogate_pair_reads_as_the_replacement_character() -> None:
    (row,) = rows("feather", b'[{"value":"a\\ud800","flagKey":"\\ud83d\\ude00"}]')
    assert (row.value_text, row.flag) == ("a\ufffd", "\U0001f600")


def test_rows_of_an_unknown_dialect_or_of_no_json_are_refused_with_their_place() -> None:
    with pytest.raises(JournalError, match=r"3/7.*'morse'; known: feather"):
        rows("morse", [])
    with pytest.raises(JournalError, match="3/7 is not JSON"):
        rows("feather", b"{")


def test_every_dialects_shape_fits_the_columns_that_are_made_natively() -> None:
    for form in canonical_forms().values():
        assert len(form.rows.members) <= MEMBERS_MAX
        assert len(form.rows.part_members) <= PART_MEMBERS_MAX


def test_an_exposure_of_the_servers_is_a_row_and_an_event() -> None:
    body = HEAD.pack(FORM, 2, 9) + bytes([INSIDE | VARIANT | ATTRIBUTES]) + b"\6\0userId" + bytes(32)
    body += bytes(16) + b"\2\0ab" + b"\2\0on" + b'\7\0{"a":1}'
    body += bytes([ASSIGNED | SAME_UNIT]) + bytes(16) + b"\1\0c"
    record = Record(1, 2, 3, 5_000, "feather", "prod", b"", b"", False, body, KIND_EXPOSURES)
    first, second = expand_rows(record, "m", canonical_forms())
    assert (first.kind, first.unit_kind, first.unit, first.unit_hashed) == (
        "served",
        "userId",
        "00" * 32,
        True,
    )
    assert (first.flag, first.variant, first.reason, first.run) == ("ab", "on", "in", "00" * 16)
    assert (first.generation, first.attributes, first.received_at, first.counts) == (9, '{"a":1}', 5, True)
    assert (second.kind, second.index, second.unit, second.flag) == ("assigned", 1, first.unit, "c")
    assert (second.variant, second.reason, second.attributes) == (None, "out", None)
    told = [one.event for one in expand(record, canonical_forms())]
    assert [(one.kind, one.unit, one.flag_key, one.variant) for one in told] == [
        ("served", first.unit, "ab", "on"),
        ("assigned", first.unit, "c", None),
    ]
    assert told[0].source["attributes"] == {"a": 1}


@pytest.mark.parametrize("cut", [0, 3, 15, 16, 17, 24, 60, 72, 74, 78])
def test_exposures_that_end_early_or_go_on_are_refused(cut: int) -> None:
    body = HEAD.pack(FORM, 1, 9) + bytes([VARIANT]) + b"\6\0userId" + bytes(48) + b"\2\0ab" + b"\2\0on"
    record = Record(1, 2, 3, 5_000, "feather", "prod", b"", b"", False, body, KIND_EXPOSURES)
    assert len(list(expand_rows(record, "m", canonical_forms()))) == 1
    for other in (body[:cut], body + b"x"):
        with pytest.raises(JournalError, match="exposures of record 1/3"):
            list(expand_rows(record._replace(body=other), "m", canonical_forms()))


def test_an_id_and_its_digest_have_one_key() -> None:
    digest = sha256(b"ann").hexdigest()
    assert unit_key("ann", hashed=False) == unit_key(digest, hashed=True) == xxh64(digest.encode())
    assert unit_key("ann", hashed=True) != unit_key("ann", hashed=False)
