"""Settings: which source wins, and that nothing wrong is taken silently."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fanion.config import Config
from fanion.config.loading import FILE_BYTES_MAX, find_file, load_config, settings
from fanion.dialects import vocabulary
from fanion.dialects.feather.settings import FeatherSettings
from fanion.dialects.redpennon.settings import RedPennonSettings
from fanion.errors import ConfigError
from fanion.model.vocabulary import Vocabulary

DEFAULTS = Config(own=tuple(struct() for _, struct in vocabulary().settings))


def write_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fanion.toml"
    path.write_text(text)
    return path


def test_defaults_hold_without_any_source() -> None:
    assert load_config(vocabulary(), environ={}) == DEFAULTS


def test_flag_wins_over_variable_wins_over_file(tmp_path: Path) -> None:
    file = write_file(tmp_path, "[server]\nport = 1\nworkers = 1\nbacklog = 1\n")
    config = load_config(
        vocabulary(),
        file=file,
        environ={"FANION_SERVER_PORT": "2", "FANION_SERVER_WORKERS": "2"},
        flags={"server.port": 3, "server.host": None},
    )
    assert (config.server.port, config.server.workers, config.server.backlog) == (3, 2, 1)
    assert config.server.host == DEFAULTS.server.host


def test_integer_in_the_file_is_taken_for_a_number(tmp_path: Path) -> None:
    config = load_config(vocabulary(), file=write_file(tmp_path, "[store]\ntick_s = 2\n"), environ={})
    assert config.store.tick_s == 2.0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sever]\nport = 1", "did you mean server"),
        ("[server]\nprot = 1", "did you mean server.port"),
        ("[server]\nport = 65536", "allowed: integer, >= 0 and <= 65535"),
        ("[server]\nport = true", "server.port is True"),
        ("[server]\nport = 1.5", "server.port is 1.5"),
        ("[server]\nport = [1]", "one plain value"),
        ("server = 1", "must be a table"),
        ("[server", "not TOML"),
        ('[journal]\nack = "maybe"', "durable | buffered | replicated"),
        ('[journal]\nack = "replicated"', 'journal.ack is "replicated", which needs shipping.url'),
        ("[limiter]\nslots = 1025", "power of two"),
        ("[limiter]\nmachines = 0", "limiter.machines is 0; allowed: integer, >= 1 and <= 10000"),
        ('[pipeline]\nurl = "nats://u:p@host/s"', "pipeline.url has an @"),
        ("[store]\nmap_bytes = 1048577", "multiple of 4096"),
        ("[limits]\nbody_timeout_s = 1", "ends a body first"),
        ("[redpennon]\nburst = -1", "redpennon.burst is -1; allowed: integer, >= 0 and <= 1000000000"),
        ("[redpenon]\nburst = 1", "did you mean redpennon"),
        ("[limiter]\nfeather_rate_per_s = -1", "limiter.feather_rate_per_s is -1; allowed: number, >= 0"),
        ("[limiter]\nfeather_bust = 1", "did you mean limiter.feather_burst"),
        ("[own]\nx = 1", "unknown group [own]"),
        ("a = " + "[" * 5_000, "nested too deeply"),
        ("[server]\nport = " + "9" * 5_000, "not TOML"),
        ("#" * ((1 << 20) + 1), "larger than 1048576 bytes"),
    ],
)
def test_wrong_file_is_refused_and_the_place_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(vocabulary(), file=write_file(tmp_path, text), environ={})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("FANION_SERVER_PORT", "http", "FANION_SERVER_PORT: server.port is 'http'"),
        ("FANION_SERVER_PROT", "1", "did you mean FANION_SERVER_PORT"),
        ("FANION_JOURNAL_ACK", "none", "durable | buffered | replicated"),
        ("FANION_JOURNAL_ACK", "replicated", "needs shipping.url"),
        (
            "FANION_SERVER_PORT",
            "\udcff",
            "server.port is '\\udcff'; allowed: integer, >= 0 and <= 65535, in UTF-8",
        ),
        ("FANION_SERVER_HOST", "a\udcff", "server.host is 'a\\udcff'; allowed: text, in UTF-8"),
    ],
)
def test_wrong_variable_is_refused_by_name(variable: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(vocabulary(), environ={variable: text})
    assert said in str(caught.value)


def test_variables_of_the_orchestrator_and_the_build_are_not_settings() -> None:
    environ = {
        "FANION_PORT": "tcp://10.0.0.1:80",
        "FANION_SERVICE_HOST": "10.0.0.1",
        "FANION_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "FANION_DEBUG": "1",
        "FANION_CONFIG": "/etc/fanion.toml",
    }
    assert load_config(vocabulary(), environ=environ) == DEFAULTS


def test_listed_settings_are_a_file_of_the_defaults(tmp_path: Path) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "fanion", "serve", "--settings"], capture_output=True, text=True, check=True
    ).stdout
    assert load_config(vocabulary(), file=write_file(tmp_path, listed), environ={}) == DEFAULTS
    assert all(setting.variable in listed for setting in settings(vocabulary()))


def test_settings_of_dialects_reach_their_own_structs_beside_those_of_a_shared_group(tmp_path: Path) -> None:
    file = write_file(tmp_path, "[limiter]\nslots = 2048\nfeather_burst = 7\n[redpennon]\nburst = 8\n")
    config = load_config(vocabulary(), file=file, environ={"FANION_REDPENNON_TRACE_TTL_S": "9"})
    assert config.limiter.slots == 2048
    assert config.of(FeatherSettings) == FeatherSettings(feather_burst=7)
    assert config.of(RedPennonSettings) == RedPennonSettings(burst=8, trace_ttl_s=9)
    assert Config().of(FeatherSettings) == FeatherSettings()


def test_no_dialect_has_a_setting_that_is_there_already() -> None:
    fields = [
        f"{group}.{name}" for group, struct in vocabulary().settings for name in struct.__struct_fields__
    ]
    server = [setting.name for setting in settings(Vocabulary(()))]
    assert len(settings(vocabulary())) == len({*fields, *server}) == len(fields) + len(server)


def test_unknown_flag_is_refused() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        load_config(vocabulary(), environ={}, flags={"server.prot": 1})


def test_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="can't be read"):
        load_config(vocabulary(), file=tmp_path / "none.toml", environ={})


def test_device_without_an_end_is_no_file_of_settings() -> None:
    with pytest.raises(ConfigError, match="/dev/zero: can't be read: a device, not a plain file"):
        load_config(vocabulary(), file=Path("/dev/zero"), environ={})


def test_what_is_much_larger_is_no_file_of_settings(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than"):
        load_config(vocabulary(), file=write_file(tmp_path, "#" * (FILE_BYTES_MAX + 1)), environ={})


def test_file_is_named_by_variable_or_lies_in_the_data_directory(tmp_path: Path) -> None:
    assert find_file(tmp_path, {}) is None
    assert find_file(None, {"FANION_CONFIG": "/etc/f.toml"}) == Path("/etc/f.toml")
    assert find_file(write_file(tmp_path, "").parent, {}) == tmp_path / "fanion.toml"


def test_another_users_directory_is_left_to_whoever_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "lstat", refuse)
    assert find_file(tmp_path, {}) is None


def test_what_is_in_the_place_of_the_settings_and_no_file_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "fanion.toml").symlink_to(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"fanion\.toml: can't be read: No such file"):
        load_config(vocabulary(), file=find_file(tmp_path, {}), environ={})


def test_every_setting_is_listed_with_help_and_a_default() -> None:
    listed = settings(vocabulary())
    assert all(setting.help for setting in listed)
    assert len({setting.variable for setting in listed}) == len(listed)
    for setting in listed:
        group, _, field = setting.name.partition(".")
        own = [struct() for named, struct in vocabulary().settings if named == group]
        found = [getattr(one, field) for one in (getattr(Config(), group, None), *own) if hasattr(one, field)]
        assert found == [setting.default]


def links_of(service: str) -> dict[str, str]:
    """What Kubernetes puts into every pod of a namespace for a service with a named and an unnamed port."""
    name = service.upper().replace("-", "_")
    links = {
        f"{name}_SERVICE_HOST": "10.0.0.1",
        f"{name}_SERVICE_PORT": "80",
        f"{name}_SERVICE_PORT_HTTP": "80",
        f"{name}_PORT": "tcp://10.0.0.1:80",
    }
    for protocol in ("TCP", "UDP"):
        port = f"{name}_PORT_80_{protocol}"
        links[port] = f"{protocol.lower()}://10.0.0.1:80"
        links |= {f"{port}_PROTO": protocol.lower(), f"{port}_PORT": "80", f"{port}_ADDR": "10.0.0.1"}
    return links


@pytest.mark.parametrize(
    "service", ["fanion", "fanion-server", "fanion-server-operations", "fanion-journal", "fanion-0"]
)
def test_variables_of_a_service_of_the_cluster_are_none_of_ours(service: str) -> None:
    links = links_of(service)
    assert load_config(vocabulary(), environ=links) == DEFAULTS
    assert load_config(vocabulary(), environ={**links, "FANION_SERVER_PORT": "8081"}).server.port == 8081


@pytest.mark.parametrize(
    "variable", ["FANION_PORT", "FANION_SERVICE", "FANION_SERVER_SERVICE", "FANION_PORT_8080"]
)
def test_variable_that_only_looks_like_one_of_a_service_is_refused(variable: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        load_config(vocabulary(), environ={variable: "8080"})


def test_answers_may_wait_for_a_stream_that_is_named() -> None:
    variables = {"FANION_JOURNAL_ACK": "replicated", "FANION_SHIPPING_URL": "nats://host/events"}
    assert load_config(vocabulary(), environ=variables).journal.ack == "replicated"
    with pytest.raises(ConfigError, match=r"needs shipping\.url"):
        load_config(vocabulary(), environ={}, flags={"journal.ack": "replicated"})
