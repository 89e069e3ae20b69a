"""Every OpenAPI document against a real server: schemathesis makes requests of it, right ones and wrong ones,
and holds the answers to it. No answer may be of 5xx, and none in another shape than the document says.

Each API is asked below its own name, where no path is shared. What an API's own rules take out of a check stands
with its reason in `schemathesis/<api>.toml`. `--rounds full`: of every API, and beside random requests every bound
and every kind of mistake that the document has. `OPENAPI_EXAMPLES`: how many of them an operation gets;
`OPENAPI_SEED`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fanion.definitions import DEMO
from tests.e2e.server import Running, publish, run, start
from tests.rounds import FULL, rounds

ROOT = Path(__file__).parents[2]
DOCUMENTS = ROOT / "docs" / "apis"
CONFIGURED = Path(__file__).with_name("schemathesis")
EXAMPLES = rounds(1, 10, "OPENAPI_EXAMPLES")
PHASES = "examples,coverage,fuzzing" if FULL in os.environ else "examples,fuzzing"
SEED = os.environ.get("OPENAPI_SEED", "1")
KEYS = {
    "feather": "Authorization: Bearer sk_demo_server",
    "redpennon": "X-API-Key: 00000000-0000-0000-0000-000000000000",
    "traffical": "Authorization: Bearer traffical_sk_demo",
    "stitchd": "x-sdk-key: sdk_live_demo",
    "ofrep": "Authorization: Bearer ofrep_demo_server",
}
"""The demo's; the neutral API's is made, as the demo has none that reads results."""
APIS = [
    *(pytest.param(api, marks=pytest.mark.heavy) for api in (*KEYS, "neutral") if api != "ofrep"),
    "ofrep",
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, dict[str, str]]]:
    folder = tmp_path_factory.mktemp("openapi")
    publish(folder / "data", DEMO)
    made = run(["keys", "create", "env_01hx", "--data", str(folder / "data"), "--dialect", "neutral"])
    assert made.returncode == 0, made.stderr
    environment = {"FANION_PIPELINE_ENABLED": "true"}
    running = start(folder / "log", "--workers", "1", data=folder / "data", environment=environment)
    yield running, {**KEYS, "neutral": f"Authorization: Bearer {made.stdout.strip()}"}
    assert running.stop() == 0
    assert '"level":"error"' not in running.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("api", APIS)
def test_every_answer_is_as_the_document_says(
    served: tuple[Running, dict[str, str]], tmp_path: Path, api: str
) -> None:
    running, keys = served
    own = CONFIGURED / f"{api}.toml"
    command = [
        *(sys.executable, "-m", "schemathesis.cli"),
        *(("--config-file", str(own)) if own.exists() else ()),
        *("run", str(DOCUMENTS / f"{api}.openapi.json"), "--url", f"http://127.0.0.1:{running.port}/{api}"),
        *("--header", keys[api], "--phases", PHASES, "--max-examples", str(EXAMPLES), "--seed", SEED),
        *("--generation-database", "none", "--continue-on-failure", "--no-color"),
        *("--request-timeout", "60", "--suppress-health-check", "too_slow"),  # no fault of an answer
    ]
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.e2e.schemathesis.hooks",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=1_100, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
