"""The C hashes against the xxhash package, hashlib and the plain-Python MurmurHash3, at lengths to 300."""

from __future__ import annotations

import hashlib
import random

import pytest
import xxhash

from fanion._core import hash as core
from fanion.engine.murmur import murmur3_32, murmur3_x64_128

SEED = 20261121


@pytest.fixture(scope="module")
def inputs() -> list[bytes]:
    source = random.Random(SEED)
    return [source.randbytes(length) for length in [*range(300), 1023, 1024, 65_536]]


def test_xxh64_equals_the_xxhash_package(inputs: list[bytes]) -> None:
    assert [core.xxh64(x) for x in inputs] == [xxhash.xxh64_intdigest(x) for x in inputs]


@pytest.mark.parametrize("way", [0, 1], ids=["by-the-processor", "plain"])
def test_sha256_equals_hashlib(inputs: list[bytes], way: int) -> None:
    expected = [int.from_bytes(hashlib.sha256(x).digest()[:8], "big") for x in inputs]
    core.sha256_by(way)
    try:
        assert [core.sha256_64(x) for x in inputs] == expected
        for one, other in zip(inputs, [*inputs[7:], *inputs[:7]], strict=True):
            assert core.sha256_two(one, other) == tuple(hashlib.sha256(x).digest() for x in (one, other))
    finally:
        core.sha256_by(0)


def test_murmur3_equals_the_plain_python_one(inputs: list[bytes]) -> None:
    assert [core.murmur3_128(x) for x in inputs] == [murmur3_x64_128(x) for x in inputs]
    assert [core.murmur3_32(x) for x in inputs] == [murmur3_32(x) for x in inputs]


def test_murmur3_32_gives_its_published_values() -> None:
    assert core.murmur3_32(b"hello") == 0x248BFA47
    assert core.murmur3_32(b"hello, world") == 0x149BBB7F


def test_published_traffical_and_feather_rows() -> None:
    assert core.sha256_64(b"abc") == 13436514500253700074
    assert core.xxh64("checkout-copy:rule-1:anon_ü".encode()) == 0xA02C8FBDF1AC9F13
