"""What `fanion doctor` says of a place and of the stream of shipping, where they are configured."""

from __future__ import annotations

import secrets
from pathlib import Path

import msgspec
import pytest

from fanion.app.reaching import reach
from fanion.config import Config, Journal
from fanion.config.places import Places
from fanion.config.shipping import Shipping
from fanion.journal.storage import Storage
from fanion.process.diagnosis import Finding
from fanion.shipping.state import State, keep_state
from tests.crash.receivers import NatsServers
from tests.unit.places_world import World as Published
from tests.unit.places_world import need_libraries
from tests.unit.shipping_world import World


def found(data: Path, config: Config) -> dict[str, Finding]:
    return {one.what: one for one in reach(data, config)}


def test_nothing_is_said_where_nothing_is_configured(tmp_path: Path) -> None:
    assert found(tmp_path, Config()) == {}


def test_a_place_says_how_far_the_directory_is_behind(tmp_path: Path) -> None:
    need_libraries()
    world = Published(tmp_path)
    bad = found(tmp_path / "follower", world.following)["place"]
    assert bad.verdict == "bad"
    assert "what was taken last is served on" in bad.advice
    world.publish("admin", "one")
    world.follow()
    config, follower = world.following, tmp_path / "follower"
    assert found(follower, config)["place"][1:3] == ("ok", f"{world.url}: number 1, this directory has 1")
    assert found(tmp_path / "admin", world.config)["place"].verdict == "ok"  # which publishes there
    world.publish("admin", "two")
    behind = found(follower, config)["place"]
    assert behind[1:3] == ("look", f"{world.url}: number 2, this directory has 1")
    other = msgspec.structs.replace(config, places=Places(follow=world.url, key="x" * 40))
    assert found(follower, other)["place"].verdict == "bad"
    assert "x" * 40 not in str(found(follower, other))


def test_a_stream_is_asked_and_not_made(nats: NatsServers, tmp_path: Path) -> None:
    pytest.importorskip("nats")
    world = World(tmp_path, nats)
    config = Config(shipping=world.settings)
    stream = found(tmp_path, config)["stream"]
    assert (stream.verdict, "there is no stream" in stream.found) == ("look", True)
    assert found(tmp_path, config)["stream"] == stream
    world.journal.append(0, 5)
    world.ship()
    findings = found(tmp_path, config)
    name = world.settings.url.rpartition("/")[2]
    assert findings["stream"][1:3] == ("ok", f"{name}: on 1 server, records are kept for 168 h")
    assert findings["shipping"].verdict == "ok"
    assert findings["shipping"].found.startswith("5 records were taken, the last at 20")
    assert "shipping's reach" not in findings
    short = msgspec.structs.replace(config, journal=Journal(retention_hours=24))
    assert found(tmp_path, short)["shipping's reach"].verdict == "look"
    assert found(tmp_path, Config())["shipping"].verdict == "look"  # the journal keeps records for nobody


def test_a_stream_that_is_away_and_what_it_lost_are_bad(tmp_path: Path) -> None:
    pytest.importorskip("nats")
    url = f"nats://127.0.0.1:1/{secrets.token_hex(4)}"
    config = Config(shipping=Shipping(url=url, timeout_s=1))
    (tmp_path / "journal").mkdir()
    (tmp_path / "shipping").mkdir()
    stream = found(tmp_path, config)["stream"]
    assert (stream.verdict, "Connect call failed" in stream.found) == ("bad", True)
    for state, said in (
        (State(failing="no answer", failing_since_unix_s=1.0), "failing since 1970-01-01T00:00:01"),
        (State(records=7, unrecovered_records=2), "2 records are lost to it"),
    ):
        keep_state(Storage(), tmp_path, state)
        shipping = found(tmp_path, config)["shipping"]
        assert (shipping.verdict, said in shipping.found) == ("bad", True)
