"""stitchd against a real server process: the conformance data, evaluation, membership (docs/apis/stitchd.md)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.server import Running, run
from tests.e2e.stitchd.asking import GOOD, PAIR, refused
from tests.e2e.stitchd_world import (
    CLIENT_KEY,
    OTHER_ENVIRONMENT,
    OTHER_KEY,
    ask,
    evaluate,
    vector_key,
    vectors,
)
from tests.unit.stitchd_worlds import ENVIRONMENT, GOLDEN, SCENARIOS

# -- the conformance data


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario_over_http(server: Running, name: str) -> None:
    folder = GOLDEN / "evaluation" / name
    requests, expected = (
        json.loads((folder / f"{one}.json").read_text()) for one in ("requests", "expected")
    )
    for request, answer in zip(requests, expected, strict=True):
        context = request["context"]
        found = evaluate(
            server,
            request["flag_key"],
            context_type=context["type"],
            context_key=context["key"],
            attributes=context["parameters"],
        )
        if answer["outcome"] == "flag_not_found":
            assert refused(found, 404, "NOT_FOUND") == f"flag not found: {request['flag_key']}"
        else:
            names = {
                "flag_key": request["flag_key"],
                "variant_key": answer["variant_key"],
                "is_enabled": True,
            }
            assert (found.status, found.json()) == (200, names)


def test_every_hash_vector_over_http(server: Running) -> None:
    for environment, key, targets, bucket in vectors():
        attributes = {f"t{n}": value for n, value in enumerate(targets)}
        found = evaluate(
            server, key, key=vector_key(environment), environment=environment, attributes=attributes
        )
        assert found.json()["variant_key"] == str(bucket), (key, environment, targets)


# -- evaluation


@pytest.mark.parametrize("prefix", ["", "/stitchd"])
def test_answer_is_the_documented_one_byte_for_byte(server: Running, prefix: str) -> None:
    request = {
        "flag_key": "for-beta",
        "context_type": "user",
        "context_key": "user-123",
        "attributes": {"a": 1},
    }
    answer = ask(server, "/evaluate", request, prefix=prefix)
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.body == b'{"flag_key":"for-beta","variant_key":"on","is_enabled":true}'


def test_disabled_flag_answers_its_default_and_says_so(server: Running) -> None:
    found = evaluate(server, "off").json()
    assert found == {"flag_key": "off", "variant_key": "off", "is_enabled": False}


def test_attributes_are_typed_as_the_engine_types_them(server: Running) -> None:
    def variant(flag: str, **attributes: Any) -> str:
        return str(evaluate(server, flag, attributes=attributes).json()["variant_key"])

    assert variant("by version", app="1.9.0") == "on"
    assert variant("by version", app="2.0.0") == "off"
    assert variant("by version", app=19) == "off"
    assert variant("typed/key", count=5) == "on"
    assert variant("typed/key", count=5.0) == "off"
    assert variant("typed/key", big=10**30) == "on"


def test_environment_id_is_read_in_any_form(server: Running) -> None:
    for form in (ENVIRONMENT, ENVIRONMENT.replace("-", ""), "%30" + ENVIRONMENT[1:], f"/{ENVIRONMENT}"):
        assert ask(server, "/evaluate", GOOD["/evaluate"], environment=form).status == 200
    other = OTHER_ENVIRONMENT.upper()
    request = GOOD["/evaluate"] | {"flag_key": "elsewhere"}
    assert ask(server, "/evaluate", request, key=OTHER_KEY, environment=other).status == 200


def test_native_flags_are_asked_through_stitchd(server: Running) -> None:
    def answer(flag: str, **members: Any) -> Any:
        found = evaluate(server, flag, **members)
        return (
            (found.json().get("variant_key"), found.json().get("is_enabled")) if found.status == 200 else 404
        )

    assert answer("plain", context_key="u1") == ("true", True)
    assert answer("plain", context_key="u2") == ("false", True)
    assert answer("plain", context_key="u1", context_type="anonymous") == ("false", True)
    assert answer("named") == ("blue", True)
    assert answer("number") == ("1.5", False)
    assert answer("object") == 404
    assert answer("named", key=CLIENT_KEY) == ("blue", True)
    assert answer("plain", key=CLIENT_KEY) == 404
    assert answer("for-beta", key=CLIENT_KEY) == ("off", True)


@pytest.mark.parametrize("value", [None, [], {}, [1], {"a": 1}])
def test_attribute_that_is_no_scalar_is_refused(server: Running, value: Any) -> None:
    text = refused(evaluate(server, "for-beta", attributes={"a": value}), 400, "INVALID_ARGUMENT")
    assert text.startswith("attributes")


@pytest.mark.parametrize(
    "number", [b"1e999", b"1" + b"0" * 309, b"-1" + b"0" * 400, b"9" * 401, b"NaN", b"01"]
)
def test_number_that_no_double_holds_is_refused(server: Running, number: bytes) -> None:
    body = b'{"flag_key":"for-beta","context_type":"user","context_key":"u","attributes":{"a":%b}}' % number
    refused(ask(server, "/evaluate", body=body), 400, "INVALID_ARGUMENT")


def test_attributes_are_bounded(server: Running) -> None:
    most = {f"a{n}": n for n in range(1000)}
    assert evaluate(server, "for-beta", attributes=most).status == 200
    refused(evaluate(server, "for-beta", attributes=most | {"more": 1}), 400, "INVALID_ARGUMENT")
    assert evaluate(server, "for-beta", attributes={"a": "x" * 65_536}).status == 200
    refused(evaluate(server, "for-beta", attributes={"a": "x" * 65_537}), 400, "INVALID_ARGUMENT")
    refused(evaluate(server, "for-beta", context_key="x" * 65_537), 400, "INVALID_ARGUMENT")


# -- membership


@pytest.mark.parametrize(
    ("segment", "context_type", "key", "member"),
    [
        ("beta-users", "user", "user-123", True),
        ("beta-users", "user", "USER-123", False),
        ("beta-users", "user", "ü", True),
        ("beta-users", "user", "1.2.3", True),
        ("beta-users", "user", "out", False),
        ("beta-users", "user", "", False),
        ("beta-users", "org", "acme", True),
        ("beta-users", "org", "user-123", False),
        ("beta-users", "device", "user-123", False),
        ("native-list", "user", "n1", True),
        ("native-list", "user", "n2", False),
        ("native-list", "anonymous", "n1", False),
        ("native-rule", "user", "n7", True),
        ("native-rule", "user", "m", False),
        ("seg-pro", "user", "pro", False),
        ("seg-not-pro", "user", "u1", False),
        ("seg-anyone", "user", "u1", True),
    ],
)
def test_membership_of_a_bare_context(
    server: Running, segment: str, context_type: str, key: str, member: bool
) -> None:
    pair = {"segment_key": segment, "context_type": context_type, "context_key": key}
    answer = ask(server, "/segments/list-check", pair)
    assert (answer.status, answer.json()) == (200, {"is_member": member})
    for path in ("/segments/batch-list-check", "/segments/list-check/batch"):
        for document in ([pair, PAIR], {"checks": [pair, PAIR]}, {"pairs": [pair, PAIR], "version": 1}):
            batch = ask(server, path, document)
            assert (batch.status, batch.json()) == (200, [{"is_member": member}, {"is_member": True}])


def test_empty_batch_of_pairs_is_an_empty_answer(server: Running) -> None:
    assert ask(server, "/segments/batch-list-check", []).body == b"[]"
    assert ask(server, "/segments/batch-list-check", {"checks": []}).body == b"[]"


@pytest.mark.parametrize("document", [{}, {"a": 1}, {"a": [], "b": []}, "text", 5, None, [PAIR, 5], [[PAIR]]])
def test_batch_of_another_shape_is_refused(server: Running, document: Any) -> None:
    answer = ask(server, "/segments/batch-list-check", body=json.dumps(document).encode())
    refused(answer, 400, "INVALID_ARGUMENT")


def test_unknown_segment_fails_one_check_and_the_whole_batch(server: Running) -> None:
    unknown = PAIR | {"segment_key": "nobody"}
    assert (
        refused(ask(server, "/segments/list-check", unknown), 404, "NOT_FOUND") == "segment not found: nobody"
    )
    for path in ("/segments/batch-list-check", "/segments/list-check/batch"):
        refused(ask(server, path, [PAIR, unknown]), 404, "NOT_FOUND")
        refused(ask(server, path, {"checks": [unknown, PAIR]}), 404, "NOT_FOUND")


def test_two_thousand_pairs_are_answered_in_order(server: Running) -> None:
    pairs = [PAIR | {"context_key": "user-123" if n % 3 else f"u{n}"} for n in range(2000)]
    found = ask(server, "/segments/batch-list-check", pairs).json()
    assert found == [{"is_member": bool(n % 3)} for n in range(2000)]


def test_list_changed_by_command_counts_at_the_next_request(server: Running, data: Path) -> None:
    pair = PAIR | {"context_key": "newcomer"}
    assert ask(server, "/segments/list-check", pair).json() == {"is_member": False}
    changed = ["--data", str(data), "env_one", "beta-users", "newcomer", "--type", "user"]
    assert run(["lists", "add", *changed]).returncode == 0
    assert all(ask(server, "/segments/list-check", pair).json() == {"is_member": True} for _ in range(10))
    assert evaluate(server, "for-beta", context_key="newcomer").json()["variant_key"] == "on"
    assert run(["lists", "remove", *changed]).returncode == 0
    assert all(ask(server, "/segments/list-check", pair).json() == {"is_member": False} for _ in range(10))
