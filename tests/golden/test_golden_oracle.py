"""Every definition of the tests is lowered to the program, and answered, as it is kept in `programs/`.

A difference that is meant is written by `python -m tests.golden.oracle`, and read before it is committed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.golden.oracle import FOLDER, read, today

FILES = sorted(FOLDER.glob("*.json"))


def differences(kept: Any, found: Any, place: str) -> Iterator[str]:
    if isinstance(kept, dict) and isinstance(found, dict):
        for key in sorted(kept.keys() | found.keys()):
            yield from differences(kept.get(key), found.get(key), f"{place}.{key}")
    elif isinstance(kept, list) and isinstance(found, list) and len(kept) == len(found):
        for number, (one, other) in enumerate(zip(kept, found, strict=True)):
            yield from differences(one, other, f"{place}[{number}]")
    elif kept != found:
        yield f"{place}: kept {kept!r}, found {found!r}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_definitions_are_lowered_and_answered_as_kept(path: Path) -> None:
    changed: list[str] = []
    for kept in read(path):
        changed += differences(kept["environments"], today(kept)["environments"], kept["name"])
        assert len(changed) < 20, "\n".join(changed)
    assert not changed, "\n".join(changed)


def test_the_kept_definitions_come_from_every_source() -> None:
    sources = {
        parameter[0]
        for path in FILES
        for kept in read(path)
        for one in kept["environments"]
        if isinstance(one["parameters"], list)
        for parameter in one["parameters"]
    }
    assert sources >= {"native", "feather", "flagd", "redpennon", "stitchd", "traffical"}
