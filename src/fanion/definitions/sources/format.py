"""What a definition format has to offer: `FORMAT` in the module `source` of its folder, see `sources.NAMES`.

`parse` reads and checks a file and reports what is wrong with it; `lower` adds what it holds to one
environment. A format whose files name their own environment may also be published directly: `recognises`
says that a plain document is one of its files, `placed` gives the organisation, project and environment
that the file belongs to, with the file itself as a source reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.reading.report import Report
from fanion.model.choice import KeyedWeights
from fanion.model.definition import File
from fanion.model.weights import PolicyPlan

Exists = Callable[[str], bool]
"""Whether the publication can read a file of this name."""


class SourceFile(msgspec.Struct, frozen=True):
    """A file of another format as referred to: its name for messages, its bytes, and further files by
    role."""

    name: str
    data: bytes
    files: Mapping[str, bytes] = {}


def _never(_document: Any) -> bool:
    return False


def _unplaced(_name: str, _document: Any, _exists: Exists) -> File | None:
    return None


def _unchanged(_before: Mapping[str, bytes], _after: Mapping[str, bytes]) -> tuple[str, str] | None:
    return None


def _without_policies(
    _documents: Mapping[str, bytes], _keyed: Callable[[int], KeyedWeights | None]
) -> dict[str, PolicyPlan]:
    return {}


class SourceFormat(msgspec.Struct, frozen=True):
    """`parse` returns whatever `lower` takes, or None when the file can't be used (then a problem is reported).
    `lower`, for each key: `Builder.taken` first (a clash is a problem), then a decision and `Builder.parameter`
    with this format's name as `source`; `lowering.rules.lower_flag` does the last two. Once: `Builder.flat_context`
    or `Builder.shapes`, else APIs with flat contexts don't see its flags. `recognises` without `placed`: such a
    file needs a reference, or an environment that is named with it. `placed` may look which files there are.
    `roles`: the further files that a reference may, and those that it must, name. `changes` is given the documents
    that are served and those that are to be, and answers what is odd about the change and what it means, or None.
    `policies` is given the documents that are served and what finds a decision's choice by weights, and answers the
    policies whose weights may be applied by command; `lower` lays `Builder.weights`.
    """

    name: str
    parse: Callable[[SourceFile, Report], Any]
    lower: Callable[[Any, SourceFile, Builder, Report], None]
    recognises: Callable[[Any], bool] = _never
    placed: Callable[[str, Any, Exists], File | None] = _unplaced
    roles: frozenset[str] = frozenset()
    required_roles: frozenset[str] = frozenset()
    changes: Callable[[Mapping[str, bytes], Mapping[str, bytes]], tuple[str, str] | None] = _unchanged
    policies: Callable[[Mapping[str, bytes], Callable[[int], KeyedWeights | None]], dict[str, PolicyPlan]] = (
        _without_policies
    )
