"""Directories that publish to one place and directories that follow it, and what a history of them is made of."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion import app
from fanion.app.changing import changing
from fanion.app.following import Taking
from fanion.app.overriding import lay_locked, lay_overrides
from fanion.auth.keys import create_key, hash_key
from fanion.config import Config
from fanion.config.places import Places
from fanion.definitions import load
from fanion.dialects import vocabulary
from fanion.model.override import Override
from fanion.places import open_place
from fanion.places.follower import look
from fanion.places.manifest import Origin as PlaceOrigin
from fanion.places.nats import KeyValue
from fanion.places.sealing import Sealer
from fanion.places.taking import origin_of
from fanion.store.layout import Origin
from fanion.store.list_writer import ListWriter
from fanion.store.store import Store
from tests.crash.receivers import ANSWER_TIMEOUT_S
from tests.unit.native_files import flag, rule

ENVIRONMENT, OTHER = "env_e", "env_other"
KEY = "k" * 40
MAP_BYTES = 1 << 28


def need_libraries() -> None:
    pytest.importorskip("obstore")
    pytest.importorskip("cryptography")


class World:
    """`directory`: has the folder of the place, and every machine's own. `files`: tells its definitions apart."""

    def __init__(self, directory: Path, url: str = "", *, files: str = "", **settings: Any) -> None:
        self.directory = directory
        self._files = directory / f"flags{files}.json"
        self.url = url or f"file://{directory / 'place'}"
        store = msgspec.structs.replace(Config().store, map_bytes=MAP_BYTES)
        settings = {"timeout_s": ANSWER_TIMEOUT_S} | settings
        self.config = Config(store=store, places=Places(key=KEY, **settings))
        self.following = Config(store=store, places=Places(follow=self.url, key=KEY, **settings))

    def definitions(self, answer: str, *, members: Iterable[str] = ("u0",), environments: int = 2) -> Path:
        """A file whose flag answers so. `members`: of its list."""
        names = [("e", ENVIRONMENT), ("other", OTHER)][:environments]
        project = {
            "environments": {name: {"id": id} for name, id in names},
            "segments": {"beta": {"list": {"include": list(members)}}},
            "flags": {
                "f": flag(
                    type="string",
                    default_value=answer,
                    rules=[rule(value="listed", conditions=[{"segment": "beta"}])],
                )
            },
        }
        self._files.write_text(json.dumps({"organisations": {"o": {"projects": {"p": project}}}}))
        return self._files

    def publish(self, machine: str, answer: str, **given: Any) -> int:
        """By way of the place."""
        path, data = self.definitions(answer, **given), self.directory / machine
        with changing(data, self.config, to=self.url):
            overrides, weights = app.standing(data, self.config)
            loaded = load([path], vocabulary(), overrides=overrides, weights=weights)
            return app.publish(data, loaded, self.config)

    def send(self, machine: str) -> None:
        """`fanion publish --to` without PATHS."""
        with changing(self.directory / machine, self.config, to=self.url, whole=True):
            pass

    def change(self, machine: str, change: Callable[[Store], Any]) -> Any:
        """A command of a directory that publishes."""
        data = self.directory / machine
        with changing(data, self.config), Store.open(data, write=True, map_bytes=MAP_BYTES) as store:
            return change(store)

    def follow(self, machine: str = "follower") -> tuple[PlaceOrigin, int]:
        """One look of a server that follows."""
        data = self.directory / machine
        data.mkdir(exist_ok=True)
        with (
            closing(Taking(data, self.following)) as parts,
            closing(open_place(self.url, self.following.places)) as place,
        ):
            return look(parts, place, Sealer(KEY), self.url)

    def told(self, machine: str) -> dict[str, Any]:
        """All that a directory serves, with the blocks of its lists."""
        with Store.open(self.directory / machine, map_bytes=MAP_BYTES) as store, store.pin() as pinned:
            entries = pinned.manifest.environments
            for entry in entries.values():
                for one in entry.lists.values():
                    pinned.check_list(one)
            return {
                "bundles": {name: bytes(pinned.bundle(name) or b"") for name in entries},
                "definitions": {name: pinned.definitions(name) for name in entries},
                "lists": {
                    (name, each): (one, list(pinned.blocks(one.number)))
                    for name, entry in entries.items()
                    for each, one in entry.lists.items()
                },
                "overrides": {name: entry.overrides for name, entry in entries.items()},
                "keys": list(pinned.stored_keys()),
                "rows": pinned.meta_rows(),
            }

    def number(self, machine: str) -> int:
        with Store.open(self.directory / machine, map_bytes=MAP_BYTES) as store:
            return store.generation()

    def place_number(self, machine: str) -> int:
        """Of the manifest that a directory published or took last."""
        with Store.open(self.directory / machine, map_bytes=MAP_BYTES) as store:
            origin = origin_of(store)
            return origin.number if origin is not None else 0

    def answer(self, machine: str) -> str:
        """What the bundle holds, in a word: the answer of its definitions."""
        files = self.told(machine)["definitions"][ENVIRONMENT]
        project = json.loads(next(iter(files.values())))["organisations"]["o"]["projects"]["p"]
        answer: str = project["flags"]["f"]["default_value"]
        return answer


def make_key(store: Store) -> str:
    """The id of a key of a new one's own."""
    raw, record = create_key(environment=ENVIRONMENT, organisation="o")
    store.add_key(hash_key(raw.encode()), record)
    return record.id


def revoke_one(store: Store, random: random.Random) -> None:
    alive = [key.record.id for key in store.stored_keys() if key.origin != Origin.REVOKED]
    if alive:
        store.revoke_key(random.choice(alive))


def list_name(store: Store, environment: str = ENVIRONMENT) -> str:
    with store.pin() as pinned:
        return next(name for name in pinned.manifest.environments[environment].lists if "include" in name)


def change_list(store: Store, verb: str, members: list[bytes]) -> None:
    getattr(ListWriter(store.transactions), verb)(ENVIRONMENT, list_name(store), members)


def lay(store: Store, answer: str | None, until: float | None = None) -> None:
    """An override of the flag in the place of the one before; None: without one."""
    if answer is None:
        lay_overrides(store, lambda all, now: all.without(ENVIRONMENT, all.of(ENVIRONMENT, now), time.time()))
        return
    override = Override("f", answer, time.time(), until)
    lay_overrides(store, lambda all, _: all.with_one(ENVIRONMENT, override))


def random_change(world: World, machine: str, random: random.Random) -> str:
    """Makes one, and says which."""
    verb = random.choice(
        [
            "publish",
            "members",
            "fewer",
            "key",
            "revoke",
            "add",
            "add",
            "remove",
            "replace",
            "rollback",
            "override",
            "clear",
            "signing",
        ]
    )
    some = [b"m%d" % random.randrange(20_000) for _ in range(random.choice([1, 40, 4_000]))]
    changes: dict[str, Callable[[Store], Any]] = {
        "key": make_key,
        "revoke": lambda store: revoke_one(store, random),
        "add": lambda store: change_list(store, "add", some),
        "remove": lambda store: change_list(store, "remove", some),
        "replace": lambda store: change_list(store, "replace", some),
        "rollback": lambda store: store.rollback(lambda: lay_locked(store)) if has_previous(store) else None,
        "override": lambda store: lay(store, f"over-{random.randrange(3)}"),
        "clear": lambda store: lay(store, None),
        "signing": lambda store: store.rotate_signing_key(),
    }
    if verb in changes:
        world.change(machine, changes[verb])
    else:
        members = [f"given-{n}" for n in range(random.randrange(1, 3_000))] if verb == "members" else ["u0"]
        environments = 1 if verb == "fewer" else 2
        world.publish(machine, f"answer-{random.randrange(5)}", members=members, environments=environments)
    return verb


def has_previous(store: Store) -> bool:
    with store.pin() as pinned:
        return pinned.previous_manifest() is not None


def objects(world: World) -> dict[str, bytes]:
    """Of a place: each object's bytes."""
    if not world.url.startswith("file:"):
        with closing(open_place(world.url, world.config.places)) as place:
            assert isinstance(place, KeyValue)
            names = [key.removeprefix("object.") for key in place.keys("object.*")]
            return {name: place.get(name) for name in names}
    return {path.name: path.read_bytes() for path in (world.directory / "place/objects").rglob("*/*")}


def manifests(world: World) -> list[Path]:
    return sorted((world.directory / "place" / "manifests").iterdir())
