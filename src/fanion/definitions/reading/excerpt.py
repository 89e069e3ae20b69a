"""A publication's files cut down to what changed, beside the same cut out of the files before.

Nearly all of a large file are flags, and nearly all of those are as they were. What is left of a file: all that is
no flag, and of the flags those that changed with some of their neighbours; of a file without a change no flags. So
an excerpt is definitions too, and is read, checked and lowered as they are (`definitions.changes`).

Native JSON only. The files before are ones that were read without a defect, so what is looked for in them is
found; the new one is theirs but for one stretch within one object of flags. What that holds is seen when the
excerpt is read."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from operator import itemgetter
from typing import Final

import msgspec

from fanion._core.json_members import has, members_of, objects_at, same_ends
from fanion.definitions.reading.files import ROOT

FLAGS: Final = (b'"organisations"', None, b'"projects"', None, b'"flags"')
CHANGED_MAX: Final = 256
"""Flags from the first that changed to the last; of more, all are compiled."""
NEIGHBOURS: Final = 64
"""Flags before and behind that are kept: by them it is seen that what a flag asks first others ask as well."""
_ASKED: Final = (b'"flag"', b"\\u006")
"""The member by which something asks for a flag, and how it could be hidden: with one, flags are not
independent."""


class Excerpt(msgspec.Struct, frozen=True):
    """Both by the store's names of files."""

    before: dict[str, bytes]
    after: dict[str, bytes]


def excerpt_of(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> Excerpt | None:
    """None where files came or went, where some aren't native JSON, where more changed than a stretch of flags, or
    where anything asks for a flag."""
    if before.keys() != after.keys() or not all(map(_is_json, before)):
        return None
    changed = [name for name, text in before.items() if after[name] != text]
    if len(changed) > 1:
        return None
    if any(has(text, word) for text in before.values() for word in _ASKED):
        return None
    old, new = {}, {}
    for name, text in before.items():
        if name not in changed:
            old[name] = new[name] = _cut(text, objects_at(text, FLAGS))
        else:
            both = _cut_around(text, after[name])
            if both is None or any(has(both[1], word) for word in _ASKED):
                return None
            old[name], new[name] = both
    return Excerpt(old, new)


_start, _end = itemgetter(0), itemgetter(1)


def _is_json(name: str) -> bool:
    return name.startswith(ROOT) and name.lower().endswith(".json")


def _cut(text: bytes, objects: list[tuple[int, int]]) -> bytes:
    """Without any flag."""
    parts, at = [], 0
    for start, end in objects:
        parts.append(text[at : start + 1])
        at = end - 1
    return b"".join([*parts, text[at:]])


def _cut_around(text: bytes, after: bytes) -> tuple[bytes, bytes] | None:
    """Both without the flags that stand farther off from the change; None where it isn't one of flags."""
    first, behind = same_ends(text, after)
    last, grown = len(text) - behind, len(after) - len(text)
    objects = objects_at(text, FLAGS)
    around = next(((start, end) for start, end in objects if start < first and last < end), None)
    if around is None:
        return None
    start, end = around
    members = members_of(text, start, end, first, last, NEIGHBOURS)
    one = bisect_left(members, first, key=_end)  # the first flag that the change touches
    other = bisect_right(members, last, key=_start)  # behind the last
    if not 0 < other - one <= CHANGED_MAX or first < members[one][0] or last > members[other - 1][1]:
        return None
    kept = members[max(0, one - NEIGHBOURS) : other + NEIGHBOURS]
    window = kept[0][0], kept[-1][1]
    ahead = [one for one in objects if one[1] <= start]
    later = [one for one in objects if one[0] >= end]
    found = []
    for whole, shift in ((text, 0), (after, grown)):
        parts = [
            _cut(whole[: start + 1], ahead),
            whole[window[0] : window[1] + shift],
            _cut(
                whole[end - 1 + shift :],
                [(one - end + 1, other - end + 1) for one, other in later],
            ),
        ]
        found.append(b"".join(parts))
    return found[0], found[1]
