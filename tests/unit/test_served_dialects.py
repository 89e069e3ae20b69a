"""An environment is served through the APIs that its definitions name, and through no other."""

from __future__ import annotations

from pathlib import Path

from fanion import app, definitions
from fanion.bundle.reader import BundleReader
from fanion.config import Config
from fanion.dialects import NAMES, served, vocabulary
from fanion.store.store import Store
from tests.unit.http_standins import make_services

WORLD = """\
fanion: 1
organisations:
  org:
    name: Org
    projects:
      project:
        environments:
          one: {id: env_one, dialects: [feather]}
          all: {id: env_all}
        flags:
          a: {type: boolean, default_value: true}
"""


def test_the_names_that_are_accepted_are_the_apis_that_are_served() -> None:
    assert tuple(dialect.name for dialect in served()) == vocabulary().dialects == NAMES


def test_the_scopes_that_are_accepted_are_those_that_endpoints_ask_for() -> None:
    asked = {
        dialect.name: {
            endpoint.scope
            for route in dialect.routes(make_services())
            for endpoint in route.methods.values()
            if endpoint.scope is not None
        }
        for dialect in served()
    }
    assert asked == {api.name: set(api.scopes) for api in vocabulary().apis}
    assert vocabulary().scopes_of(()) == ["evaluate", "events", "results:read", "sdk:read", "sdk:write"]


def test_an_environment_has_a_table_for_each_api_it_names(tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(WORLD)
    app.publish(tmp_path / "data", definitions.load([tmp_path / "world.yaml"], vocabulary()), Config())
    with Store.open(tmp_path / "data") as store:
        pinned = store.pin()
        bundles = {name: bytes(pinned.bundle(name) or b"") for name in pinned.environments()}
        pinned.release()
    assert set(BundleReader(bundles["env_one"]).tables()) == {"feather"}
    tables = {dialect.name for dialect in served() if dialect.render is not None}
    assert set(BundleReader(bundles["env_all"]).tables()) == tables
    assert set(BundleReader(bundles["env_all"]).identifiers) == set(NAMES)
