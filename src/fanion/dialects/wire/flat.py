"""What a dialect gives to processes that evaluate by themselves: its answers to flat contexts, without a server.

`fanion.dialects.flat` finds the one dialect that answers flat contexts for flags of every source. Answers are what
its API sends, whole: JSON with the members of OpenFeature (`value`, `variant`, `reason`, `metadata`, or `errorCode`
and `errorDetails`), so that a program reads the same in process and over HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from fanion._core.evaluate import Bundle
from fanion._core.flat import FlatPlan
from fanion.model.json_value import JsonObject


class FlatAnswers(Protocol):
    """One environment. `own`: the context's member that is no attribute. `table`: of its ready answers."""

    own: str
    table: int

    def one(self, key: str, context: JsonObject) -> bytes:
        """The answer to one flag, an error where it has none. The context stays as it is."""

    def every(self, context: JsonObject) -> list[bytes]:
        """The answers of all flags; one error without a key where the context can't be asked with."""

    def plan(self, key: str) -> FlatPlan | None:
        """How a key's ready answer is found by the core alone; None where it isn't as simple."""


class FlatDialect(NamedTuple):
    """`name`: by which an environment says that it is served through it. `bind`: None for a bundle that has no
    answers of it."""

    name: str
    bind: Callable[[Bundle], FlatAnswers | None]
