"""OFREP's documents after a change of some flags: each of these has one element in them, which is put in place of
the one before (`emit`, `wire.rendering`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from fanion.dialects.ofrep.emit import FLAGS, MANIFEST, Flag, FlagList, ManifestFlag


def amend(name: str, whole: bytes, before: bytes, after: bytes, decisions: Mapping[int, int]) -> bytes | None:
    """`before`, `after`: of an excerpt; the decisions in them have other numbers in the whole."""
    if name == MANIFEST:
        pairs = _manifest(before), _manifest(after)
    elif name == FLAGS:
        pairs = _flags(before, decisions), _flags(after, decisions)
    else:
        return None
    old, new = pairs
    if old.keys() != new.keys():
        return None
    return _replaced(whole, ((old[key], new[key]) for key in new if old[key] != new[key]))


def _manifest(document: bytes) -> dict[str, bytes]:
    return {
        one.key: msgspec.json.encode(one) for one in msgspec.json.decode(document, type=list[ManifestFlag])
    }


def _flags(document: bytes, decisions: Mapping[int, int]) -> dict[str, bytes]:
    """With the whole's decisions; one that isn't known stands for a flag that didn't change."""
    said = msgspec.json.decode(document, type=FlagList)
    return {
        f"{source}:{flag.name}": msgspec.json.encode(
            Flag(
                flag.name, flag.client_safe, flag.keyed, tuple(decisions.get(one, one) for one in flag.splits)
            )
        )
        for source, flags in said.flags.items()
        for flag in flags
    }


def _replaced(whole: bytes, pairs: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """None where one doesn't stand there exactly once."""
    for old, new in pairs:
        if whole.count(old) != 1:
            return None
        whole = whole.replace(old, new)
    return whole
