"""Items of a batch that are wrong in every way that JSON and a struct know, and some that are right."""

from __future__ import annotations

import json
import marshal
import random
import re
from typing import Any

from tests.fuzz.document_mutants import places
from tests.property.bending import bend

ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2,
        0.0,
        1.0,
        1.5,
        -0.5,
        10**17,
        2**63 - 1,
        2**63,
        -(2**63),
        -(2**63) - 1,
        10**30,
        1e308,
    ),
    *(
        "",
        "x",
        "é",
        "a\u0000b",
        "\U0001f600",
        "x" * 64,
        "x" * 128,
        "é" * 128,
        "x" * 129,
        "\U0001f600" * 65,
        "x" * 257,
    ),
    *(
        "x" * 1_025,
        "a`b",
        "a'b",
        'a"b',
        "a\\b",
        "a\x7fb",
        "type",
        "exposure",
        "metric",
        "track",
        "linear",
        "buy",
        "o",
    ),
    *(
        "f" * 64,
        "F" * 64,
        "f" * 63,
        "2026-11-28T20:05:00Z",
        "2026-11-28T20:05:00.123456+02:00",
        "2026-02-29T00:00:00Z",
    ),
    *(
        "2026-11-28T24:00:00Z",
        "2026-11-28T20:05:00.1Z",
        "2026-11-28T20:05:00.123456789Z",
        "2026-11-28",
        "20261128T000000Z",
    ),
    *(
        "2026-W48-6",
        "0000-01-01T00:00:00Z",
        "2026-11-28T20:05:60Z",
        "2026-11-28T20:05:00+24:00",
        "2026-11-28t20:05:00z",
    ),
    *(
        [],
        [[]],
        [None],
        ["x"],
        [1],
        [{}],
        {},
        {"a": 1},
        {"a": None},
        {"a": {}},
        {"id": "x"},
        {"kind": "u", "id": "i"},
    ),
]
NUMBERS = [
    *(
        b"-0",
        b"-0.0",
        b"1e5",
        b"1E-5",
        b"1e0",
        b"1e-400",
        b"1e308",
        b"1e309",
        b"1e400",
        b"0.1e309",
        b"-1e999",
        b"1e999",
    ),
    *(
        b"01",
        b"1.",
        b".5",
        b"+1",
        b"-",
        b"1e",
        b"NaN",
        b"9" * 19,
        b"9" * 309,
        b"9" * 401,
        b"0." + b"0" * 255,
        b"1.0000000001",
    ),
    *(
        b"9" * 256 + b".0",
        b"1" + b"0" * 308,
        b"2" + b"0" * 308,
        b"0.9999999999999999999999",
        b"1.00000000000000000001",
    ),
]
TEXTS = [
    rb'"\ud83d"',
    rb'"\ud83d\ude00"',
    rb'"\ude00"',
    rb'"\u0061\/\b"',
    rb'"\x"',
    b'"\xff"',
    b'"\xc3\xa9"',
    b'"\xed\xa0\x80"',
    b'"\x01"',
]
NAMES = [
    b'"zz"',
    b'"\\u007az"',
    b'"\xc3\xa9"',
    b'"\xff"',
    b'"a`b"',
    b'"a\'b"',
    b'"zz - at `$.zz`"',
    b'""',
    b'"' + b"z" * 200 + b'"',
]
DEEP = 70


def copied(item: Any) -> Any:
    """As `copy.deepcopy`, of JSON values in a tenth of the time."""
    return marshal.loads(marshal.dumps(item))


def mutate(draw: random.Random, item: Any) -> Any:
    """One thing changed: a member gone, renamed, another's, or of another kind; or another order."""
    spots = places(item) if isinstance(item, dict) else []
    if not spots:
        return copied(draw.choice(ODD))
    container, key = draw.choice(spots)
    match draw.randrange(6):
        case 0 if isinstance(container, dict):
            del container[key]
        case 1 if isinstance(container, dict):
            container[draw.choice(["zz", f"{key}x", "ü", "a`b", "type", "id"])] = container.pop(key)
        case 2 if isinstance(container, dict):
            members = list(container.items())
            draw.shuffle(members)
            container.clear()
            container.update(members)
        case 3:
            other, place = draw.choice(spots)
            container[key] = copied(other[place])
        case 4 if isinstance(container, dict):
            container[f"zz{draw.randrange(9)}"] = copied(draw.choice(ODD))
        case _:
            container[key] = copied(draw.choice(ODD))
    return item


def written(draw: random.Random, item: Any) -> bytes:
    """As JSON text, with things in it that no encoder writes."""
    text = json.dumps(
        item, ensure_ascii=draw.random() < 0.7, separators=draw.choice([(",", ":"), (", ", ": ")])
    ).encode(errors="surrogatepass")
    for _ in range(draw.choice([0, 0, 0, 0, 1, 1, 2])):
        begins = [found.end() for found in re.finditer(b"[:,{]", text)]
        if not begins:
            return text
        at = draw.choice(begins)
        end = min((n for n in (text.find(b",", at), text.find(b"}", at)) if n >= 0), default=at)
        match draw.randrange(6) if text[at - 1 : at] != b":" else draw.choice([0, 0, 2, 5]):
            case 0 if text[at - 1 : at] == b":":  # another value
                text = text[:at] + draw.choice(NUMBERS + TEXTS) + text[end:]
            case 0 | 1:  # another member
                text = text[:at] + draw.choice(NAMES) + b":" + draw.choice(NUMBERS + TEXTS) + b"," + text[at:]
            case 2:  # a name or text with an escape in it
                letter = draw.choice("abcdeiklmnoprstuxy")
                text = text.replace(letter.encode(), b"\\u%04x" % ord(letter), draw.choice([1, 1, -1]))
            case 3:  # nested deeper than it may be
                depth = draw.choice([3, 60, DEEP, 600])
                text = text[:at] + b'"zz":' + b"[" * depth + b"]" * depth + b"," + text[at:]
            case 4:  # a member twice
                text = text[:at] + text[at:end] + b"," + text[at:]
            case _:  # blanks
                text = text[:at] + draw.choice([b" ", b"\n\t\r ", b" ", b" \n", b"\x0b"]) + text[at:]
    return text


def batch(
    draw: random.Random, right: list[Any], around: tuple[bytes, bytes] = (b'{"events":[', b"]}")
) -> bytes:
    """A few items around each other, mostly wrong in one way."""
    items = []
    for _ in range(draw.randrange(1, 5)):
        item = copied(draw.choice(right))
        for _ in range(draw.choice([0, 1, 1, 1, 2, 3])):
            item = mutate(draw, item)
        items.append(written(draw, item))
    body = around[0] + draw.choice([b",", b" , "]).join(items) + around[1]
    return bend(draw, body) if draw.random() < 0.05 else body
