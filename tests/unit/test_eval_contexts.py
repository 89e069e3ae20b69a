"""`fanion eval` asks each source's flags in the shape of context that they read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from fanion import app, definitions
from fanion.cli.eval_ import command
from fanion.config import Config, Store
from fanion.dialects import vocabulary
from fanion.errors import ConfigError, StoreError


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world") / "data"
    app.publish(
        folder, definitions.load([definitions.DEMO], vocabulary()), Config(store=Store(map_bytes=16 * 2**20))
    )
    return folder


def answer(data: Path, context: str, flag: str = "my-flag", environment: str = "env_01hx") -> str:
    arguments = ["--data", str(data), environment, flag, context]
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


TYPED = '{"contexts":[{"type":"user","key":"user-123","attributes":{"plan":"pro"}}]}'


@pytest.mark.parametrize(
    "context",
    [
        '{"userId":"user-123","plan":"pro"}',
        '{"targetingKey":"user-123","plan":"pro"}',
        '{"targetingKey":"user-123","attributes":{"plan":"pro"}}',
    ],
)
def test_a_flat_context_is_the_one_context_of_a_stitchd_flag(data: Path, context: str) -> None:
    assert answer(data, context) == answer(data, TYPED)
    assert '"variant_key":"treatment"' in answer(data, TYPED)


@pytest.mark.parametrize(
    "context", ["{}", '{"plan":"pro"}', '{"attributes":{"plan":"pro"}}', '{"userId":null}']
)
def test_a_context_without_a_key_is_told_what_a_stitchd_flag_wants(data: Path, context: str) -> None:
    with pytest.raises(ConfigError, match=r"asks a context of type 'user'.*targetingKey or userId.*contexts"):
        answer(data, context)


@pytest.mark.parametrize(
    ("flag", "environment", "name"),
    [
        ("checkout-copy", "env_01hx", "userId"),
        ("checkout-flow", "env_01hx", "id"),
        ("checkout.button.color", "org_acme/proj_marketplace/production", "userId"),
    ],
)
def test_a_targeting_key_is_who_the_source_asks_for(
    data: Path, flag: str, environment: str, name: str
) -> None:
    """As through OFREP, from whose documents people bring their contexts."""

    def asked(context: dict[str, str]) -> str:  # traces are of whom an API's own members name
        return re.sub(r'"evaluation_trace":[^}]*', "", answer(data, json.dumps(context), flag, environment))

    found = asked({"targetingKey": "user_789"})
    assert found == asked({name: "user_789"})
    assert found != asked({})


def test_a_flag_that_isnt_there_is_told_the_one_that_was_meant(data: Path) -> None:
    with pytest.raises(StoreError, match="no API serves a flag 'new-chekout'; did you mean new-checkout"):
        answer(data, "{}", "new-chekout")


def test_flags_of_other_sources_need_no_key(data: Path) -> None:
    assert '"value":2,"reason":"DEFAULT"' in answer(data, "{}", "pricing-rounding")


def test_text_that_was_cut_inside_an_emoji_is_read_as_the_server_reads_it(data: Path) -> None:
    cut, meant = (answer(data, text) for text in (r'{"userId":"\ud83d"}', r'{"userId":"\ufffd"}'))
    assert cut == meant


@pytest.mark.parametrize("member", ["id", "email"])
@pytest.mark.parametrize(
    ("number", "text"), [("123", "123"), ("1.5", "1.5"), ("1e21", "1e+21"), ("-0.0", "0")]
)
def test_a_numeric_name_of_a_red_pennon_user_is_its_text_as_over_the_wire(
    data: Path, member: str, number: str, text: str
) -> None:
    asked = answer(data, f'{{"{member}": {number}}}', "checkout-flow")
    assert asked == answer(data, f'{{"{member}": "{text}"}}', "checkout-flow")
    assert "rpe_v1:" in asked


@pytest.mark.parametrize("found", ["true", "[1]", "{}"])
def test_a_name_that_a_red_pennon_request_is_refused_for_is_refused(data: Path, found: str) -> None:
    with pytest.raises(ConfigError, match=r'CONTEXT_JSON: "id" is .*; a text or a number is allowed'):
        answer(data, f'{{"id": {found}}}', "checkout-flow")
