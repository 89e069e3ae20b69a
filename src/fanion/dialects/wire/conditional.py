"""Conditional requests: whether the client has what would be answered."""

from __future__ import annotations


def matches(given: bytes | None, etag: bytes) -> bool:
    """Whether an If-None-Match names the tag: a list, `*`, weak comparison."""
    if given is None:
        return False
    tags = [tag.strip() for tag in given.split(b",")]
    return b"*" in tags or etag in [tag.removeprefix(b"W/") for tag in tags]
