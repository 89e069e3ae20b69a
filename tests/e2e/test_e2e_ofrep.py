"""The published OpenFeature providers against a real server: five types, errors, and each trap that they set.

The traps, and where each is a test: here for Python and JavaScript on a server, in `test_e2e_ofrep_browser.py` (B)
for browsers, in `test_e2e_ofrep_streams.py` (S).

- a success without a variant: `..._always_has_a_variant...`, `..._is_the_caller_s_default_by_an_error` (B too)
- a reason that the SDK doesn't know: `..._always_has_a_variant_and_a_reason...`
- an error without details: `..._arrives_with_its_own_code` (B too)
- a float that is written as a whole number: `..._whose_value_is_whole_is_a_float`
- a value of another type: `..._types_are_kept_apart` (B too); but a boolean passes for an integer in Python
- a key that isn't encoded: `..._is_served_to_who_encodes_it` (B: read)
- a tag that is sent after the context changed: B `..._is_answered_anew_though...`
- no polling: B and S `..._without_polling`
- `Retry-After`: `..._pauses_the_provider_until_its_time` (B too)
- 401 and 403: `..._are_told_apart`; B `..._ends_the_provider`, `..._goes_on_after_a_key_was_revoked...`
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, GeneralError, OpenFeatureError
from openfeature.flag_evaluation import Reason

from fanion.store.list_writer import ListWriter
from fanion.store.store import Store
from tests.e2e.server import Running, publish, start, wait_until
from tests.unit.ofrep_schema import BULK, check_answer, check_request
from tests.unit.ofrep_world import CLIENT, FLAGS, FOLDER, SERVER

WORLD = FOLDER / "world.yaml"
USER = EvaluationContext("user-1")
SMALL = "ofrep_small_key"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = tmp_path_factory.mktemp("ofrep") / "data"
    publish(data, WORLD)
    running = start(data.with_name("log"), "--workers", "2", "--ack", "buffered", data=data)
    yield running
    assert running.stop() == 0


def make_provider(running: Running, key: str = SERVER, mount: str = "", header: str = "") -> OFREPProvider:
    headers = {header: key} if header else {"Authorization": f"Bearer {key}"}
    return OFREPProvider(f"http://127.0.0.1:{running.port}{mount}", headers_factory=lambda: headers)


def publish_small(folder: Path, keys: list[str], **members: Any) -> Path:
    """The data directory of one environment, which SMALL opens: its flags have these keys, which are their values.
    `members`: of its organisation."""
    flags = {key: {"state": "ENABLED", "variants": {"one": key}, "defaultVariant": "one"} for key in keys}
    (folder / "flags.json").write_text(json.dumps({"flags": flags}))
    source = {"format": "flagd", "path": "flags.json"}
    environment = {"id": "env", "keys": [{"key": SMALL}], "sources": [source]}
    organisation = {"projects": {"p": {"environments": {"p": environment}}}, **members}
    (folder / "world.json").write_text(json.dumps({"fanion": 1, "organisations": {"org": organisation}}))
    publish(folder / "data", folder / "world.json")
    return folder / "data"


@pytest.fixture
def provider(server: Running) -> Iterator[OFREPProvider]:
    made = make_provider(server)
    yield made
    made.session.close()


def client_of(provider: OFREPProvider) -> OpenFeatureClient:
    """The SDK's client, which makes answers of whatever its provider raises."""
    api.set_provider(provider, "tests")
    return api.get_client("tests")


# -- what works


@pytest.mark.parametrize(("mount", "header"), [("", ""), ("/ofrep", ""), ("", "X-API-Key")])
def test_a_provider_reads_flags_by_either_header_and_below_the_mount(
    server: Running, mount: str, header: str
) -> None:
    provider = make_provider(server, mount=mount, header=header)
    details = provider.resolve_boolean_details("plain", False, USER)
    assert (details.value, details.reason, details.variant) == (True, Reason.STATIC, "on")
    assert details.flag_metadata == {"source": "native"}
    provider.session.close()


def test_five_types_arrive_as_they_are(provider: OFREPProvider) -> None:
    assert provider.resolve_boolean_details("plain", False, USER).value is True
    assert provider.resolve_string_details("country", "", USER).value == "rest"
    assert provider.resolve_integer_details("count", 0, USER).value == 1
    assert provider.resolve_float_details("price", 0.0, USER).value == 1.0
    settings = provider.resolve_object_details("settings", {}, USER).value
    assert settings == {"colour": "red", "sizes": [1, 2.5], "nested": {"on": True}}
    assert provider.resolve_object_details("colours", [], USER).value == ["red", "green"]


@pytest.mark.parametrize(
    ("key", "attributes", "value", "reason"),
    [
        ("country", {"country": "DE"}, "home", Reason.TARGETING_MATCH),
        ("country", {}, "rest", Reason.DEFAULT),
        ("half", {}, "b", Reason.SPLIT),
        ("off", {}, "sleeping", Reason.DISABLED),
        ("feather:shared", {}, "feather", Reason.STATIC),
        ("redpennon:shared", {}, "red", Reason.STATIC),
        ("r-flow", {"email": "e@a.example", "plan": "pro"}, "A", Reason.TARGETING_MATCH),
        ("t.colour", {}, "#111", Reason.SPLIT),
        ("s-org", {"organisation": {"key": "acme", "seats": 101}}, "BIG", Reason.TARGETING_MATCH),
        ("s-off", {}, "X", Reason.DISABLED),
    ],
)
def test_flags_of_every_source_are_read(
    provider: OFREPProvider, key: str, attributes: dict[str, Any], value: str, reason: Reason
) -> None:
    details = provider.resolve_string_details(key, "", EvaluationContext("user-1", attributes))
    assert (details.value, details.reason) == (value, reason)


# -- traps


def failure(ask: Callable[[], Any]) -> ErrorCode:
    with pytest.raises(OpenFeatureError) as caught:
        ask()
    return caught.value.error_code


def test_an_answer_with_a_value_always_has_a_variant_and_a_reason_that_the_sdk_knows(
    server: Running, provider: OFREPProvider
) -> None:
    """The provider makes GENERAL errors of a success without a variant and of an unknown reason."""
    known = {"STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "CACHED", "DISABLED", "UNKNOWN", "STALE"}
    assert known <= {reason.value for reason in Reason}
    for targeting_key in ("user-1", "user-2", "pinned"):
        document = {"context": {"targetingKey": targeting_key, "plan": "pro", "country": "FR"}}
        for flag in server.ask("POST", FLAGS, document, key=SERVER).json()["flags"]:
            if "errorCode" not in flag:
                assert flag["reason"] in known
                assert ("value" in flag) == ("variant" in flag)


def test_a_flag_without_a_value_is_the_caller_s_default_by_an_error(
    server: Running, provider: OFREPProvider
) -> None:
    """Nothing can be sent that this provider takes: see docs/apis/ofrep.md: Values."""
    answer = server.ask("POST", f"{FLAGS}/r-gone", {"context": {}}, key=SERVER)
    assert answer.json() == {
        "key": "r-gone",
        "reason": "DISABLED",
        "metadata": {"source": "redpennon", "group": "gone"},
    }
    with pytest.raises(KeyError, match="variant"):
        provider.resolve_boolean_details("r-gone", False, USER)
    details = client_of(provider).get_boolean_details("r-gone", True, USER)
    assert (details.value, details.reason, details.error_code) == (True, Reason.ERROR, ErrorCode.GENERAL)


@pytest.mark.parametrize(
    ("key", "context", "code"),
    [
        ("half", EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING),
        ("s-paid", EvaluationContext(attributes={"plan": "pro"}), ErrorCode.TARGETING_KEY_MISSING),
        ("plain", EvaluationContext(attributes={"targetingKey": 1}), ErrorCode.INVALID_CONTEXT),
        ("shared", USER, ErrorCode.GENERAL),
        ("f-broken", USER, ErrorCode.GENERAL),
        ("nothing", USER, ErrorCode.FLAG_NOT_FOUND),
        ("feather:plain", USER, ErrorCode.FLAG_NOT_FOUND),
    ],
)
def test_an_error_arrives_with_its_own_code(
    provider: OFREPProvider, key: str, context: EvaluationContext, code: ErrorCode
) -> None:
    """Without `errorDetails` it would arrive as GENERAL."""
    assert failure(lambda: provider.resolve_boolean_details(key, False, context)) is code


@pytest.mark.parametrize(
    ("method", "key", "default"),
    [
        ("resolve_float_details", "price", 0.0),
        ("resolve_float_details", "r-limit", 0.0),
        ("resolve_float_details", "t.size", 0.0),
        ("resolve_float_details", "s-double", 0.0),
    ],
)
def test_a_float_flag_whose_value_is_whole_is_a_float(
    provider: OFREPProvider, method: str, key: str, default: Any
) -> None:
    details = getattr(provider, method)(key, default, USER)
    assert (details.value, type(details.value)) == (1.0, float)


@pytest.mark.parametrize(
    ("method", "key", "default"),
    [
        ("resolve_integer_details", "price", 0),
        ("resolve_float_details", "count", 0.0),
        ("resolve_integer_details", "country", 0),
        ("resolve_string_details", "count", ""),
        ("resolve_boolean_details", "count", False),
        ("resolve_object_details", "plain", {}),
    ],
)
def test_types_are_kept_apart(provider: OFREPProvider, method: str, key: str, default: Any) -> None:
    assert failure(lambda: getattr(provider, method)(key, default, USER)) is ErrorCode.TYPE_MISMATCH


def test_a_boolean_passes_for_an_integer_in_python(provider: OFREPProvider) -> None:
    """Whose booleans are integers: provider and client let it through, and no server knows what was asked for."""
    assert provider.resolve_integer_details("plain", 0, USER).value is True
    assert client_of(provider).get_integer_details("plain", 0, USER).error_code is None


def test_a_key_that_a_url_means_otherwise_is_served_to_who_encodes_it(
    tmp_path: Path, serve: Callable[..., Running]
) -> None:
    """This provider doesn't, and so asks for another flag: none, or the one before the sign."""
    keys = ["part", "what?", "part#2", "half%41"]
    running = serve("--workers", "1", data=publish_small(tmp_path, keys))
    provider = make_provider(running, SMALL)
    for key in keys:
        answer = running.ask("POST", f"{FLAGS}/{quote(key)}", {"context": {}}, key=SMALL)
        assert (answer.status, answer.json()["value"]) == (200, key)
    for key in ("what?", "half%41"):
        failed = failure(lambda key=key: provider.resolve_string_details(key, "", USER))
        assert failed is ErrorCode.FLAG_NOT_FOUND
    assert provider.resolve_string_details("part#2", "", USER).value == "part"
    provider.session.close()


def test_a_client_key_is_told_of_nothing_that_is_hidden(server: Running) -> None:
    provider = make_provider(server, CLIENT)
    failed = failure(lambda: provider.resolve_boolean_details("hidden", False, USER))
    assert failed is ErrorCode.FLAG_NOT_FOUND
    assert provider.resolve_boolean_details("plain", False, USER).value is True
    provider.session.close()


@pytest.mark.parametrize(("key", "said"), [("nobody's", "unauthorized"), ("ofrep_events_key", "forbidden")])
def test_keys_that_may_not_ask_are_told_apart(server: Running, key: str, said: str) -> None:
    provider = make_provider(server, key)
    with pytest.raises(OpenFeatureError, match=said):
        provider.resolve_boolean_details("plain", False, USER)
    provider.session.close()


@pytest.mark.heavy
def test_a_rate_pauses_the_provider_until_its_time(tmp_path: Path, serve: Callable[..., Running]) -> None:
    data = publish_small(tmp_path, ["a"], limits={"rate_per_s": 0.01, "burst": 1})
    provider = make_provider(serve("--workers", "1", data=data), SMALL)
    assert provider.resolve_string_details("a", "", USER).value == "a"
    with pytest.raises(GeneralError, match="Rate limited"):
        provider.resolve_string_details("a", "", USER)
    assert provider.retry_after is not None
    with pytest.raises(GeneralError, match="paused"):
        provider.resolve_string_details("a", "", USER)
    provider.session.close()


# -- all flags, polled


@pytest.mark.heavy
def test_polling_sees_304_until_something_changes(data: Path, serve: Callable[..., Running]) -> None:
    publish(data, WORLD)
    running = serve("--workers", "2", data=data)
    document = {"context": {"targetingKey": "user-beta"}}
    check_request(BULK, document)

    def poll(tag: str | None = None, key: str = SERVER) -> tuple[int, str, Any]:
        headers = {} if tag is None else {"If-None-Match": tag}
        answer = running.ask("POST", FLAGS, document, key=key, headers=headers)
        body = answer.json() if answer.body else None
        check_answer(BULK, answer.status, answer.headers, body)
        return answer.status, answer.headers["etag"], body

    def beta(body: Any) -> Any:
        return {flag["key"]: flag.get("value") for flag in body["flags"]}["in-beta"]

    _, tag, body = poll()
    assert beta(body) is True
    assert {poll(tag)[0] for _ in range(10)} == {304}, "every worker has the same tag"
    assert poll(tag, CLIENT)[0] == 200
    publish(data, WORLD)  # nothing of it is new
    assert poll(tag)[0] == 304
    with Store.open(data, write=True) as store:
        ListWriter(store.transactions).remove("env_ofrep", "org_ofrep/shop/beta/include", [b"user-beta"])
    wait_until(lambda: poll(tag)[0] == 200)
    _, later, body = poll(tag)
    assert beta(body) is False
    assert later != tag


# -- the JavaScript provider


def ask_in_node(running: Running, key: str, modules: str, questions: list[tuple[Any, ...]]) -> list[Any]:
    """Value, reason and error code of each (type, key, default, context), by the provider for JavaScript."""
    named = [dict(zip(("type", "key", "default", "context"), one, strict=True)) for one in questions]
    program = str(Path(__file__).with_name("ofrep_client.mjs"))
    done = subprocess.run(
        ["node", program, f"http://127.0.0.1:{running.port}", key],
        input=json.dumps(named),
        env={**os.environ, "NODE_MODULES": modules},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answers = json.loads(done.stdout)
    return [(one["value"], one["reason"], one.get("errorCode")) for one in answers]


def test_the_javascript_provider_reads_the_same(server: Running, node_modules: str) -> None:
    person = {"targetingKey": "user-1"}
    questions: list[tuple[Any, ...]] = [
        ("Boolean", "plain", False, person),
        ("String", "country", "", {**person, "country": "DE"}),
        ("Number", "count", 0, person),
        ("Number", "price", 0, person),
        ("Object", "settings", {}, person),
        ("Object", "colours", [], person),
        ("String", "off", "", person),
        ("String", "count", "mine", person),
        ("String", "t.what?", "", person),
        ("String", "half", "mine", {}),
        ("String", "shared", "mine", person),
        ("String", "nothing", "mine", person),
        ("Boolean", "plain", False, {"targetingKey": 1}),
        ("Boolean", "r-gone", True, person),
    ]
    assert ask_in_node(server, SERVER, node_modules, questions) == [
        (True, "STATIC", None),
        ("home", "TARGETING_MATCH", None),
        (1, "STATIC", None),
        (1, "DEFAULT", None),
        ({"colour": "red", "sizes": [1, 2.5], "nested": {"on": True}}, "STATIC", None),
        (["red", "green"], "STATIC", None),
        ("sleeping", "DISABLED", None),
        ("mine", "ERROR", "TYPE_MISMATCH"),
        ("", "ERROR", "FLAG_NOT_FOUND"),  # it doesn't encode the key either
        ("mine", "ERROR", "TARGETING_KEY_MISSING"),
        ("mine", "ERROR", "GENERAL"),
        ("mine", "ERROR", "FLAG_NOT_FOUND"),
        (False, "ERROR", "INVALID_CONTEXT"),
        (True, "ERROR", "GENERAL"),
    ]


@pytest.mark.heavy
def test_keys_that_may_not_ask_and_a_rate_are_errors_in_javascript(
    server: Running, node_modules: str, tmp_path: Path, serve: Callable[..., Running]
) -> None:
    for key in ("nobody's", "ofrep_events_key"):
        question = ("Boolean", "plain", False, {})
        assert ask_in_node(server, key, node_modules, [question]) == [(False, "ERROR", "GENERAL")]
    data = publish_small(tmp_path, ["a"], limits={"rate_per_s": 0.01, "burst": 1})
    running = serve("--workers", "1", data=data)
    assert ask_in_node(running, SMALL, node_modules, [("String", "a", "mine", {})] * 3) == [
        ("a", "STATIC", None),
        ("mine", "ERROR", "GENERAL"),
        ("mine", "ERROR", "GENERAL"),
    ]
