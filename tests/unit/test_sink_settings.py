"""Settings of sinks: off by default, their bounds, and secrets that no message shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanion.config.loading import load_config
from fanion.config.sinks import Sinks
from fanion.dialects import vocabulary
from fanion.errors import ConfigError
from fanion.sinks import KINDS, wanted


def config(**variables: str) -> Sinks:
    return load_config(
        vocabulary(), environ={f"FANION_SINKS_{k.upper()}": v for k, v in variables.items()}
    ).sinks


def test_no_sink_is_on_by_default_and_each_by_its_own_setting() -> None:
    assert wanted(Sinks()) == []
    given = {"parquet_url": "s3://bucket/p", "kafka_brokers": "a:1, b:2", "file_path": "x", "command": "cat"}
    assert wanted(config(**given)) == list(KINDS)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("parquet_url", "http://bucket", "allowed: s3://BUCKET"),
        ("parquet_endpoint", "http://user:pass@host", "without a path or a user"),
        ("parquet_access_key", "a", "together"),
        ("kafka_brokers", "host", "HOST:PORT"),
        ("kafka_brokers", ",", "HOST:PORT"),
        ("kafka_brokers", "user:pass@host:9092", "has one with an @, which is not shown"),
        ("parquet_url", "s3://key:pass@bucket", "is one with an @, which is not shown"),
        ("command", "  ", "names no program"),
        ("kafka_topic", "a b", "letters, digits"),
        ("kafka_topic", "..", "letters, digits"),
        ("kafka_security", "sasl_ssl", "needs kafka_user"),
        ("command", "a 'b", "can't be read"),
        ("hold_hours", "0.009", ">= 0.01"),
        ("hold_share", "0.91", "<= 0.9"),
        ("interval_s", "0.04", ">= 0.05"),
        ("parquet_interval_s", "3601", "<= 3600"),
        ("timeout_s", "301", "<= 300"),
        ("again_s_max", "0.04", ">= 0.05"),
        ("kafka_row_bytes_max", "1023", ">= 1024"),
    ],
)
def test_a_setting_beyond_its_bounds_is_refused(name: str, value: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(**{name: value})


def test_a_setting_at_its_bounds_is_taken() -> None:
    low = config(hold_hours="0.01", hold_share="0.001", interval_s="0.05", kafka_row_bytes_max="1024")
    high = config(
        hold_hours="1000000", hold_share="0.9", interval_s="3600", kafka_row_bytes_max=str(64 << 20)
    )
    assert (low.hold_hours, high.hold_share) == (0.01, 0.9)


def test_a_secret_is_in_no_message(tmp_path: Path) -> None:
    path = tmp_path / "fanion.toml"
    for name in ("parquet_secret_key", "kafka_password"):
        path.write_text(f"[sinks]\n{name} = 12345678\n")
        with pytest.raises(ConfigError, match="a secret, which is not shown") as caught:
            load_config(vocabulary(), file=path, environ={})
        assert "12345678" not in str(caught.value)
        with pytest.raises(ConfigError, match="UTF-8") as caught:
            config(**{name: "abc\udc80def"})
        assert "abc" not in str(caught.value)
