"""stitchd's dialect on stand-ins: what a real server can't be made to do at will, and the order of checks."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from fanion._core.list_block import ListReader, pack, rows_of
from fanion.bundle.compiler import compile_bundle
from fanion.config import Config, Limiter
from fanion.dialects.stitchd import segments
from fanion.dialects.stitchd.events import value_kind
from fanion.dialects.stitchd.routes import DIALECT
from fanion.dialects.stitchd.segments import PIECE_PAIRS
from fanion.dialects.stitchd.served import Segment, Served
from fanion.dialects.wire.ingest import ECHO_BYTES_MAX
from fanion.engine.evaluator import open_environment
from fanion.errors import JournalError, JournalFullError, StoreError
from fanion.model.api_key import KeyRecord
from tests.unit.http_standins import (
    Answered,
    Caller,
    FakeCounters,
    FakeJournal,
    FakeLimiter,
    FakeSnapshots,
    Services,
    View,
)
from tests.unit.stitchd_worlds import ENVIRONMENT, World, flag, leaf

EVENT = {"metric_key": "page_view", "context_type": "user", "context_key": "u1"}
RULED = {"id": "r", "key": "outside", "condition": {"op": "Not", "child": leaf("Eq", "plan", value="pro")}}
LISTED = {"id": "l", "key": "beta", "context_type": "user", "include": ["u1", "u2"], "exclude": ["u2"]}
HEADERS = {"x-sdk-key": "sdk_live_unit"}


class StitchdSnapshot:
    """One environment, compiled, with its lists in memory."""

    readers_missing = False

    def __init__(self) -> None:
        events = [{"key": "page_view", "value_type": "count"}]
        world = World(
            {
                "flags": [flag({"op": "InSegment", "segment_id": "l"})],
                "list_segments": [LISTED],
                "rule_segments": [RULED],
                "events": events,
            }
        )
        assert world.problems == []
        self.lists = world.members
        buffer = compile_bundle(world.lowered, {"stitchd": DIALECT.render})
        bundle = open_environment(ENVIRONMENT, buffer, lambda name, text: text in self.lists[name])
        self.number, self.confirmed_at = 1, 0.0
        at = DIALECT.bind(bundle)
        assert isinstance(at, Served)
        listed = at.segments["beta"]
        at.segments = {**at.segments, "inside": Segment(listed.decision, listed.member)}
        """The list once more, as one that is decided: so is a native segment, by its members."""
        self.views: dict[str, View | None] = {ENVIRONMENT: View({"stitchd": at})}

    def key(self, raw_key: bytes) -> KeyRecord | None:
        if raw_key == b"sdk_live_unit":
            return KeyRecord(id="k", environment=ENVIRONMENT, organisation="o", kind="server")
        return None

    known_key = key

    def view(self, environment: str) -> View | None:
        return self.views[environment]

    def member(self, environment: str, name: str, member: bytes) -> bool:
        return member.decode() in self.lists.get(name, ())

    def list_reader(self, environment: str, name: str) -> ListReader | None:
        if self.readers_missing:
            raise LookupError(name)
        rows = rows_of(1, 2, [member.encode() for member in self.lists.get(name, ())])
        block = bytes(8) + pack(1, 0, 0, sorted(rows))
        return ListReader(lambda key: True, lambda: memoryview(block), 1, 2) if rows else None


@pytest.fixture
def caller() -> Caller:
    snapshots: Any = FakeSnapshots()
    snapshots.snapshot = StitchdSnapshot()
    config = Config(limiter=Limiter(bad_keys_per_minute=1))
    services = Services(config, snapshots, FakeJournal(), FakeLimiter(), FakeCounters())
    return Caller(services, [DIALECT])


def ask(caller: Caller, rest: str, document: Any, **headers: str) -> Answered:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    path = f"/v1/environments/{ENVIRONMENT}{rest}"
    return caller.call("POST", path, body, HEADERS | headers, key=None)


def envelope(answer: Answered) -> tuple[int, str]:
    assert set(answer.json()) == {"error", "code"}
    return answer.status, answer.json()["code"]


@pytest.mark.parametrize("rest", ["/events", "/events/batch"])
@pytest.mark.parametrize("error", [JournalFullError("full"), JournalError("broken")])
def test_events_that_can_not_be_kept_are_502(caller: Caller, rest: str, error: Exception) -> None:
    document = EVENT if rest == "/events" else {"events": [EVENT]}
    for member in ("full", "sync_error"):
        setattr(caller.parts.journal, member, error)
        answer = ask(caller, rest, document)
        assert envelope(answer) == (502, "UNAVAILABLE")
        assert answer.headers["retry-after"] == "1"
        setattr(caller.parts.journal, member, None)
    assert ask(caller, rest, document).status == 202


@pytest.mark.parametrize(
    "rest", ["/evaluate", "/events", "/segments/list-check", "/segments/batch-list-check"]
)
def test_store_that_can_not_be_read_is_502_and_never_401(caller: Caller, rest: str) -> None:
    caller.parts.snapshots.error = StoreError("gone")
    answer = ask(caller, rest, {})
    assert envelope(answer) == (502, "UNAVAILABLE")
    assert "retry-after" in answer.headers


def test_environment_that_is_gone_between_key_and_bundle_is_502(caller: Caller) -> None:
    caller.parts.snapshots.snapshot.views[ENVIRONMENT] = None
    assert envelope(ask(caller, "/evaluate", {})) == (502, "UNAVAILABLE")


def test_environment_that_is_not_served_through_stitchd_is_401(caller: Caller) -> None:
    caller.parts.snapshots.snapshot.views[ENVIRONMENT] = View({"stitchd": None})
    assert envelope(ask(caller, "/evaluate", {})) == (401, "UNAUTHENTICATED")


def test_defect_of_the_server_is_500_in_the_envelope(caller: Caller) -> None:
    caller.parts.snapshots.snapshot.views.clear()
    answer = ask(caller, "/evaluate", {})
    assert envelope(answer) == (500, "INTERNAL")
    assert ENVIRONMENT not in answer.body.decode()


def test_unknown_keys_are_401_beyond_their_limit_too(caller: Caller) -> None:
    caller.parts.limiter.wait_s = 60.0
    answer = ask(caller, "/evaluate", {}, **{"x-sdk-key": "sdk_live_guess"})
    assert envelope(answer) == (401, "UNAUTHENTICATED")
    assert "retry-after" not in answer.headers


def test_body_that_stalls_is_408_in_the_envelope(caller: Caller) -> None:
    path = f"/v1/environments/{ENVIRONMENT}/evaluate"
    limits = caller.parts.config.limits
    assert limits.body_chunk_timeout_s == 2.0
    answer = caller.call("POST", path, [b"{"], HEADERS | {"content-length": "10"}, key=None, stall=True)
    assert envelope(answer) == (408, "INVALID_ARGUMENT")


def test_environment_is_judged_before_the_body(caller: Caller) -> None:
    path = "/v1/environments/11111111-2222-3333-4444-555555555555/evaluate"
    assert envelope(caller.call("POST", path, b"nonsense", HEADERS, key=None)) == (401, "UNAUTHENTICATED")


def test_what_an_answer_names_of_a_batch_is_bounded_and_all_is_counted(caller: Caller) -> None:
    bad = {"metric_key": "no" * 60, "context_type": "user", "context_key": "u1"}
    answer = ask(caller, "/events/batch", {"events": [bad] * 999 + [EVENT]}).json()
    assert answer["accepted_count"] == 1
    assert answer["rejected_keys"] == [bad["metric_key"]] * (ECHO_BYTES_MAX // len(bad["metric_key"]))


def test_events_reach_the_journal_as_received(caller: Caller) -> None:
    journal = caller.parts.journal
    body = json.dumps(EVENT).encode()
    assert ask(caller, "/events", body).status == 202
    batch = b'{ "events" : [%b, %b], "x": 1 }' % (body, body)
    assert ask(caller, "/events/batch", batch).status == 202
    bad = b'{"metric_key":"no","context_type":"user","context_key":"u1"}'
    answer = ask(caller, "/events/batch", b'{"events":[%b , %b]}' % (bad, body))
    assert answer.json() == {"accepted_count": 1, "rejected_keys": ["no"]}
    written = [(record["body"], record["whole"]) for record in journal.records]
    assert written == [(b"[%b]" % body, False), (batch, True), (b"[%b]" % body, False)]
    assert {record["dialect"] for record in journal.records} == {"stitchd"}


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"", "nothing"),
        (b"null", "nothing"),
        (b"true", "bool"),
        (b"false", "bool"),
        (b"0", "int"),
        (b"-9223372036854775808", "int"),
        (b"-9223372036854775809", "double"),
        (b"9223372036854775807", "int"),
        (b"9223372036854775808", "double"),
        (b"1.0", "double"),
        (b"1e3", "double"),
        (b'"1"', "untyped"),
        (b"[1]", "untyped"),
        (b"{}", "untyped"),
    ],
)
def test_json_text_becomes_a_kind_of_value(raw: bytes, kind: str) -> None:
    assert value_kind(raw) == kind


@pytest.mark.parametrize("number", [b"1e999", b"-1E+999"])
def test_number_beyond_a_double_is_400_wherever_it_stands(caller: Caller, number: bytes) -> None:
    good = json.dumps(EVENT).encode()
    more = b'{"more":{"deep":[%b]},' % number + good[1:]
    value = good[:-1] + b',"value":{"deep":[%b]}}' % number
    for bad in (more, value):
        assert envelope(ask(caller, "/events", bad)) == (400, "INVALID_ARGUMENT")
        batch = b'{"events":[%b,%b]}' % (good, bad)
        assert envelope(ask(caller, "/events/batch", batch)) == (400, "INVALID_ARGUMENT")
    beside = b'{"x":%b,"events":[%b]}' % (number, good)
    assert envelope(ask(caller, "/events/batch", beside)) == (400, "INVALID_ARGUMENT")
    asked = b'{"x":%b,"flag_key":"f","context_type":"user","context_key":"u"}' % number
    assert envelope(ask(caller, "/evaluate", asked)) == (400, "INVALID_ARGUMENT")
    assert caller.parts.journal.records == []
    assert ask(caller, "/events", more.replace(number, b"1e308")).status == 202


PAIRS = [
    b'{"segment_key":"beta","context_type":"user","context_key":"u1"}',
    b'{ "context_key" : "u2",\t"segment_key":"beta","context_type":"user" }',
    b'{"segment_key":"beta","context_type":"user","context_key":"u3"}',
    b'{"segment_key":"beta","context_type":"device","context_key":"u1"}',
    '{"segment_key":"beta","context_type":"user","context_key":"ü"}'.encode(),
    b'{"segment_key":"beta","context_type":"user","context_key":"u\\u0031"}',
    b'{"segment_key":"beta","context_type":"user","context_key":"u1","zz":[[],{"a":"]"},1]}',
    b'{"zz":1e3,"segment_key":"beta","y":null,"context_type":"user","context_key":"u1"}',
]
DECIDED = [
    b'{"segment_key":"inside","context_type":"user","context_key":"u1"}',
    b'{"segment_key":"inside","context_type":"device","context_key":"u1"}',
    '{"zz":[],"segment_key":"outside","context_type":"user","context_key":"ü"}'.encode(),
    b'{"segment_key":"outside","context_type":"anonymous","context_key":"u2"}',
    b'{"context_key":"u2","segment_key":"outside","context_type":"user"}',
]
WRONG = [
    b'{"segment_key":"beta","context_type":"user"}',
    b'{"segment_key":"none","context_type":"user","context_key":"u1"}',
    b'{"segment_key":"beta","segment_key":"none","context_type":"user","context_key":"u1"}',
    b'{"segment_key":"beta","context_type":"user","context_key":1}',
    b'{"segment_key":"beta","context_type":"user","context_key":"\xff"}',
    b'{"segment_key":"beta","context_type":"user","context_key":"a\x01b"}',
    b'{"segment_key":"beta","context_type":"user","context_key":"u1","zz":1e999}',
    b'{"segment_key":"beta","context_type":"user","context_key":"u1","zz":[}',
    b'{"segment_key":"beta","context_type":"user","context_key":"%b"}' % (b"a" * 70_000),
    b"1",
    b"",
]


FIND = segments._segment  # what `leave` takes the place of


def leave(*_: object) -> None:
    """In place of what finds a segment."""
    raise LookupError("to the loop")


def test_pairs_that_are_answered_natively_have_the_answers_of_the_loop(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(20261128)
    plain = 0
    for _ in range(600):
        few = draw.choice((PAIRS[:5], PAIRS, DECIDED, PAIRS + DECIDED))
        items = [draw.choice(few) for _ in range(draw.choice((0, 1, 3, 400, 600)))]
        if draw.random() < 0.3:
            items.insert(draw.randint(0, len(items)), draw.choice(WRONG))
        body = draw.choice((b"", b" \n")) + b"[" + draw.choice((b",", b" , ")).join(items) + b"]"
        if draw.random() < 0.2:
            at = draw.randrange(len(body))
            body = body[:at] + draw.choice((b"", b",", b'"', b"\\", b"}")) + body[at + draw.randint(0, 1) :]
        found = []
        for find in (FIND, leave):
            monkeypatch.setattr(segments, "_segment", find)
            found.append(ask(caller, "/segments/batch-list-check", body))
        assert found[0] == found[1], body
        plain += found[0].status == 200
    assert 200 < plain < 500


def test_pairs_of_rule_segments_are_answered_in_pieces(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After each others may be answered, and what comes then has the snapshot in force then; nothing is decoded."""
    monkeypatch.setattr(segments, "_answered", None)
    first, later = StitchdSnapshot(), StitchdSnapshot()
    later.lists.clear()
    later.lists |= {name: set() for name in first.lists}
    asked: list[StitchdSnapshot] = []

    def current() -> StitchdSnapshot:
        asked.append(first if len(asked) < 2 else later)
        return asked[-1]

    monkeypatch.setattr(caller.parts.snapshots, "current", current)
    body = b"[%b]" % b",".join([DECIDED[0]] * 2 * PIECE_PAIRS)
    answer = ask(caller, "/segments/batch-list-check", body)
    assert [one["is_member"] for one in answer.json()] == [True] * PIECE_PAIRS + [False] * PIECE_PAIRS
    assert len(asked) == 3
    asked.clear()
    late = b"[%b]" % b",".join([DECIDED[0]] * PIECE_PAIRS + [WRONG[1]])
    assert envelope(ask(caller, "/segments/batch-list-check", late)) == (404, "NOT_FOUND")


def test_plain_pairs_of_a_list_need_no_look_up_of_the_loop(caller: Caller) -> None:
    snapshots: Any = caller.parts.snapshots
    snapshots.snapshot.member = None
    for item in PAIRS[:5]:
        assert ask(caller, "/segments/batch-list-check", b"[%b]" % b",".join([item] * 500)).status == 200
    body = b"[%b]" % b",".join([PAIRS[6]] * 500)
    assert ask(caller, "/segments/batch-list-check", body).body.count(b"true") == 500


def test_a_long_batch_gives_way_and_is_answered_from_the_snapshot_in_force_then(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pairs that the native pass leaves: after each piece others may be answered, and a snapshot may be gone."""
    first, later = StitchdSnapshot(), StitchdSnapshot()
    first.readers_missing = later.readers_missing = True
    later.lists = {name: set() for name in later.lists}
    pair = {"segment_key": "beta", "context_type": "user", "context_key": "u1"}
    for count, turns in ((PIECE_PAIRS, 0), (PIECE_PAIRS + 1, 2), (3 * PIECE_PAIRS, 3)):
        asked: list[StitchdSnapshot] = []
        once = 3 if turns else 9  # the key's, the body's, the first piece's

        def current(asked: list[StitchdSnapshot] = asked, once: int = once) -> StitchdSnapshot:
            asked.append(first if len(asked) < once else later)
            return asked[-1]

        monkeypatch.setattr(caller.parts.snapshots, "current", current)
        answer = ask(caller, "/segments/batch-list-check", [pair] * count)
        assert [one["is_member"] for one in answer.json()] == [
            number < PIECE_PAIRS for number in range(count)
        ]
        assert len(asked) == 2 + turns
    unknown = [pair] * 2 * PIECE_PAIRS + [pair | {"segment_key": "nobody"}]
    assert envelope(ask(caller, "/segments/batch-list-check", unknown)) == (404, "NOT_FOUND")


def test_more_long_batches_than_there_is_room_for_are_told_to_come_again(
    caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller.parts.snapshots.snapshot.readers_missing = True
    monkeypatch.setattr("fanion.dialects.stitchd.segments.LONG_MAX", 0)
    pair = {"segment_key": "beta", "context_type": "user", "context_key": "u1"}
    answer = ask(caller, "/segments/batch-list-check", [pair] * (PIECE_PAIRS + 1))
    assert envelope(answer) == (502, "UNAVAILABLE")
    assert answer.headers["retry-after"] == "1"
    assert ask(caller, "/segments/batch-list-check", [pair] * PIECE_PAIRS).status == 200
