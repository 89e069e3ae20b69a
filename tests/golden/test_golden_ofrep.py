"""OFREP's golden cases: a request for each rule of docs/apis/ofrep.md, and its whole answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.http_standins import Caller
from tests.unit.ofrep_schema import BULK, SINGLE, check_answer
from tests.unit.ofrep_world import FOLDER, make_caller

CASES: list[dict[str, Any]] = json.loads((FOLDER / "cases.json").read_text())
KEYS = {"server": "ofrep_server_key", "client": "ofrep_client_key", "ordered": "ofrep_ordered_key"}


@pytest.fixture(scope="module")
def caller() -> Caller:
    return make_caller()


def body_of(case: dict[str, Any]) -> bytes:
    if "text" in case:
        text: str = case["text"]
        return text.encode()
    return json.dumps({"context": case["context"]}).encode() if "context" in case else b""


@pytest.mark.parametrize("case", CASES, ids=[case["rule"] for case in CASES])
def test_the_answer_is_as_the_rule_has_it(caller: Caller, case: dict[str, Any]) -> None:
    path = "/ofrep/v1/evaluate/flags" + (f"/{case['key']}" if "key" in case else "")
    answer = caller.call("POST", path, body_of(case), key=KEYS[case.get("as", "server")].encode())
    found = json.loads(answer.body)
    check_answer(SINGLE if "key" in case else BULK, answer.status, answer.headers, found)
    if "only" in case:  # of all flags, these
        found = [one for one in found["flags"] if one["key"] in case["only"]]
    assert (answer.status, found) == (case["status"], case["answer"])
    assert json.dumps(found) == json.dumps(case["answer"]), "1 and 1.0 are two types here"
