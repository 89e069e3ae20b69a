"""Addresses of OFREP's event streams, and what answers and their tags say of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from fanion.config import Config, Server
from fanion.dialects.ofrep.channels import CHARACTERS, KNOWN_MAX, Channels, greeting, notice, state_of
from fanion.dialects.ofrep.settings import OfrepSettings
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.stream import Listener
from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.model.signing import SigningKeys, new_signing_keys
from tests.unit.http_standins import Caller, make_services
from tests.unit.ofrep_schema import BULK, check_answer, check_message
from tests.unit.ofrep_world import CLIENT, FLAGS, SERVER, make_caller, post

STEP_S = 100.0
RAW = b"sk_one"


class Snapshot:
    def __init__(self) -> None:
        self.number = 1
        self.signing_keys: SigningKeys | None = new_signing_keys()
        self.records = {hash_key(RAW): record()}

    def content(self, environment: str) -> bytes:
        return b"content"

    def holder(self, key_hash: bytes) -> KeyRecord | None:
        return self.records.get(key_hash)


def record(**members: Any) -> KeyRecord:
    return KeyRecord(**{"id": "k", "environment": "e", "organisation": "o", "kind": "client"} | members)


class World:
    """Addresses of one key, at a time of its own."""

    def __init__(self, base: str = "", streams_max: int = 10) -> None:
        settings = OfrepSettings(stream_address_s=STEP_S, stream_base=base)
        config = msgspec.structs.replace(Config(), own=(settings,), server=Server(streams_max=streams_max))
        self.services = make_services(config)
        self.services.token_s = 1_000.0
        self.snapshot: Any = Snapshot()
        self.channels = Channels(self.services, lambda headers: headers[b"key"])

    def restart(self) -> World:
        """Another worker of the same store."""
        other = World()
        other.snapshot, other.services.token_s = self.snapshot, self.services.token_s
        return other

    def member(self, raw: bytes = RAW) -> dict[str, Any]:
        holder = self.snapshot.records[hash_key(raw)]
        offer = self.channels.offer(self.snapshot, holder, {b"key": raw})
        found: dict[str, Any] = msgspec.json.decode(b'{"":0' + offer.member + b"}")
        return found

    def address(self, raw: bytes = RAW) -> str:
        (stream,) = self.member(raw)["eventStreams"]
        assert stream["type"] == "sse"
        uri: str = stream["endpoint"]["requestUri"]
        return uri

    def listen(self, address: str, **headers: str) -> Listener:
        sent = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        return self.channels.listen(self.snapshot, address.partition("?")[2].encode(), sent)

    def refuses(self, address: str) -> bool:
        with pytest.raises(Fault) as refused:
            self.listen(address)
        return refused.value.kind is FaultKind.UNKNOWN_KEY


@pytest.fixture
def world() -> World:
    return World()


def test_an_address_opens_a_stream_of_its_key_on_any_worker(world: World) -> None:
    address = world.address()
    assert address.startswith("/ofrep/v1/streams?channel=")
    assert len(address.partition("=")[2]) == CHARACTERS
    for reader in (world, world.restart()):
        listener = reader.listen(address)
        assert (listener.record, listener.key_hash, listener.known) == (record(), hash_key(RAW), None)


def test_an_address_holds_no_key_and_nothing_that_can_be_read(world: World) -> None:
    token = world.address().partition("=")[2]
    assert RAW.decode() not in token
    assert RAW.hex() not in bytes(token, "ascii").hex()
    from base64 import urlsafe_b64decode

    assert hash_key(RAW) not in urlsafe_b64decode(token)


def test_an_address_stays_the_same_throughout_a_step_and_over_publishes(world: World) -> None:
    first = world.address()
    world.services.token_s += STEP_S - 1
    world.snapshot.number += 1
    assert world.address() == first == world.restart().address()
    world.services.token_s += 1
    assert world.address() != first


@pytest.mark.parametrize(("passed_s", "opens"), [(STEP_S, True), (2 * STEP_S - 1, True), (2 * STEP_S, False)])
def test_an_address_is_good_until_the_end_of_the_step_after_its_own(
    world: World, passed_s: float, opens: bool
) -> None:
    address = world.address()
    world.services.token_s += passed_s
    assert opens or world.refuses(address)
    if opens:
        listener = world.listen(address)
        assert 1_000 + 2 * STEP_S <= listener.ends_at < 1_000 + 2.2 * STEP_S


def test_a_stream_ends_with_its_key(world: World) -> None:
    world.snapshot.records[hash_key(RAW)] = record(expires_at=1_020.5)
    assert world.listen(world.address()).ends_at == 1_020.5


@pytest.mark.parametrize("now", [None, record(kind="server"), record(environment="other")])
def test_an_address_opens_nothing_once_its_key_does_not_or_opens_another_thing(
    world: World, now: KeyRecord | None
) -> None:
    address = world.address()
    world.snapshot.records = {} if now is None else {hash_key(RAW): now}
    assert world.refuses(address)


def test_no_address_but_a_signed_one_opens_anything(world: World) -> None:
    address = world.address()
    head, _, token = address.partition("=")
    for at in range(len(token)):
        other = "A" if token[at] != "A" else "B"
        assert world.refuses(f"{head}={token[:at]}{other}{token[at + 1 :]}")
    for wrong in ("", token[:-1], token + "A", "é" * CHARACTERS, "=" * CHARACTERS, "+" * CHARACTERS):
        assert world.refuses(f"{head}={wrong}")
    assert world.refuses("/ofrep/v1/streams")
    foreign = World()
    assert world.refuses(foreign.address())


def test_other_members_of_the_query_are_passed_over(world: World) -> None:
    path, _, query = world.address().partition("?")
    assert world.listen(f"{path}?a=1&{query}&b")


def test_a_key_that_no_longer_signs_is_believed_for_what_it_signed_in_time(world: World) -> None:
    address = world.address()
    keys = world.snapshot.signing_keys
    world.snapshot.signing_keys = keys.rotated(1_050.0)
    assert world.listen(address)
    assert world.address() == address or world.listen(world.address())
    world.snapshot.signing_keys = keys.rotated(900.0)
    assert world.refuses(address)
    world.snapshot.signing_keys = keys.rotated(1_050.0).rotated(1_060.0)
    assert world.refuses(address)


@pytest.mark.parametrize("event_id", ["", "zz", "00", "0011", "é"])
def test_the_last_event_id_is_the_state_that_a_client_has(world: World, event_id: str) -> None:
    known = world.listen(world.address(), last_event_id=event_id).known
    assert known is not None
    assert known.hex() == (event_id if event_id in ("00", "0011") else "")


def test_what_is_sent_is_what_the_protocol_says() -> None:
    state = bytes(range(16))
    assert greeting(state, 1_500) == b"retry: 1500\nid: 000102030405060708090a0b0c0d0e0f\n\n"
    head, event, data, *end = notice(state).decode().split("\n")
    assert (head, event, end) == (f"id: {state.hex()}", "event: message", ["", ""])
    told = msgspec.json.decode(data.removeprefix("data: "))
    assert told == {"type": "refetchEvaluation", "etag": state.hex()}
    check_message({"id": head.removeprefix("id: "), "event": "message", "data": data.removeprefix("data: ")})
    assert state_of(state.hex().encode()) == state


@pytest.mark.parametrize(
    ("base", "endpoint"),
    [
        ("https://flags.example", {"origin": "https://flags.example", "requestUri": "/ofrep/v1/streams"}),
        ("/flags", {"requestUri": "/flags/ofrep/v1/streams"}),
        ("http://a:1/b/c", {"origin": "http://a:1", "requestUri": "/b/c/ofrep/v1/streams"}),
    ],
)
def test_an_address_may_stand_before_another_origin_or_path(base: str, endpoint: dict[str, str]) -> None:
    (stream,) = World(base).member()["eventStreams"]
    told = {name: value.partition("?")[0] for name, value in stream["endpoint"].items()}
    assert told == endpoint


def test_no_stream_is_named_where_none_is_kept_open_or_none_can_be_signed() -> None:
    assert World(streams_max=0).member() == {"": 0}
    unsigned = World()
    unsigned.snapshot.signing_keys = None
    assert unsigned.member() == {"": 0}


def test_answers_go_on_where_the_signing_keys_can_not_be_read(world: World) -> None:
    class Broken(Snapshot):
        @property
        def signing_keys(self) -> SigningKeys | None:  # type: ignore[override]
            raise StoreError("damaged")

        @signing_keys.setter
        def signing_keys(self, keys: SigningKeys | None) -> None: ...

    address = world.address()
    world.snapshot = Broken()
    world.snapshot.number = 2
    assert world.member() == {"": 0}
    with pytest.raises(StoreError):
        world.listen(address)


def test_addresses_kept_at_hand_are_bounded_and_each_is_its_own_key_s(world: World) -> None:
    seen = set()
    for number in range(KNOWN_MAX + 10):
        raw = b"key %d" % number
        world.snapshot.records = {hash_key(raw): record(id=str(number))}
        address = world.address(raw)
        seen.add(address)
        if number % 500 == 0:
            assert world.listen(address).record.id == str(number)
    assert len(seen) == KNOWN_MAX + 10
    assert len(world.channels.offers) <= KNOWN_MAX


# -- answers of all flags


@pytest.fixture
def caller() -> Caller:
    made = make_caller()
    made.parts.snapshots.snapshot.signing_keys = new_signing_keys()
    return made


BODY = b'{"context":{"targetingKey":"user-1"}}'


def test_an_answer_of_all_flags_names_its_stream_and_fits_the_protocol(caller: Caller) -> None:
    answer = post(caller, FLAGS, BODY)
    check_answer(BULK, answer.status, answer.headers, answer.json())
    assert answer.json()["eventStreams"][0]["endpoint"]["requestUri"].startswith("/ofrep/v1/streams?channel=")
    assert "eventStreams" not in post(caller, f"{FLAGS}/plain", BODY).json()


def test_the_same_key_is_answered_the_same_bytes_by_either_header(caller: Caller) -> None:
    first = post(caller, FLAGS, BODY)
    other = post(caller, FLAGS, BODY, None, x_api_key=SERVER)
    assert (first.headers["etag"], first.body) == (other.headers["etag"], other.body)
    assert post(caller, FLAGS, BODY, CLIENT).body != first.body


def rotate(caller: Caller) -> None:
    snapshot = caller.parts.snapshots.snapshot
    snapshot.signing_keys = snapshot.signing_keys.rotated(0.0)
    snapshot.number += 1


def let_time_pass(caller: Caller) -> None:
    caller.services.token_s += OfrepSettings().stream_address_s


@pytest.mark.parametrize("moves", [rotate, let_time_pass])
def test_the_tag_moves_when_the_address_does_so_that_nobody_keeps_an_old_one(
    caller: Caller, moves: Callable[[Caller], None]
) -> None:
    first = post(caller, FLAGS, BODY)
    again = post(caller, FLAGS, BODY, if_none_match=first.headers["etag"])
    assert again.status == 304
    moves(caller)
    late = post(caller, FLAGS, BODY, if_none_match=first.headers["etag"])
    assert late.status == 200
    assert late.json()["flags"] == first.json()["flags"]
    assert late.json()["eventStreams"] != first.json()["eventStreams"]
