"""Every form in which events and rows may name a unit that is to be forgotten.

Of an id: itself, as "type:id", its SHA-256 and that one keyed (hexadecimal in any case, base64, raw),
percent-encoded, base64; an e-mail address in any case, and its digest as written and in lower case. Other ids are
compared character by character. Two questions are asked of them. `is_unit`: whether a text in a unit's place is
this unit; then all that says so leaves. `redact`: whether another's text names it; then only the name leaves. A
text names a unit where one of its forms stands as a word of its own in it, or where base64 hides one; ids shorter
than `NAMED_LENGTH_MIN` are no names: they would be found in everything.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import quote

NAMED_LENGTH_MIN: Final = 6
ERASED: Final = "erased"
"""What stands in place of a name: no longer than any form that is replaced."""
BASE64: Final = re.compile(r"[A-Za-z0-9+/_-]{12,}={0,2}")
ESCAPE: Final = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
CONTROLS: Final = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
DIGEST: Final = re.compile(r"[0-9a-fA-F]{64}")
PERCENT: Final = re.compile(r"%[0-9A-F]{2}")
ALIGNMENTS: Final = 3


class Forms:
    """Of `units`: ids, e-mail addresses, anonymous ids of one person, or digests where only those are known.
    `keys`: of environments whose digests are keyed. ValueError for an empty one."""

    def __init__(self, units: Sequence[str], keys: Iterable[bytes] = ()) -> None:
        if not units or not all(units):
            raise ValueError("a unit without an id")
        self.units = tuple(dict.fromkeys(units))
        self.ids = frozenset(_spellings(self.units))
        plain = [hashlib.sha256(text.encode("utf-8", "replace")).digest() for text in self.ids]
        plain += [bytes.fromhex(text) for text in self.ids if DIGEST.fullmatch(text)]
        # Rows that were keyed before 2026-11-29 took a digest in capitals for an id.
        capitals = [hashlib.sha256(digest.hex().upper().encode()).digest() for digest in plain]
        keyed = [hmac.digest(key, digest, "sha256") for key in keys for digest in (*plain, *capitals)]
        self.digests = frozenset(plain + keyed)
        self._folded = frozenset(text.lower() for text in self.ids if "@" in text)
        self._digits = frozenset(digest.hex() for digest in self.digests)
        self.texts = self.ids | frozenset(text for digest in self.digests for text in _digest_texts(digest))
        named = {text for text in self.texts if len(text) >= NAMED_LENGTH_MIN}
        named |= {text for one in self.ids if len(one) >= NAMED_LENGTH_MIN for text in _encodings(one)}
        self._pattern = re.compile(_pattern(named)) if named else None
        long = [text.encode("utf-8", "replace") for text in self.ids if len(text) >= NAMED_LENGTH_MIN]
        self._cores = tuple(core for data in long for core in _cores(data))
        self.needles = _fewest(set(self._needles(named)))
        bare = not any(control in text for text in self.ids for control in '"\\\b\f\n\r\t')
        self._escapes = (b"\\u", b"\\/") if bare else (b"\\",)
        self._lowered = tuple(sorted({text.encode() for text in self._folded}))

    def _needles(self, named: set[str]) -> Iterator[bytes]:
        for text in self.texts | named:
            yield text.encode("utf-8", "replace")
            yield _pairs(text)
        yield from self._cores
        yield from self.digests

    def occur_in(self, data: bytes) -> bool:
        """Whether bytes, of JSON or not, may hold a form; misses none."""
        if self._holds(data):
            return True
        hidden = any(escape in data for escape in self._escapes)
        return hidden and self._holds(ESCAPE.sub(_unescaped, data))

    def count_in(self, data: bytes) -> int:
        """How often forms occur in bytes, escapes aside."""
        return sum(data.count(needle) for needle in self.needles)

    def _holds(self, data: bytes) -> bool:
        if any(needle in data for needle in self.needles):
            return True
        if not self._lowered or b"@" not in data:
            return False
        lowered = data.lower()
        return any(needle in lowered for needle in self._lowered)

    def is_unit(self, text: object) -> bool:
        """Whether a text in a unit's place is this one; also as "type:id"."""
        if isinstance(text, bool) or not isinstance(text, str | int):
            return False
        said = str(text)
        return self._is_text(said) or any(self._is_text(said[at + 1 :]) for at in _colons(said))

    def _is_text(self, text: str) -> bool:
        folded = text.lower()
        return text in self.texts or folded in self._folded or folded in self._digits

    def redact(self, text: str) -> str:
        """The text without the unit's names; itself where it has none."""
        if self._pattern is None:
            return text
        found = self._pattern.sub(ERASED, text)
        return BASE64.sub(self._hidden, found) if self._cores and len(found) >= NAMED_LENGTH_MIN else found

    def _hidden(self, match: re.Match[str]) -> str:
        """A base64 text that decodes to something that names the unit goes whole."""
        text = match[0]
        raw = text.encode()
        if not any(core in raw for core in self._cores):
            return text
        plain = _decoded(text)
        assert self._pattern is not None
        return ERASED if plain is None or self._pattern.search(plain.decode("utf-8", "replace")) else text


def _fewest(needles: set[bytes]) -> tuple[bytes, ...]:
    """Without those that another one is part of: where they are, that one is."""
    kept: list[bytes] = []
    for needle in sorted(needles, key=lambda needle: (len(needle), needle)):
        if not any(part in needle for part in kept):
            kept.append(needle)
    return tuple(kept)


def _spellings(units: Sequence[str]) -> Iterator[str]:
    for unit in units:
        yield unit
        if "@" in unit:
            yield unit.lower()


def _digest_texts(digest: bytes) -> Iterator[str]:
    yield digest.hex()
    yield digest.hex().upper()
    yield from _base64(digest)


def _encodings(text: str) -> Iterator[str]:
    for percent in (quote(text, safe=""), quote(text)):
        yield percent
        yield PERCENT.sub(lambda match: match[0].lower(), percent)
    yield from _base64(text.encode("utf-8", "replace"))


def _base64(data: bytes) -> Iterator[str]:
    for encoded in (base64.b64encode(data).decode(), base64.urlsafe_b64encode(data).decode()):
        yield encoded
        yield encoded.rstrip("=")


def _cores(data: bytes) -> Iterator[bytes]:
    """What base64 of any bytes with `data` among them has of it for certain, wherever it begins."""
    for before in range(ALIGNMENTS):
        usable = len(data) - (-before) % ALIGNMENTS
        start, usable = (-before) % ALIGNMENTS, usable - usable % ALIGNMENTS
        if usable >= ALIGNMENTS:
            part = data[start : start + usable]
            yield base64.b64encode(part)
            yield base64.urlsafe_b64encode(part)


def _pattern(named: set[str]) -> str:
    """A form as a word of its own: no letter or digit beside it, also behind one of . @ + -; but a percent-encoded
    character is none."""
    forms = sorted(named, key=len, reverse=True)
    parts = [f"(?i:{re.escape(text)})" if "@" in text else re.escape(text) for text in forms]
    return rf"(?:(?<=%[0-9A-Fa-f]{{2}})|(?<!\w)(?<!\w[.@+-]))(?:{'|'.join(parts)})(?!\w)(?![.@+-]\w)"


def _colons(text: str) -> Iterator[int]:
    at = text.find(":")
    while at >= 0:
        yield at
        at = text.find(":", at + 1)


def _decoded(text: str) -> bytes | None:
    bare = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(bare + "=" * (-len(bare) % 4))
    except binascii.Error:
        return None


def _pairs(text: str) -> bytes:
    """The text with its characters beyond the BMP as escapes have them, in halves."""
    halves = text.encode("utf-16-le", "surrogatepass")
    units = (int.from_bytes(halves[at : at + 2], "little") for at in range(0, len(halves), 2))
    return b"".join(chr(unit).encode("utf-8", "surrogatepass") for unit in units)


def _unescaped(match: re.Match[bytes]) -> bytes:
    """Halves of surrogate pairs are joined by nobody here; `_pairs` is what they are found by."""
    if match[1] is None:
        return CONTROLS.get(match[2], match[2])
    return chr(int(match[1], 16)).encode("utf-8", "surrogatepass")
