"""Records expanded to canonical events, and the commands that print them."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from fanion._core import journal_format, ring
from fanion.cli.journal import command
from fanion.dialects import canonical_forms
from fanion.errors import JournalError
from fanion.journal import JournalSettings, JournalWriter
from fanion.journal.batch import Record
from fanion.journal.event import Event, expand
from fanion.journal.reader import parse_payload
from fanion.journal.settings import KIB

RECEIVED_NS = 1_767_225_600_000_000_000
RECEIVED = "2026-01-01T00:00:00.000000Z"


def record(dialect: str, body: Any, *, whole: bool = False, dispositions: bytes = b"") -> Record:
    encoded = msgspec.json.encode(body)
    return Record(0, 1, 7, RECEIVED_NS, dialect, "prod", dispositions, b"", whole, encoded)


def events(*arguments: Any, **members: Any) -> list[Event]:
    return [expanded.event for expanded in expand(record(*arguments, **members), canonical_forms())]


def test_feather_evaluations_have_their_hashed_subject() -> None:
    sent = {
        "flagKey": "new-checkout",
        "value": "b",
        "reason": "ROLLOUT",
        "userIdHash": "aa",
        "evaluatedAt": "2026-01-01T00:00:00Z",
    }
    (event,) = events("feather", {"events": [sent]}, whole=True)
    assert event == Event(
        kind="evaluation",
        environment="prod",
        received_at=RECEIVED,
        sent_at=RECEIVED,
        unit="aa",
        flag_key="new-checkout",
        value="b",
        reason="ROLLOUT",
        dialect="feather",
        source=sent,
    )


def test_redpennon_metrics_default_to_the_time_of_receipt() -> None:
    sent = {"event": "bought", "variable": "price", "variation": "low", "user": {"id": "u1"}, "value": 9.5}
    (event,) = events("redpennon", [sent], dispositions=b"\1")
    assert (event.kind, event.metric, event.flag_key, event.variant) == ("metric", "bought", "price", "low")
    assert (event.unit, event.value, event.sent_at, event.disposition) == ("u1", 9.5, RECEIVED, "verified")


def test_traffical_kinds_and_the_one_allocation_that_is_named() -> None:
    layers = [
        {"layerId": "l1", "bucket": 7, "policyId": "p", "policyKey": "price-test", "allocationName": "high"},
        {"layerId": "l2", "bucket": -1},
    ]
    sent = [
        {
            "type": "exposure",
            "unitKey": "u",
            "timestamp": "2026-05-01T10:00:00+02:00",
            "layers": layers,
            "assignments": {"a": 1},
        },
        {
            "type": "decision",
            "unitKey": "u",
            "timestamp": "2026-05-02T10:00:00+02:00",
            "layers": [*layers, {**layers[0], "policyId": "q"}],
        },
        {
            "type": "track",
            "unitKey": "",
            "timestamp": "2026-05-03T10:00:00+02:00",
            "eventTimestamp": "2026-04-30 23:59:59.5",
            "event": "buy",
            "value": 3,
        },
    ]
    exposure, decision, track = events("traffical", sent, dispositions=b"\0\0\2")
    assert (exposure.kind, exposure.flag_key, exposure.variant) == ("exposure", "price-test", "high")
    assert exposure.value == {"a": 1}
    assert (decision.kind, decision.flag_key) == ("decision", None)
    assert decision.sent_at == "2026-05-02T08:00:00.000000Z"
    assert (track.kind, track.metric, track.value) == ("metric", "buy", 3)
    assert track.sent_at == "2026-04-30T23:59:59.500000Z"
    assert (track.unit, track.disposition) == ("", "duplicate")


@pytest.mark.parametrize(
    ("sent", "canonical"),
    [
        ("2026-11-27T10:00:00Z", "2026-11-27T10:00:00.000000Z"),
        ("2026-11-27T10:00:00.123456789-05:30", "2026-11-27T15:30:00.123456Z"),
        ("2026-11-27", "2026-11-27T00:00:00.000000Z"),
        ("yesterday", None),
        ("0001-01-01T00:00:00+23:00", None),
        (5, None),
    ],
)
def test_times_are_canonical_whatever_was_sent(sent: Any, canonical: str | None) -> None:
    (feather,) = events("feather", [{"evaluatedAt": sent}])
    (pennon,) = events("redpennon", [{"occurred_at": sent}])
    (track,) = events("traffical", [{"type": "track", "timestamp": sent}])
    assert (feather.sent_at, pennon.sent_at, track.sent_at) == (canonical, canonical or RECEIVED, canonical)


def test_integers_beyond_64_bits_are_doubles_in_canonical_events() -> None:
    big = 2**64
    for dialect, body in (
        ("feather", {"value": big}),
        ("redpennon", {"value": big}),
        ("traffical", {"type": "track", "value": big}),
        ("stitchd", {"value": big}),
    ):
        (event,) = events(dialect, [body])
        assert (event.value, type(event.value)) == (float(big), float)
    (event,) = events("stitchd", [{"value": 2**63 - 1}])
    assert (event.value, type(event.value)) == (2**63 - 1, int)


@pytest.mark.parametrize(
    ("sent", "unit"), [(123, "123"), (2**60 + 1, str(2**60 + 1)), (1.5, "1.5"), (True, None)]
)
def test_a_numeric_user_of_redpennon_is_its_text(sent: Any, unit: str | None) -> None:
    (event,) = events("redpennon", [{"user": {"id": sent}}])
    assert event.unit == unit


def test_stitchd_single_events_are_the_bare_object() -> None:
    sent = {"metric_key": "page_view", "context_type": "user", "context_key": "alice", "timestamp_ms": 1}
    (event,) = events("stitchd", sent, whole=True)
    assert (event.metric, event.unit, event.sent_at) == (
        "page_view",
        "user:alice",
        "1970-01-01T00:00:00.001000Z",
    )
    (event,) = events("stitchd", {**sent, "timestamp_ms": 10**17}, whole=True)
    assert event.sent_at == f"{10**23} ns"


@pytest.mark.parametrize("sent", [1, "x", None, [], {"layers": 5, "type": []}, {"user": "u", "flagKey": 3}])
@pytest.mark.parametrize("dialect", ["feather", "redpennon", "traffical", "stitchd", "neutral"])
def test_events_of_no_sensible_shape_are_kept_as_they_were_sent(dialect: str, sent: Any) -> None:
    (event,) = events(dialect, [sent])
    assert event.source == sent
    msgspec.json.encode(event)


def test_a_number_beyond_a_double_hides_no_event() -> None:
    body = b'[{"type":"track","event":"a","x":1e999},{"type":"track","event":"b"}]'
    one, two = expand(record("traffical", [])._replace(body=body), canonical_forms())
    assert (one.event.metric, two.event.metric) == ("a", "b")
    assert b'"x":null' in msgspec.json.encode(one.event)


def test_an_unknown_dialect_and_a_body_that_is_no_json_are_told_with_their_place() -> None:
    with pytest.raises(JournalError, match=r"0/7.*'morse'; known: feather"):
        events("morse", [])
    with pytest.raises(JournalError, match="0/7 is not JSON"):
        list(expand(record("feather", [])._replace(body=b"{"), canonical_forms()))


@pytest.mark.parametrize(
    "payload", [b"", b"\0" * 15, b"\5\0\0\0" + b"\0" * 12, b"\1\0" + b"\0" * 14 + b"\xff"]
)
def test_a_payload_that_is_none_is_refused(payload: bytes) -> None:
    with pytest.raises(JournalError):
        parse_payload(payload)


@pytest.mark.parametrize(
    ("data", "checksum"),
    [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43)],
)
def test_crc32c_vectors(data: bytes, checksum: int) -> None:
    assert journal_format.crc32c(data) == checksum
    for at in range(len(data)):
        assert journal_format.crc32c(data[at:], journal_format.crc32c(data[:at])) == checksum


@pytest.mark.parametrize("length", [767, 768, 769, 1536, 6143, 6144, 6145, 6144 + 768 + 9, 30_011])
def test_crc32c_of_bytes_taken_in_blocks_is_that_of_one_byte_after_the_other(length: int) -> None:
    data = random.Random(length).randbytes(length)
    plain = length
    for at in range(length):
        plain = journal_format.crc32c(data[at : at + 1], plain)
    assert journal_format.crc32c(data, length) == plain


def test_histogram_bounds_grow_by_an_eighth_at_most() -> None:
    bounds = ring.histogram_bounds()
    assert bounds == sorted(set(bounds))
    assert all(following <= before * 1.125 + 1 for before, following in itertools.pairwise(bounds))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    async def fill() -> None:
        settings = JournalSettings(
            ring_bytes=2048 * KIB, raise_priority=False, reserve_bytes=0, stall_ms=60_000.0
        )
        writer = JournalWriter.open(tmp_path, settings, asyncio.get_running_loop())
        for n in range(3):
            body = b'{"events":[{"flagKey":"f%d","value":true},{"flagKey":"g","value":1}]}' % n
            at = RECEIVED_NS + n * 60_000_000_000
            await writer.durable(
                writer.append(dialect="feather", environment=f"e{n}", received_ns=at, body=body, whole=True)
            )
        writer.close()

    asyncio.run(fill())
    return tmp_path


def run(*arguments: object) -> str:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_cat_prints_a_line_per_event(data: Path) -> None:
    lines = [json.loads(line) for line in run("cat", "--data", data).splitlines()]
    assert [(line["sequence"], line["index"], line["flag_key"]) for line in lines] == [
        (1, 0, "f0"),
        (1, 1, "g"),
        (2, 0, "f1"),
        (2, 1, "g"),
        (3, 0, "f2"),
        (3, 1, "g"),
    ]
    assert lines[0]["writer"] == 0
    assert lines[0]["epoch"] == 1
    assert lines[0]["received_at"] == RECEIVED
    assert lines[0]["disposition"] == "kept"
    assert lines[0]["dialect"] == "feather"


def test_cat_prints_by_time_of_receipt_over_all_writers(tmp_path: Path) -> None:
    """Two workers took events in turn; a third event came before them, by a worker that began later."""

    async def fill() -> None:
        settings = JournalSettings(
            ring_bytes=2048 * KIB, raise_priority=False, reserve_bytes=0, stall_ms=60_000.0
        )
        loop = asyncio.get_running_loop()
        writers = [JournalWriter.open(tmp_path, settings, loop) for _ in range(2)]
        for minute in range(6):
            writer = writers[minute % 2]
            at = RECEIVED_NS + minute * 60_000_000_000
            body = b'{"events":[{"flagKey":"m%d","value":true}]}' % minute
            await writer.durable(
                writer.append(dialect="feather", environment="e", received_ns=at, body=body, whole=True)
            )
        for writer in writers:
            writer.close()

    asyncio.run(fill())
    lines = [json.loads(line) for line in run("cat", "--data", tmp_path).splitlines()]
    assert [line["flag_key"] for line in lines] == [f"m{minute}" for minute in range(6)]
    assert {line["writer"] for line in lines} == {0, 1}
    tailed = run("tail", "--data", tmp_path, "--since", "2025-01-01", "--once").splitlines()
    assert [json.loads(line)["flag_key"] for line in tailed] == [f"m{minute}" for minute in range(6)]


def test_cat_says_that_an_environment_has_no_events(data: Path) -> None:
    result = CliRunner().invoke(command, ["cat", "--data", str(data), "--environment", "e9"])
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "fanion: no events of environment 'e9'; there are some of: e0, e1, e2\n"
    result = CliRunner().invoke(command, ["cat", "--data", str(data), "--environment", "e1"])
    assert result.stderr == ""


def test_what_cat_prints_is_said_by_its_help(data: Path) -> None:
    said = run("cat", "--help")
    names = {field.name for field in msgspec.structs.fields(Event)} | {"writer", "epoch", "sequence", "index"}
    assert [name for name in sorted({*names, "kept", "verified", "duplicate"}) if name not in said] == []


def test_redpennon_events_say_whether_their_trace_was_verified() -> None:
    sent = {"event": "bought", "variable": "price", "variation": "low"}
    kept, verified, repeated = events("redpennon", [sent] * 3, dispositions=b"\0\1\2")
    found = [one.evaluation_trace_verified for one in (kept, verified, repeated)]
    assert found == [False, True, False]
    assert b'"evaluation_trace_verified":true' in msgspec.json.encode(verified)
    assert b"evaluation_trace_verified" not in msgspec.json.encode(events("feather", [{}])[0])


def test_cat_loads_nothing_that_serves(data: Path) -> None:
    program = (
        "import sys\n"
        "from fanion.cli import group\n"
        "group.main(sys.argv[1:], standalone_mode=False)\n"
        "print(*sys.modules, sep='\\n', file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "journal", "cat", "--data", data],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
    )
    assert len(done.stdout.splitlines()) == 6
    loaded = done.stderr.split()
    assert "fanion.dialects.feather.canonical" in loaded
    serving = re.compile(
        r"fanion\.(app|http|process)\b|fanion\.dialects\.\w+\.routes$|fanion\.dialects\.wire|granian"
    )
    assert [name for name in loaded if serving.match(name)] == []


def test_cat_and_tail_choose_by_time_environment_and_dialect(data: Path) -> None:
    assert len(run("cat", "--data", data, "--since", "2026-01-01T00:01:00").splitlines()) == 4
    assert len(run("tail", "--data", data, "--since", "2026-01-01T00:02:00Z", "--once").splitlines()) == 2
    assert len(run("cat", "--data", data, "--environment", "e1").splitlines()) == 2
    assert run("cat", "--data", data, "--dialect", "stitchd") == ""
    assert run("tail", "--data", data, "--once") == ""


def test_verify_tells_the_place_of_a_defect_and_exits_1(data: Path) -> None:
    assert "3 records in 1 segment, 0 defects" in run("verify", "--data", data)
    (segment,) = (data / "journal").glob("*.log")
    content = bytearray(segment.read_bytes())
    content[8192 + 50] ^= 1
    segment.write_bytes(content)
    result = CliRunner().invoke(command, ["verify", "--data", str(data)])
    assert result.exit_code == 1
    assert f"{segment}: bytes 8192-8320: records do not verify; 1 records lost (1-1)" in result.output


def test_stats_counts_records_and_bytes(data: Path) -> None:
    (line,) = json.loads(run("stats", "--data", data, "--json"))
    assert (line["writer"], line["epoch"], line["records"], line["segments"]) == (0, 1, 3, 1)
    assert line["first_ns"] == RECEIVED_NS
    shown = run("stats", "--data", data)
    assert "writer" in shown
    assert "MiB on disk with rings" in shown


@pytest.mark.parametrize("columns", [None, "40"])
def test_stats_are_whole_whatever_the_width(
    data: Path, monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    shown = run("stats", "--data", data)
    assert all(f" {time} " in shown for time in (RECEIVED, "2026-01-01T00:02:00.000000Z"))
    assert len({len(line) for line in shown.splitlines()[:-1]}) == 1


def test_a_directory_without_a_journal_is_told(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        run("cat", "--data", tmp_path)
    assert CliRunner().invoke(command, ["cat", "--data", str(tmp_path), "--since", "soon"]).exit_code == 2
