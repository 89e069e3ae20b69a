"""Keys that nobody knows: which source they are counted for, and when the store is asked no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanion.auth import guesses as module
from fanion.auth.guesses import KeyGuesses, parse_networks
from fanion.auth.limiter import Limiter
from fanion.config.loading import load_config
from fanion.dialects import vocabulary
from fanion.errors import ConfigError


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


def no_limit(scope: int, rate_per_s: float, burst: int) -> float:
    return 0.0


def forwarded(*values: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"host", b"a"), *((b"x-forwarded-for", value) for value in values)]


@pytest.mark.parametrize(
    ("peer", "listed", "source"),
    [
        ("10.0.0.9", (b"1.2.3.4",), "1.2.3.4"),
        ("10.0.0.9", (b"6.6.6.6, 1.2.3.4",), "1.2.3.4"),
        ("10.0.0.9", (b"6.6.6.6", b"1.2.3.4, 10.1.1.1"), "1.2.3.4"),
        ("10.0.0.9", (b"1.2.3.4:5555",), "1.2.3.4"),
        ("10.0.0.9", (b"[2001:db8:1:2:3::4]:80",), "2001:db8:1:2::/64"),
        ("10.0.0.9", (b"1.2.3.4, nonsense",), "10.0.0.9"),
        ("10.0.0.9", (b"",), "10.0.0.9"),
        ("10.0.0.9", (), "10.0.0.9"),
        ("10.0.0.9", (b"10.0.0.1",), "10.0.0.9"),
        ("::ffff:10.0.0.9", (b"1.2.3.4",), "1.2.3.4"),
        ("9.9.9.9", (b"1.2.3.4",), "9.9.9.9"),
        ("2001:db8::1", (b"1.2.3.4",), "2001:db8::/64"),
        ("", (b"1.2.3.4",), ""),
    ],
)
def test_source_is_the_peer_or_what_a_trusted_proxy_says(
    peer: str, listed: tuple[bytes, ...], source: str
) -> None:
    guesses = KeyGuesses(no_limit, 20, parse_networks("10.0.0.0/8, 192.168.0.1"))
    assert guesses.source(peer, forwarded(*listed)) == source
    assert KeyGuesses(no_limit, 20, ()).source("10.0.0.9", forwarded(*listed)) == "10.0.0.9"


def test_source_is_held_back_until_its_rate_has_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    limiter = Limiter.open(tmp_path, 1_024)
    guesses = KeyGuesses(limiter.take, 5, ())
    for number in range(6):
        assert guesses.may_look("1.2.3.4"), number
        guesses.failed("1.2.3.4")
    assert not guesses.may_look("1.2.3.4")
    assert guesses.may_look("1.2.3.5")
    clock.now += 13.0
    assert guesses.may_look("1.2.3.4")
    limiter.close()


def test_without_a_limit_every_key_is_looked_for() -> None:
    guesses = KeyGuesses(lambda *_: 60.0, 0, ())
    guesses.failed("1.2.3.4")
    assert guesses.may_look("1.2.3.4")


def test_many_sources_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCES_MAX", 10)
    guesses = KeyGuesses(lambda *_: 60.0, 1, ())
    for number in range(100):
        guesses.failed(str(number))
    assert len(guesses._held) <= 10


def test_trusted_proxies_are_checked_with_the_settings() -> None:
    assert load_config(
        vocabulary(), environ={"FANION_SERVER_TRUSTED_PROXIES": "10.0.0.0/8, ::1"}
    ).server.trusted_proxies
    with pytest.raises(ConfigError, match=r"server\.trusted_proxies has 'proxy'"):
        load_config(vocabulary(), environ={"FANION_SERVER_TRUSTED_PROXIES": "10.0.0.1, proxy"})
