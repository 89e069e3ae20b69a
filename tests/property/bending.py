"""Small changes to JSON text, for tests that ask two readers about the same bent bytes."""

from __future__ import annotations

import random

ALPHABET = b'{}[]",:.-+0129aeEtfunlTZ\\ \n\x00\x1f\x7f\x80\xc3\xa9 '
TOKENS = [
    b"null",
    b"true",
    b"1e999",
    b"-0",
    b"0.0",
    b"1.0",
    b"1.5",
    b"10",
    b'""',
    b"{}",
    b"[]",
    b"NaN",
    b'"\\u0061"',
]


def bend(draw: random.Random, body: bytes) -> bytes:
    """One to three small changes: a byte, a value, a member taken out or repeated."""
    bent = bytearray(body)
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        at = draw.randrange(len(bent))
        match draw.randrange(5):
            case 0:
                bent[at] = draw.choice(ALPHABET)
            case 1:
                bent.insert(at, draw.choice(ALPHABET))
            case 2:
                del bent[at]
            case 3:  # another value behind a colon or comma
                start = bent.find(b":", at) + 1
                end = bent.find(b",", start)
                if 0 < start < end:
                    bent[start:end] = draw.choice(TOKENS)
            case _:  # a member or a piece of one, once more or gone
                start = bent.find(b",", at)
                end = bent.find(b",", start + 1)
                if 0 <= start < end:
                    bent[start:end] = draw.choice([b"", 2 * bytes(bent[start:end])])
    return bytes(bent)
