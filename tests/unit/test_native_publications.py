"""Native files together: environments, keys, and the copy that the store keeps."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from fanion import definitions
from fanion.dialects import vocabulary
from tests.unit.native_files import (
    PLACE,
    Write,
    ask,
    environment,
    flag,
    problems,
    writer,
)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def test_files_of_a_directory_make_one_publication(write: Write, tmp_path: Path) -> None:
    write("a.json", flags={"a": flag()})
    write("b.json", environments={}, flags={"b": flag()})
    (tmp_path / ".hidden.json").write_text("not read")
    (tmp_path / "notes.txt").write_text("not read")
    loaded = definitions.load([tmp_path], vocabulary())
    assert [p.key for p in environment(loaded).parameters] == ["a", "b"]


def test_an_item_in_two_files_is_refused(write: Write) -> None:
    one = write("a.json", flags={"f": flag()})
    two = write("b.json", environments={}, flags={"f": flag()})
    assert [(place, found) for place, found, _ in problems([one, two])] == [("flags.f", "'f' again")]


def test_environment_ids_are_unique_and_have_a_default(write: Write) -> None:
    path = write(environments={"e": {}, "x": {"id": "env_x"}})
    assert [one.environment for one in definitions.load([path], vocabulary()).environments] == [
        "o/p/e",
        "env_x",
    ]
    path = write(environments={"e": {"id": "same"}, "x": {"id": "same"}})
    assert [place for place, _, _ in problems(path)] == ["environments.x.id"]


def test_an_environment_may_override_a_flag_and_a_feature(write: Write) -> None:
    both = {"e": {"id": "env_e"}, "x": {"id": "env_x"}}
    override = {"x": {"default_value": True, "rules": []}}
    feature = {
        "variables": {"color": {"type": "string"}},
        "variations": {"on": {"color": "red"}, "off": {"color": "grey"}},
        "default_variation": "off",
        "environments": {"x": {"default_variation": "on"}},
    }
    path = write(environments=both, flags={"f": flag(environments=override)}, features={"c": feature})
    loaded = definitions.load([path], vocabulary())
    assert [ask(environment(loaded, id), "f").value for id in ("env_e", "env_x")] == ["false", "true"]
    assert [ask(environment(loaded, id), "color").value for id in ("env_e", "env_x")] == ['"grey"', '"red"']
    path = write(flags={"f": flag(environments={"nope": {}})})
    assert [place for place, _, _ in problems(path)] == ["flags.f.environments.nope"]


def test_identifiers_are_the_environments_own_unless_given(write: Write) -> None:
    given = {"feather": {"environment": "env_1", "organisation": "org_1"}}
    path = write(
        environments={"e": {"id": "env_e", "dialects": ["feather", "traffical"], "identifiers": given}}
    )
    assert environment(definitions.load([path], vocabulary())).identifiers == {
        "feather": {"organisation": "org_1", "project": "p", "environment": "env_1"},
        "traffical": {"organisation": "o", "project": "p", "environment": "e"},
    }


def test_nothing_to_publish_is_a_problem(write: Write) -> None:
    assert problems(write(environments={}))[0][1] == "no environment"


def test_keys_leave_only_as_hashes(write: Write) -> None:
    digest = hashlib.sha256(b"sk_elsewhere").hexdigest()
    keys = [
        {"key": "sk_raw_secret_key", "name": "raw", "expires": "2030-01-01"},
        {"key": "env:FANION_TEST_KEY", "kind": "client", "dialects": ["traffical"], "scopes": ["sdk:read"]},
        {"key": f"sha256:{digest}", "kind": "edge", "prefix": "sk_e"},
        {"key": "ABCDEF00-0000-0000-0000-000000000000"},
    ]
    path = write(environments={"e": {"id": "env_e", "keys": keys}})
    loaded = definitions.load([path], vocabulary(), {"FANION_TEST_KEY": "pk_from_variable"})
    assert [key.hash for key in loaded.keys] == [
        hashlib.sha256(raw).digest()
        for raw in (
            b"sk_raw_secret_key",
            b"pk_from_variable",
            b"sk_elsewhere",
            b"abcdef00-0000-0000-0000-000000000000",
        )
    ]
    records = [key.record for key in loaded.keys]
    assert {(one.environment, one.organisation) for one in records} == {("env_e", "o")}
    assert [one.kind for one in records] == ["server", "client", "edge", "server"]
    assert records[0].expires_at == 1893456000.0
    assert (records[1].dialects, records[1].scopes) == (("traffical",), ("sdk:read",))
    assert [warning.path for warning in loaded.warnings] == [
        f"{PLACE}.environments.e.keys[0].key",
        f"{PLACE}.environments.e.keys[3].key",
    ]
    kept = b"".join(loaded.sources.values()) + repr(loaded.warnings).encode()
    for raw in (b"sk_raw_secret_key", b"pk_from_variable", b"ABCDEF00-0000"):
        assert raw not in kept
    assert [key.hash for key in definitions.load_stored(loaded.sources, vocabulary()).keys] == [
        k.hash for k in loaded.keys
    ]


def test_keys_that_can_not_be_used_are_refused_without_showing_them(write: Write) -> None:
    keys = [
        {"key": "sha256:ABC"},
        {"key": "env:FANION_NOT_SET"},
        {"key": "with a space in it"},
        {"key": "sk_twice_given"},
        {"key": "sk_twice_given"},
        {"key": "secret"},
        {"key": 123454321},
        {"key": "sk_expires_never", "expires": "soon"},
        {"key": "sk_unknown_dialect", "dialects": ["nobody"]},
        {"key": "sk_unknown_scope", "scopes": ["events", "admin"]},
        {"key": "sk_another_dialects_scope", "dialects": ["feather", "stitchd"], "scopes": ["sdk:read"]},
        {"key": "sk_one_dialects_scope", "dialects": ["feather", "traffical"], "scopes": ["sdk:read"]},
    ]
    found = problems(write(environments={"e": {"keys": keys}}))
    assert [place.removeprefix("environments.e.keys") for place, _, _ in sorted(found)] == [
        "[0].key",
        "[10].scopes[0]",
        "[1].key",
        "[2].key",
        "[4].key",
        "[5].key",
        "[6].key",
        "[7].expires",
        "[8].dialects[0]",
        "[9].scopes[1]",
    ]
    for raw in ("space in", "twice_given", "secret", "123454321"):
        assert not any(raw in str(one) for one in found)


def test_stored_sources_load_to_the_same_publication(write: Write, tmp_path: Path) -> None:
    bundle = {"old": {"enabled": True, "defaultValue": 1, "rules": []}}
    (tmp_path / "bundle.json").write_text(json.dumps(bundle))
    sources = [{"format": "feather", "path": "bundle.json"}]
    environments = {"e": {"id": "env_e", "keys": [{"key": "sk_some_raw_key"}], "sources": sources}}
    segment = {"list": {"include": ["u0"], "include_file": "bundle.json"}}
    write("a.json", environments=environments, segments={"s": segment}, flags={"f": flag()})
    (tmp_path / "b.yaml").write_text("organisations: {o: {plan: pro}}")
    loaded = definitions.load([tmp_path], vocabulary())
    again = definitions.load_stored(loaded.sources, vocabulary())
    assert again.environments == loaded.environments
    assert again.keys == loaded.keys
    assert again.warnings == []
    assert definitions.load_stored(again.sources, vocabulary()).environments == loaded.environments
