"""The evaluation context: what a request says about its subject."""

from __future__ import annotations

from typing import Any

import msgspec


class TypedContext(msgspec.Struct, frozen=True):
    """One context of a named type, e.g. ("user", "alice", {"plan": "pro"})."""

    type: str
    key: str
    attributes: dict[str, Any]


class EvaluationContext(msgspec.Struct, frozen=True):
    """Members are identities that the API names itself (userId, anonymousId, ...); attributes are free."""

    members: dict[str, Any] = {}
    attributes: dict[str, Any] = {}
    contexts: tuple[TypedContext, ...] = ()
