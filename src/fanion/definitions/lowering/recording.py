"""Which splits leave exposures in an environment (docs/exposures.md: What is recorded), and what a run of one is.

A run is told from another by a digest of what its draw is decided by, as the definitions say it: so a publication
that changes shares, salt or rules begins a new run, and one that changes a name, or a server of another version,
does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec

RUN_BYTES: Final = 16
UNSAID: Final = frozenset({"name", "description", "rule_name", "path"})
"""Members that are for people."""

_encode: Final = msgspec.json.Encoder(order="deterministic").encode


class Recording(msgspec.Struct, frozen=True):
    """`record`: `off`, `experiments` (those of `tried` flags) or `splits` (all); `flags` says otherwise of some."""

    record: str = "off"
    flags: Mapping[str, str] = {}
    tried: frozenset[str] = frozenset()

    def takes(self, flag: str) -> bool:
        record = self.flags.get(flag, self.record)
        return record == "splits" or (record == "experiments" and flag in self.tried)


def run_of(source: str, flag: str, basis: Any) -> str:
    """The digest, as hexadecimal digits. `basis`: what decides the draw, of structs, lists, maps and scalars."""
    said = _encode([source, flag, _plain(basis)])
    return hashlib.sha256(said).digest()[:RUN_BYTES].hex()


def _plain(value: Any) -> Any:
    """Without what is for people, and without members that are as if they were left out, so that a member that a
    later version adds changes nothing."""
    if isinstance(value, msgspec.Struct):
        found: dict[str, Any] = {"": type(value).__name__}
        for field in msgspec.structs.fields(value):
            said = getattr(value, field.name)
            default = field.default
            if field.default_factory is not msgspec.NODEFAULT:
                default = field.default_factory()
            if field.name not in UNSAID and (default is msgspec.NODEFAULT or said != default):
                found[field.name] = _plain(said)
        return found
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else repr(value)
