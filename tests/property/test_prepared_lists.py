"""Answers for a list that was prepared are those for a list that is read, to the byte: lists as clients send them,
bent bodies, odd keys, through every API that takes one, for server keys and client keys."""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import random
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.gate import worlds
from fanion import dialects
from fanion._core import prepared
from fanion.definitions import load
from fanion.dialects import served
from fanion.dialects.feather import routes as feather
from fanion.dialects.ofrep import evaluate as ofrep
from fanion.dialects.redpennon import evaluate as redpennon
from fanion.dialects.traffical import resolve as traffical
from fanion.dialects.wire.fault import Fault
from fanion.model.api_key import KeyRecord
from tests.property.bending import bend
from tests.rounds import rounds
from tests.unit.http_standins import make_services
from tests.unit.ofrep_world import WorldSnapshot
from tests.unit.redpennon_standins import FakeUsers

BODIES = rounds(500, 2_000, "PREPARED_BODIES")
SEED = int(os.environ.get("PREPARED_SEED", str(random.randrange(2**32))))
VOLATILE = re.compile(rb'"(requestId|evaluatedAt|decisionId|timestamp|cacheAge)":("[^"]*"|[0-9]+)')
ODD = [
    "",
    "]",
    "[",
    'a"]b',
    'a"[b',
    "\\",
    "ü",
    "\U0001f600",
    "{",
    "}",
    ",",
    '","flags":["x',
    "nobody",
    "a\nb",
]
CONTEXT: dict[str, Any] = {"country": "DE", "plan": "pro"}
ASKED = {
    "feather": ("evaluate_bulk", "env", feather),
    "redpennon": ("variables", "env", redpennon),
    "traffical": ("resolve", "layered", traffical),
    "ofrep": ("flags", "env", ofrep),
}


def write(folder: Path) -> Path:
    flags = worlds.native_flags()
    flags = {key: {**flags[key], "client_safe": n % 3 > 0} for n, key in enumerate(list(flags)[:60])}
    plain = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
    flagd = {"flags": dict.fromkeys(("variable-3", "a]b", 'a"[c', "own"), plain)}
    (folder / "flags.flagd.json").write_text(json.dumps(flagd))
    (folder / "redpennon.json").write_text(
        json.dumps({"redpennon": 1, "environments": ["production"], "features": worlds.redpennon_features()})
    )
    (folder / "layered.json").write_text(json.dumps(worlds.traffical_bundle("layered", 3, 5)))
    sources = [
        {"format": "redpennon", "path": "redpennon.json"},
        {"format": "flagd", "path": "flags.flagd.json"},
    ]
    environments = {"production": {"id": "env", "sources": sources}}
    projects = {
        "p": {"flags": flags, "environments": environments},
        "layered": {
            "environments": {
                "e": {"id": "layered", "sources": [{"format": "traffical", "path": "layered.json"}]}
            }
        },
    }
    document = {"fanion": 1, "organisations": {"o": {"plan": "enterprise", "projects": projects}}}
    (folder / "world.json").write_text(json.dumps(document))
    return folder / "world.json"


class World:
    """Every API's handler for many keys, over real bundles."""

    def __init__(self, folder: Path) -> None:
        self.snapshot: Any = WorldSnapshot(load([write(folder)], dialects.vocabulary()))
        services: Any = make_services()
        services.active_users = FakeUsers()
        services.snapshots.snapshot = self.snapshot
        self.handlers: dict[tuple[str, str], Any] = {
            (dialect.name, endpoint.name): endpoint.handler
            for dialect in served()
            for route in dialect.routes(services)
            for endpoint in route.methods.values()
        }

    def ask(self, api: str, kind: Any, body: bytes) -> tuple[Any, ...]:
        endpoint, environment, _ = ASKED[api]
        record = KeyRecord(id="k", environment=environment, organisation="o", kind=kind)
        try:
            answer = self.handlers[api, endpoint](self.snapshot, record, body, b"", {})
            head, payload = asyncio.run(settled(answer)) if inspect.isawaitable(answer) else answer
        except Fault as fault:
            return fault.kind, str(fault), fault.path
        headers = [pair for pair in head.headers if pair[0] != b"x-request-id"]
        return head.status, headers, VOLATILE.sub(b"", payload)


async def settled(answer: Any) -> Any:
    return await answer


@pytest.fixture(scope="module")
def worlds_of(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, World]:
    """One that prepares no list, and one that prepares every one."""
    made = []
    with pytest.MonkeyPatch.context() as patch:
        for least in (sys.maxsize, 0):
            for _, _, module in ASKED.values():
                patch.setattr(module, "LISTED_BYTES_MIN", least)
            made.append(World(tmp_path_factory.mktemp("world")))
    reading, preparing = made
    return reading, preparing


def keys_of(draw: random.Random) -> list[str]:
    known = [f"flag-{n}" for n in range(65)] + [f"variable-{n}" for n in range(5)]
    known += [f"p{n}.k{k}" for n in range(3) for k in range(6)] + [
        "VARIABLE-2",
        "redpennon:variable-1",
        "a]b",
    ]
    keys = draw.sample(known, draw.choice([1, 2, 5, 20, 40]))
    if draw.random() < 0.3:
        keys += draw.choices(ODD + keys, k=3)
    if draw.random() < 0.2:
        draw.shuffle(keys)
    return keys


def documents(draw: random.Random, api: str) -> dict[str, Any]:
    """A body as clients send it, its list first or last, or in between."""
    keys = keys_of(draw)
    context: dict[str, Any] = {**CONTEXT, "n": draw.choice([1, 2.5, "x", True, 10**19, "1" * 500])}
    match api:
        case "feather":
            members: dict[str, Any] = {"flags": keys, "context": {"userId": "u", "attributes": context}}
        case "redpennon":
            members = {"keys": keys, "user": {"id": "u", "country": "DE", "custom_data": context}}
        case "traffical":
            members = {"parameters": keys, "context": {"userId": "u", **context}, "env": "e"}
            if draw.random() < 0.2:
                members["defaults"] = {"unknown": 1}
        case _:
            context |= {"targetingKey": "u"} if draw.random() < 0.8 else {}
            own = {"fanion": {"flags": keys}}
            return {"context": context | own if draw.random() < 0.7 else own | context}
    names = list(members)
    if draw.random() < 0.5:
        names.reverse()
    if draw.random() < 0.1:
        draw.shuffle(names)
    return {name: members[name] for name in names}


def duplicated(draw: random.Random, body: bytes) -> bytes:
    """A member of one of the names once more, at one of the ends of the body or of an object in it."""
    member = draw.choice(
        [
            *(b'"flags":["flag-9"]', b'"keys":["variable-3"]', b'"parameters":["p1.k1"]', b'"context":{}'),
            *(b'"fanion":{"flags":["flag-9"]}', b'"fl\\u0061gs":["flag-9"]', b'"x":{"y":["]"]}'),
            *(b'"user":{}', b'"ke\\u0079s":["flag-9"]', b'"cont\\u0065xt":{"a":1}'),
        ]
    )
    at = draw.choice([place for place, byte in enumerate(body) if byte in b"{}"])
    if body[at : at + 1] == b"{":
        return body[: at + 1] + member + b"," + body[at + 1 :]
    return body[:at] + b"," + member + body[at:]


def bodies(draw: random.Random, api: str) -> list[bytes]:
    """One as it was meant, and bent ones that mostly have the same list."""
    blanks = draw.choice([(",", ":"), (", ", ": "), (" , ", " : ")])
    body = json.dumps(documents(draw, api), separators=blanks, ensure_ascii=draw.random() < 0.5).encode()
    made = [body]
    for change in (bend, bend, duplicated, duplicated):
        made.append(change(draw, body))
    made += [body + draw.choice([b" ", b"\n", b"}", b","]), b" " + body, body.replace(b"}", b"},}", 1)]
    return made


@pytest.mark.parametrize("api", ASKED)
def test_a_prepared_list_answers_as_the_list_itself(api: str, worlds_of: tuple[World, World]) -> None:
    print(f"PREPARED_SEED={SEED}")
    reading, preparing = worlds_of
    draw = random.Random(f"{SEED} {api}")
    rounds_left, wanted = BODIES // 8 // len(ASKED), prepared.counts()[0] + BODIES // 40
    while rounds_left > 0 or prepared.counts()[0] <= wanted:  # until enough of them had a list that was known
        rounds_left -= 1
        for body in bodies(draw, api):
            kind = draw.choice(["server", "client"])
            expected = reading.ask(api, kind, body)
            for _ in range(3):
                assert preparing.ask(api, kind, body) == expected, body
