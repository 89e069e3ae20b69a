"""API keys of definitions: only their SHA-256 leaves this module.

A key is given as `sha256:HEX`, as `env:NAME` (the raw key is read from that variable at publish), or raw,
which is warned about. The digest is of the raw key's UTF-8 bytes; a key in UUID form is folded to lower
case first, as APIs whose keys are UUIDs fold what they are asked with.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from fanion.definitions.reading.limits import RAW_KEY_CHARS
from fanion.definitions.reading.report import Report, shown
from fanion.definitions.reading.structure import BROKEN
from fanion.model.api_key import KeyRecord, hash_key, show_prefix
from fanion.model.definition import Environment, Key
from fanion.model.vocabulary import Vocabulary

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class KeyDefinition(msgspec.Struct, frozen=True):
    """A key as the store keeps it: its record under the SHA-256 of the raw key."""

    hash: bytes
    record: KeyRecord


def hash_raw_key(raw: str) -> bytes:
    """The SHA-256 that a raw key is stored and looked up under."""
    return hash_key(folded(raw).encode())


RAW_KEY_ALLOWED = f"{RAW_KEY_CHARS[0]} to {RAW_KEY_CHARS[1]} printable ASCII characters without spaces"


def fits_a_header(raw: str) -> bool:
    """Whether a raw key can be sent with a request; `RAW_KEY_ALLOWED` says what can."""
    low, high = RAW_KEY_CHARS
    return low <= len(raw) <= high and raw.isprintable() and " " not in raw and raw.isascii()


def folded(raw: str) -> str:
    """A raw key as it is hashed: UUIDs in lower case, since their dialect takes them in any."""
    return raw.lower() if _UUID.fullmatch(raw) else raw


def parse_time(text: str) -> datetime | None:
    """A time by the one rule of the whole server: ISO 8601, naive is UTC, within the years that UTC can be written
    in. None where it is none."""
    try:
        time = datetime.fromisoformat(text)
        return time.astimezone(UTC) if time.tzinfo is not None else time.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def check_words(words: Iterable[str], known: Sequence[str], file: str, path: str, report: Report) -> bool:
    """Reports the words that are not known; whether all of them are."""
    every = True
    for number, word in enumerate(words):
        if word not in known:
            every = False
            if word is not BROKEN:
                report.problem(file, f"{path}[{number}]", shown(word), f"one of {', '.join(known)}")
    return every


class KeyReader:
    """Reads the keys of one publication. `hidden` maps what must not be stored to
    its `sha256:` form and its prefix."""

    def __init__(self, variables: Mapping[str, str], vocabulary: Vocabulary, report: Report) -> None:
        self.variables = variables
        self.vocabulary = vocabulary
        self.report = report
        self.keys: list[KeyDefinition] = []
        self.hidden: dict[str, tuple[str, str]] = {}
        self._seen: dict[bytes, str] = {}

    def read(
        self, environment: Environment, file: str, path: str, environment_id: str, organisation: str
    ) -> None:
        """Add an environment's keys."""
        for number, key in enumerate(environment.keys):
            if key is BROKEN or key.key is BROKEN:
                continue
            place = f"{path}.keys[{number}]"
            known = self.digest(key, file, f"{place}.key")
            expires = self.expires(key, file, f"{place}.expires")
            self._check_words(key, file, place)
            if known is None:
                continue
            digest, prefix = known
            if digest in self._seen:
                self.report.problem(
                    file, f"{place}.key", "a key again", f"each once; it is {self._seen[digest]}"
                )
                continue
            self._seen[digest] = place
            record = KeyRecord(
                id=f"key_{digest.hex()[:16]}",
                environment=environment_id,
                organisation=organisation,
                kind=key.kind,
                dialects=tuple(key.dialects),
                scopes=tuple(key.scopes),
                expires_at=expires,
                prefix=key.prefix or prefix,
                name=key.name,
            )
            self.keys.append(KeyDefinition(digest, record))

    def _check_words(self, key: Key, file: str, path: str) -> None:
        """A dialect or scope that no API has opens nothing; nor does a scope that none of the key's APIs knows."""
        if key.dialects is BROKEN or key.scopes is BROKEN:
            return
        scopes = self.vocabulary.scopes_of(())
        known = check_words(key.dialects, self.vocabulary.dialects, file, f"{path}.dialects", self.report)
        if not check_words(key.scopes, scopes, file, f"{path}.scopes", self.report) or not known:
            return
        allowed = self.vocabulary.scopes_of(key.dialects)
        for number, scope in enumerate(key.scopes):
            if scope not in allowed:
                found = f"{shown(scope)}, which is no scope of {', '.join(key.dialects)}"
                self.report.problem(file, f"{path}.scopes[{number}]", found, f"one of {', '.join(allowed)}")

    def digest(self, key: Key, file: str, path: str) -> tuple[bytes, str] | None:
        """(SHA-256, first characters); None after a problem. A message never shows a raw key."""
        text = key.key
        if text.startswith("sha256:"):
            if _DIGEST.fullmatch(text[7:]) is None:
                self.report.problem(
                    file, path, "sha256: without a digest", "sha256: and 64 lower-case hex digits"
                )
                return None
            return bytes.fromhex(text[7:]), ""
        raw: Any = text
        if text.startswith("env:"):
            raw = self.variables.get(text[4:])
            if raw is None:
                found = f"the variable {shown(text[4:])}, which is not set"
                self.report.problem(file, path, found, "a variable that holds the raw key")
                return None
        else:
            self.report.warning(file, path, "a raw key", "only its SHA-256 is stored; write sha256: or env:")
        if not fits_a_header(raw):
            self.report.problem(file, path, "a raw key that no header can carry", RAW_KEY_ALLOWED)
            return None
        digest = hash_raw_key(raw)
        prefix = show_prefix(raw)
        self.hidden[text] = f"sha256:{digest.hex()}", prefix
        return digest, prefix

    def expires(self, key: Key, file: str, path: str) -> float | None:
        if not isinstance(key.expires, str):
            return None
        time = parse_time(key.expires)
        if time is None:
            self.report.problem(
                file, path, shown(key.expires), "a time as ISO 8601 writes it, before 10000 in UTC"
            )
            return None
        return time.timestamp()
