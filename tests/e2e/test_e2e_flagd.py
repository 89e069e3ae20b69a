"""flagd's evaluator kit by the published OpenFeature provider against a real server.

What the kit expects of an answer without a value the provider makes an error of, with the caller's default:
docs/apis/ofrep.md says so under "Values".
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext

from tests.e2e.server import Running, start
from tests.golden.flagd_kit import FLAGS, Scenario, scenarios, typed

ENVIRONMENT = "kit"
ASKED = {"Boolean": "boolean", "String": "string", "Integer": "integer", "Float": "float", "Object": "object"}
WITHOUT_VALUE = frozenset({"DISABLED", "DEFAULT"})


def fanion(*arguments: str) -> str:
    command = [sys.executable, "-m", "fanion", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The kit's file is published as it is, and its key made by command."""
    data = tmp_path_factory.mktemp("flagd") / "data"
    fanion("publish", str(FLAGS), "--environment", ENVIRONMENT, "--data", str(data))
    raw = fanion("keys", "create", ENVIRONMENT, "--data", str(data)).split()[0]
    running: Running = start(data.with_name("log"), "--ack", "buffered", data=data)
    provider = OFREPProvider(
        f"http://127.0.0.1:{running.port}", headers_factory=lambda: {"Authorization": f"Bearer {raw}"}
    )
    api.set_provider(provider, domain="flagd-kit")
    yield api.get_client(domain="flagd-kit")
    api.clear_providers()
    assert running.stop() == 0


@pytest.mark.parametrize("scenario", scenarios(), ids=lambda one: one.name)
def test_a_provider_sees_what_the_kit_expects(client: Any, scenario: Scenario) -> None:
    attributes: dict[str, Any] = {}
    targeting_key, kind, key, fallback, found = None, "", "", "", None
    for step in scenario.steps:
        match step.name, step.values:
            case "flag", (kind, key, fallback):
                pass
            case "attribute", (name, type_name, text):
                attributes[name] = typed(type_name, text)
            case "targeting", (targeting_key,):
                pass
            case "nested", (outer, inner, text):
                attributes[outer] = {inner: text}
            case "evaluated", ():
                ask = getattr(client, f"get_{ASKED[kind]}_details")
                found = ask(key, typed(kind, fallback), EvaluationContext(targeting_key, attributes))
            case "value", (text,):
                assert found.value == typed(kind, text)
                assert type(found.value) is type(typed(kind, text))
            case "reason", (text,):
                told = "ERROR" if found.variant is None and text in WITHOUT_VALUE else text
                assert found.reason == told
            case "code", (text,):
                assert found.error_code == text
            case "metadata", ():
                for row in step.table:
                    assert found.flag_metadata[row["key"]] == typed(row["metadata_type"], row["value"])
            case "no metadata", ():
                assert found.flag_metadata == {"source": "flagd"}
