"""Traffical's bodies of decisions (docs/apis/traffical.md: Decide, Decide many), as `schema` reads the others: a
batch's items are told apart by the native judge, or read one by one, since one bad item must not cost the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Final

import msgspec

from fanion.config import Limits
from fanion.dialects.traffical.schema import HERE, LooseBody, Place, check_cheaply, fault_of
from fanion.dialects.wire.bodies import REFUSED
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.json_bounds import check_batch, surely_few
from fanion.dialects.wire.judging import Rules, judge_of


class Decide(Place, gc=False, kw_only=True):
    entityId: str  # noqa: N815
    unitKeyValue: str  # noqa: N815
    allocationCount: int | float | None = None  # noqa: N815


class DecideClosed(Decide, gc=False, kw_only=True, forbid_unknown_fields=True):
    pass


class BatchItem(Decide, gc=False, kw_only=True):
    policyId: str  # noqa: N815


class BatchItemClosed(BatchItem, gc=False, kw_only=True, forbid_unknown_fields=True):
    pass


class Batch(Place, gc=False, kw_only=True):
    requests: list[msgspec.Raw]


BATCH_MAX: Final = 1_000
"""Items of one decide batch; js-client sends one for each edge policy."""
DECIDE_MEMBERS: Final = ("entityId", "unitKeyValue", "allocationCount")
"""What is drawn by."""
POLICY_AND_MEMBERS: Final = attrgetter("policyId", *DECIDE_MEMBERS)
ITEM_RULES: Final = Rules(noted=["policyId", *DECIDE_MEMBERS], open=True)


class DecideSchema:
    """The decoders, under the limits in force."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._decide = LooseBody[Decide](DecideClosed, Decide).decode
        self._item = LooseBody[BatchItem](BatchItemClosed, BatchItem)
        self._item_judge = judge_of("requests", BatchItem, BATCH_MAX, limits, ITEM_RULES, batch=False)
        self._batch = msgspec.json.Decoder(Batch).decode
        self._place = msgspec.json.Decoder(Place).decode
        self._free_bytes = min(
            2 * limits.json_depth_max, limits.json_keys_max, limits.json_integer_digits_max
        )
        """A text up to this size breaks no bound of depth, members or digits."""

    def decide(self, body: bytes) -> Decide:
        check_cheaply(body, self._limits)
        try:
            return self._decide(body)
        except REFUSED as error:
            raise fault_of(error) from None

    def items_apart(self, body: bytes) -> tuple[Place, list[list[str | int | float | None]], bytes] | None:
        """Of a batch that surely keeps every bound: where it belongs, policies and `DECIDE_MEMBERS` of the items
        that can be used, and for each item whether it is one. None: read it. Raises Fault INVALID_SHAPE,
        INVALID_JSON; Condensed."""
        if not surely_few(body, self._limits):
            return None
        item = self._reader()

        def ask(text: bytes) -> tuple[str | int | float | None, ...] | None:
            found = item(text)
            return None if found is None else POLICY_AND_MEMBERS(found)

        found = self._item_judge.apart(body, ask)
        if found is None:
            return None
        columns, places, alone = found
        try:
            return HERE if alone else self._place(body), columns, places
        except REFUSED as error:
            raise fault_of(error) from None

    def batch(self, body: bytes) -> Batch:
        """Its items are still uncut; `items` reads them. Raises Fault INVALID_JSON, INVALID_SHAPE; Condensed."""
        check_batch(body, self._limits)
        try:
            batch: Batch = self._batch(body)
        except REFUSED as error:
            raise fault_of(error) from None
        if len(batch.requests) > BATCH_MAX:
            raise Fault(FaultKind.INVALID_SHAPE, f"requests must be an array of at most {BATCH_MAX}")
        return batch

    def items(self, batch: Batch) -> Iterator[BatchItem | None]:
        """None for an item that can't be used."""
        return map(self._reader(), map(bytes, batch.requests))

    def _reader(self) -> Callable[[bytes], BatchItem | None]:
        """Reads the items of one batch, None for one that can't be used."""
        read = self._item.one_by_one()

        def item(text: bytes) -> BatchItem | None:
            try:
                if len(text) > self._free_bytes:
                    check_cheaply(text, self._limits)
                return read(text)
            except (*REFUSED, Fault):
                return None

        return item
