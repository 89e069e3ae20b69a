"""Places in NATS: what only they do, what they say when they can't, and what they never say. What all places have
to do is in `test_places`."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from fanion.config.places import Places
from fanion.errors import NatsError, PlaceError, PlaceMovedError
from fanion.nats import connection
from fanion.nats.address import parse_address
from fanion.places import open_place
from fanion.places.nats import PART_BYTES, PARTS_AT_ONCE, KeyValue
from fanion.places.place import MANIFEST_BYTES_MAX, Found
from tests.crash.receivers import ANSWER_TIMEOUT_S, NatsServers, nats_servers
from tests.unit.certificates import make_certificates
from tests.unit.places_world import KEY, World, make_key, need_libraries

PASSWORD = "a-password-of-nobody-else"


@pytest.fixture(autouse=True)
def libraries() -> None:
    need_libraries()
    pytest.importorskip("nats")


@pytest.fixture
def url(nats: NatsServers) -> str:
    return nats.url(f"n-{secrets.token_hex(6)}")


def opened(url: str, *, create: bool = True, **settings: Any) -> closing[KeyValue]:
    given = {"timeout_s": ANSWER_TIMEOUT_S} | settings
    place = open_place(url, Places(key=KEY, **given), create=create)
    assert isinstance(place, KeyValue)
    return closing(place)


def never(_: float) -> bool:
    return False


@pytest.mark.parametrize(
    "size", [0, 1, PART_BYTES, PART_BYTES + 1, PART_BYTES * PARTS_AT_ONCE, PART_BYTES * PARTS_AT_ONCE + 7]
)
def test_an_object_of_any_size_comes_back(url: str, size: int) -> None:
    content = os.urandom(size)
    with opened(url) as place:
        place.put("ab12", content)
        place.put("ab12", content)
        assert place.get("ab12") == content


def test_a_manifest_as_large_as_is_allowed_is_moved(url: str) -> None:
    content = os.urandom(MANIFEST_BYTES_MAX)
    with opened(url) as place:
        place.move(1, content)
        assert place.newest() == Found(1, content)
        place.move(2, content + b"!")
        with pytest.raises(PlaceError, match="900,001 bytes; 900,000 are allowed"):
            place.newest()


def test_what_was_lost_is_named(url: str) -> None:
    with opened(url) as place, closing(delete(url)) as purge:
        with pytest.raises(PlaceError, match="object ab12 isn't there"):
            place.get("ab12")
        place.put("ab12", os.urandom(3 * PART_BYTES))
        (lost,) = [key for key in place.keys("part.>") if key.endswith(".1")]
        purge(lost)
        with pytest.raises(PlaceError, match="object ab12: part 1 of 3 isn't there"):
            place.get("ab12")
        place.move(4, b"four")
        purge("manifest")
        with pytest.raises(PlaceError, match="number 4, which was taken from there, is there no more"):
            place.newer(4)
        place.move(5, b"five")
        assert place.newer(4) == Found(5, b"five")


class delete:  # noqa: N801 - a call that can be closed
    """Takes a key's messages out of the bucket, as an operator could."""

    def __init__(self, url: str) -> None:
        address = parse_address(url)
        assert address is not None
        self._bucket = address.name
        self._connection = connection.Connection(address, connection.Access(), 10)

    def __call__(self, key: str) -> None:
        streams = self._connection.streams
        self._connection.run(streams.purge_stream(f"KV_{self._bucket}", subject=f"$KV.{self._bucket}.{key}"))

    def bucket(self) -> None:
        self._connection.run(self._connection.streams.delete_stream(f"KV_{self._bucket}"))

    def close(self) -> None:
        self._connection.close()


def test_a_place_that_was_made_anew_is_not_followed(url: str, tmp_path: Path) -> None:
    world = World(tmp_path, url)
    world.publish("a", "one")
    world.publish("a", "two")
    world.follow()
    before = world.told("follower")
    with closing(delete(url)) as purge:
        purge.bucket()
    with pytest.raises(PlaceError, match="there is no such bucket"):
        world.follow()
    World(tmp_path, url).publish("anew", "other")
    with pytest.raises(PlaceError, match="number 2, which was taken from there, is there no more"):
        world.follow()
    World(tmp_path, url).publish("anew", "another")
    with pytest.raises(PlaceError, match="another number 2"):
        world.follow()
    assert world.told("follower") == before
    with pytest.raises(PlaceError, match="another number 2"):
        world.change("a", make_key)
    world.send("a")
    assert world.follow()[0].number == 3


def test_a_move_whose_answer_was_lost_is_known_as_ones_own(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url) as place, opened(url) as other:
        real = place._connection.run

        def lose(call: Any, timeout_s: float | None = None) -> Any:
            answer = real(call, timeout_s)
            if getattr(call, "cr_code", None) is update_code:
                raise NatsError("no answer")
            return answer

        update_code = type(place._values).update.__code__
        monkeypatch.setattr(place._connection, "run", lose)
        place.move(1, b"one")
        assert other.newest() == Found(1, b"one")
        with pytest.raises(PlaceMovedError):
            other.move(1, b"two")


def test_a_move_wakes_who_waits_and_nobody_is_woken_by_less(url: str) -> None:
    with opened(url) as follower, opened(url) as publisher:
        publisher.put("ab12", b"object")
        publisher.report("machine", b"{}")
        assert follower.wait(0.05, never) is False
        mover = threading.Timer(0.3, publisher.move, (1, b"one"))
        mover.start()
        began = time.monotonic()
        assert follower.wait(60, never) is True
        assert time.monotonic() - began < 50  # it didn't wait for the end of its time
        mover.join()
        assert follower.newer(1) == Found(1, b"one")
        with pytest.raises(PlaceMovedError):
            publisher.move(1, b"again")
        assert follower.wait(0.05, never) is False
        assert follower.wait(60, lambda _: True) is False  # it shall end


def test_reports_are_what_machines_said_last(url: str) -> None:
    with opened(url) as place:
        assert place.reports() == {}
        for content in (b"one", b"two"):
            place.report("m-1", content)
        place.report("m_2", b"three")
        place.report("long", bytes(5_000))
        assert place.reports() == {"m-1": b"two", "m_2": b"three"}


def test_who_follows_makes_no_bucket(url: str) -> None:
    with pytest.raises(PlaceError, match="there is no such bucket; `fanion publish --to` makes it"):
        opened(url, create=False)


def test_many_that_make_a_bucket_at_once_have_one(url: str) -> None:
    faults: list[BaseException] = []

    def make(number: int) -> None:
        try:
            with opened(url) as place:
                place.put(f"ab{number}", b"x")
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=make, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    with opened(url, create=False) as place:
        assert len(place.keys("object.*")) == 6


def test_a_server_that_answers_nothing_any_more_is_given_up(tmp_path: Path) -> None:
    """N-5: half open. It takes bytes and says nothing; pings find it while nothing is asked."""
    with nats_servers(tmp_path) as servers, opened(servers.url("b")) as place:
        place.move(1, b"one")
        servers.pause()
        place._connection.timeout_s = 1
        place._connection._client.options["ping_interval"] = 0.2
        began = time.monotonic()
        with pytest.raises(
            PlaceError, match=r"the manifest can't be read: (no answer|the connection was lost)"
        ):
            place.newest()
        assert place.wait(60, never) is True  # the next look fails, and the place is opened again
        assert time.monotonic() - began < 50
        with pytest.raises(PlaceError):
            place.newest()
        servers.go_on()


def test_the_time_until_a_half_open_connection_is_given_up_is_below_ten_seconds() -> None:
    assert connection.PING_EVERY_S * (connection.PINGS_MAX + 1) < 10


def test_a_connection_that_was_lost_fails_at_once(tmp_path: Path) -> None:
    with nats_servers(tmp_path) as servers, opened(servers.url("b"), timeout_s=100) as place:
        place.move(1, b"one")
        servers.kill()
        with pytest.raises(PlaceError, match="the connection was lost"):
            place.newest()
        assert place.wait(60, never) is True
        with pytest.raises(PlaceError, match="Connect call failed"):
            opened(servers.url("b"), timeout_s=5)


@pytest.mark.parametrize(
    ("configured", "given", "wrong"),
    [
        (
            f'authorization {{ user: fanion, password: "{PASSWORD}" }}',
            {"user": "fanion", "password": PASSWORD},
            {"user": "fanion", "password": f"{PASSWORD}-not"},
        ),
        (f'authorization {{ token: "{PASSWORD}" }}', {"password": PASSWORD}, {"password": f"{PASSWORD}-not"}),
    ],
    ids=["user", "token"],
)
def test_who_isnt_let_in_is_told_so_without_the_password(
    tmp_path: Path,
    configured: str,
    given: dict[str, str],
    wrong: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    with nats_servers(tmp_path, more=configured) as servers:
        for bad in (wrong, {}):
            with pytest.raises(PlaceError, match="Authorization Violation") as caught:
                opened(servers.url("b"), **bad)
            assert PASSWORD not in str(caught.value)
        with opened(servers.url("b"), **given) as place:
            place.move(1, b"one")
    assert PASSWORD not in caplog.text


@pytest.mark.heavy
def test_tls_with_certificates_of_both_sides(tmp_path: Path) -> None:
    files, strangers = make_certificates(tmp_path / "own"), make_certificates(tmp_path / "strange")
    tls = f'tls {{ cert_file: "{files.server}", key_file: "{files.server}", ca_file: "{files.ca}", verify: true }}'
    with nats_servers(tmp_path / "servers", more=tls) as servers:
        for scheme in ("tls", "nats"):  # the second asks for it no less where the server does
            url = servers.url("b", scheme)
            given = {"ca_file": str(files.ca), "certificate_file": str(files.client)}
            with opened(url, **given) as place:
                place.put("ab12", b"x")
            with pytest.raises(PlaceError, match="certificate verify failed"):
                opened(url, timeout_s=10, **given | {"ca_file": str(strangers.ca)})
            for bad in ({"certificate_file": str(strangers.client)}, {"certificate_file": ""}):
                with pytest.raises(PlaceError, match=r"(?i)certificate|lost|SSL"):
                    opened(url, timeout_s=10, **given | bad)
        with pytest.raises(PlaceError, match="the files for TLS can't be used: "):
            opened(url, **given | {"ca_file": str(tmp_path / "none.pem")})


@contextmanager
def pretender(**info: object) -> Iterator[tuple[str, bytearray]]:
    """Says that it is a server of NATS: its address, and what it was sent."""
    listening, heard = socket.create_server(("127.0.0.1", 0)), bytearray()
    listening.settimeout(10)

    def serve() -> None:
        peer, _ = listening.accept()
        with peer:
            peer.settimeout(10)
            peer.sendall(
                b"INFO %s\r\n" % json.dumps({"headers": True, "max_payload": 1 << 20, **info}).encode()
            )
            while part := peer.recv(65_536):
                heard.extend(part)
                if b"PING\r\n" in heard:
                    peer.sendall(b"PONG\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"127.0.0.1:{listening.getsockname()[1]}", heard
    finally:
        thread.join()
        listening.close()


def test_a_server_without_tls_is_sent_no_password_where_tls_was_asked_for(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    with pretender(version="2.15.1", auth_required=True) as (at, heard):
        with pytest.raises(PlaceError, match="the server doesn't offer TLS, and the address asks for it"):
            opened(f"tls://{at}/b", user="fanion", password=PASSWORD, ca_file=str(files.ca))
        assert heard == b""


def test_a_server_that_is_too_old_is_refused() -> None:
    with (
        pretender(version="2.11.9") as (at, _),
        pytest.raises(PlaceError, match=r"nats-server there is 2\.11; 2\.12 or later is needed"),
    ):
        opened(f"nats://{at}/b")


def test_a_value_that_the_server_takes_none_of_is_named_with_its_setting(tmp_path: Path) -> None:
    with nats_servers(tmp_path, more="max_payload: 64KB") as servers, opened(servers.url("b")) as place:
        with pytest.raises(PlaceError, match="max_payload is 65,536; raise it there"):
            place.put("ab12", bytes(70_000))
        place.put("ab12", bytes(60_000))


@pytest.mark.parametrize(
    ("url", "servers"),
    [
        ("nats://one/b", ("nats://one:4222",)),
        ("tls://one.example:1,two:65535/b-1_C", ("tls://one.example:1", "tls://two:65535")),
        ("nats://[::1]/b", ("nats://[::1]:4222",)),
        ("nats://[::1]:7,10.0.0.1/b", ("nats://[::1]:7", "nats://10.0.0.1:4222")),
    ],
)
def test_an_address_has_servers_and_a_name(url: str, servers: tuple[str, ...]) -> None:
    address = parse_address(url)
    assert address is not None
    assert address.servers == servers
    assert address.tls == url.startswith("tls")


@pytest.mark.parametrize(
    "url",
    [
        "nats://host",
        "nats://host/",
        "nats://host/a.b",
        "nats://host/a/b",
        "nats://host:0/b",
        "nats://host:65536/b",
        "nats:///b",
        "nats://host,/b",
        f"nats://user:{PASSWORD}@host/b",
        "nats://host/b?x",
        "nats://host/" + 65 * "b",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    assert parse_address(url) is None
    with pytest.raises(PlaceError, match="allowed: nats://HOST:PORT") as caught:
        open_place(url, Places())
    assert PASSWORD not in str(caught.value)


@pytest.mark.heavy
def test_three_servers_go_on_with_two(tmp_path: Path) -> None:
    with nats_servers(tmp_path / "servers", 3) as servers:
        world = World(tmp_path, servers.url("b"), timeout_s=20)
        patiently(lambda: world.publish("a", "one"))
        world.follow()
        with opened(servers.url("b")) as place:
            info = place._connection.run(place._connection.streams.stream_info("KV_b"))
            assert info.config.num_replicas == 3
            leader = int(info.cluster.leader.removeprefix("server-"))
        servers.kill(leader)
        patiently(lambda: world.publish("a", "two"))
        patiently(world.follow)
        assert world.told("follower") == world.told("a")
        servers.start(leader)


def patiently(do: Callable[[], Any]) -> None:
    """Again until it works: a cluster chooses leaders, which takes seconds."""
    ends = time.monotonic() + 90
    while True:
        try:
            do()
            return
        except PlaceError:
            assert time.monotonic() < ends
            time.sleep(0.1)


def test_a_server_that_is_away_is_passed_over(nats: NatsServers) -> None:
    """Whichever is asked first."""
    name = f"n-{secrets.token_hex(6)}"
    for _ in range(12):
        with opened(f"nats://127.0.0.1:1,127.0.0.1:{nats.ports[0]},127.0.0.1:2/{name}") as place:
            place.newest()
            assert place.wait(0.01, never) is False
