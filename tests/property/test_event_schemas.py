"""An event's properties: the quick look at values inside lists says what the one with words says."""

from __future__ import annotations

import os
import random
from typing import Any

from msgspec.structs import replace

from fanion.dialects.traffical.event_schema import LISTED_MAX, Effort, Property, PropertySchema
from tests.rounds import rounds

SCHEMAS = rounds(300, 5_000, "EVENT_SCHEMAS")
VALUES = 20
SEED = int(os.environ.get("EVENT_SCHEMA_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
TYPES = (None, "string", "boolean", "object", "array", "null", "number", "integer")
TEXTS = (
    "",
    "a",
    "abc",
    "b1",
    "é",
    "a@b.de",
    "2026-11-29T10:00:00Z",
    "x:y",
    "2d0cd5a2-1d2f-4bb2-8b8e-9c3f7d6a1f10",
)
PLAIN: tuple[Any, ...] = (None, True, False, 0, 1, 2, -1, 1.0, 2.5, 1e300, 2**70, *TEXTS)


def bounds(draw: random.Random, least: str, most: str) -> dict[str, Any]:
    return {name: draw.choice((None, 0, 1, 2, 3)) for name in (least, most)}


def schema(draw: random.Random, depth: int = 0) -> PropertySchema:
    nested = depth < 3 and draw.random() < 0.6
    names = draw.sample(("a", "b", "c"), draw.randrange(4)) if nested else []
    return PropertySchema(
        type=draw.choice(TYPES),
        required=draw.random() < 0.3,
        enum=draw.choice((None, None, None, [1, True, "a", None], [[], {}, 2.5])),
        pattern=draw.choice((None, None, "^a", "[0-9]$")),
        format=draw.choice((None, None, "uuid", "email", "uri", "date-time")),
        items=schema(draw, depth + 1) if nested and draw.random() < 0.7 else None,
        properties={name: schema(draw, depth + 1) for name in names},
        additional_properties=draw.random() < 0.7,
        **bounds(draw, "minimum", "maximum"),
        **bounds(draw, "min_length", "max_length"),
        **bounds(draw, "min_items", "max_items"),
    )


def value(draw: random.Random, depth: int = 0) -> Any:
    which = draw.random()
    if depth < 3 and which < 0.25:
        return [value(draw, depth + 1) for _ in range(draw.randrange(4))]
    if depth < 3 and which < 0.5:
        return {draw.choice("abcd"): value(draw, depth + 1) for _ in range(draw.randrange(4))}
    return draw.choice(PLAIN)


def fitting(draw: random.Random, wanted: PropertySchema) -> Any:
    """Mostly what the schema wants, so that deep values hold, too."""
    match wanted.type:
        case "array":
            count = draw.choice((wanted.min_items or 0, wanted.max_items or 1))
            return [fitting(draw, wanted.items or PropertySchema()) for _ in range(count)]
        case "object":
            return {name: fitting(draw, one) for name, one in wanted.properties.items()}
        case "string":
            return draw.choice(TEXTS)
        case "number" | "integer":
            return draw.choice((0, 1, 2, 1.0, 2.5))
        case "boolean":
            return draw.choice((True, False))
    return value(draw, 2)


def test_the_quick_look_says_what_the_one_with_words_says() -> None:
    draw, held, wrong = random.Random(SEED), 0, 0
    for _ in range(SCHEMAS):
        wanted = schema(draw)
        ready = Property(wanted)
        for _ in range(VALUES):
            given = fitting(draw, wanted) if draw.random() < 0.5 else value(draw)
            said = list(ready.violations(given, "", Effort(), listed=True))
            assert ready.holds(given, Effort()) == (not said), (SEED, wanted, given, said)
            held, wrong = held + (not said), wrong + bool(said)
    assert min(held, wrong) > SCHEMAS


def test_both_looks_take_as_much_of_a_batch_where_nothing_is_wrong() -> None:
    draw, taken = random.Random(SEED), 0
    while taken < SCHEMAS:  # as many as fit a list with values in it, however many are drawn for them
        wanted = replace(schema(draw), type="array", enum=None)
        ready, given = Property(wanted), fitting(draw, wanted)
        quick, told = Effort(), Effort()
        if ready.holds(given, quick):
            assert list(ready.violations(given, "", told, listed=True)) == []
            assert quick.left == told.left, (SEED, wanted, given)
            taken += quick.left < LISTED_MAX
