"""An environment is served through the APIs that its definitions name, and through no other."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from fanion import app, definitions
from fanion.bundle.reader import BundleReader
from fanion.config import Config
from fanion.model.dialects import DIALECTS, SCOPES, Scope, scopes_of
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
    assert {dialect.name for dialect in app.dialects()} == set(DIALECTS)


def test_the_scopes_that_are_accepted_are_those_that_endpoints_ask_for() -> None:
    asked = {
        dialect.name: {
            endpoint.scope
            for route in dialect.routes(make_services())
            for endpoint in route.methods.values()
            if endpoint.scope is not None
        }
        for dialect in app.dialects()
    }
    assert asked == {name: set(scopes) for name, scopes in SCOPES.items()}
    assert scopes_of(()) == list(get_args(Scope))


def test_an_environment_has_a_table_for_each_api_it_names(tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text(WORLD)
    app.publish(tmp_path / "data", definitions.load([tmp_path / "world.yaml"]), Config())
    with Store.open(tmp_path / "data") as store:
        pinned = store.pin()
        bundles = {name: bytes(pinned.bundle(name) or b"") for name in pinned.environments()}
        pinned.release()
    assert set(BundleReader(bundles["env_one"]).tables()) == {"feather"}
    assert set(BundleReader(bundles["env_all"]).tables()) == {dialect.name for dialect in app.dialects()}
