"""Trace tokens: what verifies, what does not, and where their keys live."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion.cli import group
from fanion.dialects.redpennon.trace import (
    IDENTITY_BYTES,
    MARK,
    SCOPE_END,
    TOKEN_CHARACTERS,
    TraceSigner,
    scope_of,
)
from fanion.model.signing import SigningKeys, new_signing_keys
from fanion.store.publication import Publication
from fanion.store.signing import ROW, decode_signing_keys
from fanion.store.store import Store

SCOPE = scope_of("env_1", "checkout", "variant-a")
KEYS = SigningKeys(b"k" * 32)


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_800_000_000 * 10**9

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * 10**9)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def signer(clock: Clock) -> TraceSigner:
    return TraceSigner(KEYS, 300, clock)


def token(signer: TraceSigner, scope: bytes = SCOPE, user: str = "u1") -> str:
    return (MARK + scope + signer.issue(scope, user)).decode()


def test_token_verifies_in_its_scope_for_its_user_or_for_no_named_user(signer: TraceSigner) -> None:
    made = token(signer)
    assert len(made) == TOKEN_CHARACTERS == 71
    assert signer.check(made, SCOPE, "u1") is not None
    assert signer.check(made, SCOPE, None) is not None
    assert signer.check(made, SCOPE, "u2") is None


@pytest.mark.parametrize(
    "other",
    [
        scope_of("env_2", "checkout", "variant-a"),
        scope_of("env_1", "checkout", "control"),
        scope_of("env_1", "banner", "variant-a"),
    ],
)
def test_token_of_another_environment_feature_or_variation_does_not_verify(
    signer: TraceSigner, other: bytes
) -> None:
    made = token(signer, other)
    assert signer.check(made, SCOPE, "u1") is None
    moved = MARK.decode() + SCOPE.decode() + made[SCOPE_END:]
    assert signer.check(moved, SCOPE, "u1") is None


def test_token_with_any_other_character_anywhere_does_not_verify(signer: TraceSigner) -> None:
    made = token(signer)
    for at in range(len(made)):
        for character in ("A", "B", "-", "=", "é", "+", "\n"):
            changed = made[:at] + character + made[at + 1 :]
            assert changed == made or signer.check(changed, SCOPE, "u1") is None
    for other in ("", "rpe_v1:", made[:-1], made + "A", made.upper(), " " + made, "x" * 100_000):
        assert signer.check(other, SCOPE, "u1") is None


def test_token_is_good_for_its_time_and_no_longer(signer: TraceSigner, clock: Clock) -> None:
    made = token(signer)
    clock.pass_s(299.9)
    assert signer.check(made, SCOPE, "u1") is not None
    clock.pass_s(0.2)
    assert signer.check(made, SCOPE, "u1") is None


def test_token_from_the_future_is_good_within_the_skew_of_clocks(signer: TraceSigner, clock: Clock) -> None:
    made = token(signer)
    clock.pass_s(-4)
    assert signer.check(made, SCOPE, "u1") is not None
    clock.pass_s(-2)
    assert signer.check(made, SCOPE, "u1") is None


def test_no_two_tokens_are_equal_and_their_serials_differ(signer: TraceSigner) -> None:
    made = {token(signer) for _ in range(1_000)}
    serials = {checked.serial for text in made if (checked := signer.check(text, SCOPE, "u1"))}
    assert len(made) == len(serials) == 1_000


def test_signature_is_plain_hmac_sha256_cut_to_144_bits(signer: TraceSigner) -> None:
    import base64

    made = token(signer)
    signed = base64.urlsafe_b64decode(made[SCOPE_END:])
    payload, mac = signed[: 12 + IDENTITY_BYTES], signed[12 + IDENTITY_BYTES :]
    assert len(mac) * 8 == 144
    assert mac == hmac.new(KEYS.current, SCOPE + payload, hashlib.sha256).digest()[:18]


def test_previous_key_verifies_what_it_signed_before_the_rotation_only(
    signer: TraceSigner, clock: Clock
) -> None:
    before = token(signer)
    rotated = KEYS.rotated(clock.now_ns / 1e9)
    newer = TraceSigner(rotated, 300, clock)
    assert newer.check(before, SCOPE, "u1") is not None
    assert newer.check(token(newer), SCOPE, "u1") is not None
    clock.pass_s(10)
    forged = token(signer)  # someone still holds the old key
    assert newer.check(forged, SCOPE, "u1") is None
    again = TraceSigner(rotated.rotated(clock.now_ns / 1e9), 300, clock)
    assert again.check(before, SCOPE, "u1") is None


def test_keys_never_show_in_text() -> None:
    keys = new_signing_keys()
    assert keys.current.hex() not in repr(keys)
    assert str(keys.current) not in repr(keys)


def keys_of(data: Path) -> SigningKeys:
    with Store.open(data) as store:
        pinned = store.pin()
        keys = decode_signing_keys(pinned.meta(ROW))
        pinned.release()
    assert keys is not None
    return keys


def test_first_publish_makes_a_key_that_publishes_and_rollbacks_keep(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        store.publish(Publication(bundles={"env": b"1"}))
    first = keys_of(tmp_path)
    with Store.open(tmp_path, write=True) as store:
        store.publish(Publication(bundles={"env": b"2"}))
        store.rollback()
    assert keys_of(tmp_path) == first
    assert first.previous is None
    assert len(first.current) == 32


def test_rotation_command_keeps_the_key_before_and_raises_the_generation(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        before = store.publish(Publication(bundles={"env": b"1"}))
    first = keys_of(tmp_path)
    done = CliRunner().invoke(group, ["keys", "rotate-signing", "--data", str(tmp_path)])
    assert done.exit_code == 0, done.output
    second = keys_of(tmp_path)
    assert second.previous == first.current != second.current
    with Store.open(tmp_path) as store:
        assert store.generation() == before + 1
    assert first.current.hex() not in done.output
    assert second.current.hex() not in done.output
