"""This API's answers without a server, for `fanion.inprocess` (docs/in-process.md).

Whoever opens the store sees every flag, as a server key does; governance counts requests, and there are none.
"""

from __future__ import annotations

from typing import Final

from fanion._core.evaluate import Bundle
from fanion._core.flat import FlatPlan
from fanion.dialects.ofrep.envelope import refuse
from fanion.dialects.ofrep.evaluate import each, one
from fanion.dialects.ofrep.schema import OWN_MEMBER, who
from fanion.dialects.ofrep.served import bind
from fanion.dialects.ofrep.words import NAME
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.flat import FlatDialect
from fanion.model.json_value import JsonObject


class OfrepAnswers:
    """One environment."""

    own = OWN_MEMBER

    def __init__(self, bundle: Bundle) -> None:
        at = bind(bundle)
        assert at is not None
        self._at = at
        self.table = at.table

    def one(self, key: str, context: JsonObject) -> bytes:
        try:
            return one(self._at, key, False, who(dict(context)))[1]
        except Fault as fault:
            return refuse(fault, key)[1]

    def every(self, context: JsonObject) -> list[bytes]:
        try:
            return list(each(self._at, who(dict(context))))
        except Fault as fault:
            return [refuse(fault)[1]]

    def plan(self, key: str) -> FlatPlan | None:
        return self._at.plan(key, client=False)


FLAT: Final = FlatDialect(NAME, lambda bundle: OfrepAnswers(bundle) if bundle.table(NAME) >= 0 else None)
