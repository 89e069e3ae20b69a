"""The twin's fractions: which name an entry list gives a value (`fanion.model.expression.FractionKind`)."""

from __future__ import annotations

from typing import Any

from fanion.engine.expression_text import cbor_head, cbor_number, cbor_text
from fanion.engine.expression_values import Beyond, Limits, Root, is_list
from fanion.engine.murmur import murmur3_32
from fanion.model.expression import TEXT_DEPTH_MAX, FractionKind

WEIGHT_SUM_MAX = 2**31 - 1


def fraction(run: Limits, kind: FractionKind, value: Any, entries: Any) -> Any:
    data = _hashed(run, kind, value)
    if data is None or not is_list(entries) or len(entries) % 2:
        return None
    total = 0.0
    for number in range(0, len(entries), 2):
        run.spend(1)
        name, weight = run.value(entries[number]), run.value(entries[number + 1])
        if not (isinstance(name, str | float | bool) or name is None):
            return None
        if not isinstance(weight, float) or not weight.is_integer():
            return None
        total += max(weight, 0.0)
    if not 0 < total <= WEIGHT_SUM_MAX:
        return None
    bucket = (murmur3_32(data) * int(total)) >> 32
    running = 0
    for number in range(0, len(entries), 2):
        running += int(max(entries[number + 1], 0))
        if running > bucket:
            return run.value(entries[number])
    raise AssertionError("a bucket lies below the sum of all weights")


def _hashed(run: Limits, kind: FractionKind, value: Any) -> bytes | None:
    if kind is FractionKind.TEXT:
        if not isinstance(value, str):
            return None
        run.read(value)
        return value.encode()
    if value is None or isinstance(value, Root) or is_list(value) is not (kind is FractionKind.CBOR_LIST):
        return None
    data = _cbor(run, value, 0)
    run.make(len(data) + 8 & ~7)
    run.spend(len(data) >> 8)
    return data


def _cbor(run: Limits, found: Any, depth: int) -> bytes:
    """Deterministic CBOR (RFC 8949, 4.2.1)."""
    run.spend(1)
    value = run.value(found)
    if depth == TEXT_DEPTH_MAX:
        raise Beyond
    if value is None or isinstance(value, bool):
        return b"\xf6" if value is None else b"\xf5" if value else b"\xf4"
    if isinstance(value, float):
        return cbor_number(value)
    if isinstance(value, str):
        return cbor_text(value)
    if is_list(value):
        items = [_cbor(run, item, depth + 1) for item in value]
        return cbor_head(4, len(items)) + b"".join(items)
    if not isinstance(value, dict):
        raise Beyond
    run.spend(len(value) * len(value))
    if not all(isinstance(key, str) for key in value):
        raise Beyond
    members = sorted((cbor_text(run.value(key)), item) for key, item in value.items())
    return cbor_head(5, len(members)) + b"".join(key + _cbor(run, item, depth + 1) for key, item in members)
