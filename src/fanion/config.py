"""Every setting and every limit, with its unit and its reason: one frozen `Config`. Long, as the list is.

Sources, weakest first: the defaults below, `fanion.toml`, environment variables, flags of the command line.
A setting `port` of the group `server` is `port` under `[server]` in the file, `FANION_SERVER_PORT` in the
environment and `server.port` in messages. `FANION_CONFIG` names the file; without it `fanion.toml` in the
data directory is read when there is one.

Invariants: a name that isn't a setting, a wrong type and a value out of range are a `ConfigError` that names
the place and what is allowed; nothing is guessed. `settings()` lists all of them for help and documentation.
This module imports nothing of ours but `errors`, so that every part can be handed its own group.
"""

from __future__ import annotations

import difflib
import functools
import ipaddress
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Meta

from fanion.errors import ConfigError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB

ENVIRONMENT_PREFIX = "FANION_"
ENVIRONMENT_OTHERS = frozenset(
    {"CONFIG", "DATA", "DEBUG", "SANITIZE", "TRACE", "ANNOTATE", "ONLY"},
)
"""FANION_ variables that are not settings: the file, the data directory, and the switches of the build."""

TYPE_NAMES: dict[object, str] = {str: "text", int: "integer", float: "number", bool: "true or false"}

SERVICE_VARIABLE = re.compile(
    r"FANION_(\w+_)?(SERVICE_(HOST|PORT(_\w+)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)", re.ASCII
)
SERVICE_PORT_VARIABLE = re.compile(r"FANION_(\w+_)?PORT", re.ASCII)
SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+", re.ASCII)
"""What Kubernetes puts into every pod for a service called `fanion` or `fanion-…`; never ours. The last of them
can have the name of a setting (`fanion-server`: FANION_SERVER_PORT), so its value counts."""


class Server(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sockets, workers and how they start and stop."""

    host: Annotated[str, Meta(min_length=1, description="address of the public API")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65_535, description="port of the public API; 0: a free one")] = 8080
    workers: Annotated[
        int,
        Meta(ge=0, le=256, description="worker processes; 0: one per core that the process may use"),
    ] = 0
    operations_host: Annotated[
        str,
        Meta(min_length=1, description="address of /healthz, /readyz, /metrics; whoever reaches it may ask"),
    ] = "127.0.0.1"
    operations_port: Annotated[
        int,
        Meta(ge=0, le=65_535, description="port of these three; 0: a free one"),
    ] = 8081
    trusted_proxies: Annotated[
        str,
        Meta(description="addresses and networks whose X-Forwarded-For names a key's source; empty: none"),
    ] = ""
    backlog: Annotated[
        int,
        Meta(ge=1, le=65_535, description="connections that the kernel queues, at most its somaxconn"),
    ] = 4096
    backpressure: Annotated[
        int,
        Meta(
            ge=1, le=1_000_000, description="connections a worker; counts idle and slow ones too, hence high"
        ),
    ] = 16_000
    header_timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=300, description="seconds for a request's head; idle connections close then too"),
    ] = 5.0
    write_timeout_s: Annotated[
        float,
        Meta(
            ge=1, le=3_600, description="seconds that a peer may take nothing of an answer; then it is reset"
        ),
    ] = 10.0
    header_buffer_bytes: Annotated[
        int,
        Meta(ge=8 * KIB, le=MIB, description="bytes a connection buffers; a longer head is 431"),
    ] = 64 * KIB
    respawn_interval_s: Annotated[
        float,
        Meta(ge=0.01, le=60, description="seconds before a worker that died is started again"),
    ] = 0.1
    heartbeat_timeout_s: Annotated[
        float,
        Meta(ge=2, le=3_600, description="seconds that a worker may stand still before it is killed"),
    ] = 4.0
    stop_timeout_s: Annotated[
        float,
        Meta(ge=0.1, le=300, description="seconds for requests in flight and the journal at SIGTERM"),
    ] = 4.0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one request may be. Beyond a limit the answer is that API's own 4xx, never a crash."""

    body_bytes_max: Annotated[
        int,
        Meta(ge=KIB, le=64 * MIB, description="bytes of an evaluation request's body, after decoding"),
    ] = MIB
    ingest_body_bytes_max: Annotated[
        int,
        Meta(ge=KIB, le=64 * MIB, description="bytes of an event batch's body, after decoding"),
    ] = 5 * MIB
    bodies_bytes_max: Annotated[
        int,
        Meta(ge=MIB, le=2**46, description="bytes of unfinished bodies that a worker holds; beyond, 503"),
    ] = 64 * MIB
    answers_bytes_max: Annotated[
        int,
        Meta(
            ge=MIB,
            le=2**46,
            description="bytes of answers above 64 KiB that a worker is sending; beyond, 503",
        ),
    ] = 64 * MIB
    body_chunk_timeout_s: Annotated[
        float,
        Meta(ge=0.05, le=300, description="seconds to wait for the next piece of a body; then 408"),
    ] = 2.0
    body_timeout_s: Annotated[
        float,
        Meta(ge=0.05, le=600, description="seconds for a whole body; then 408"),
    ] = 10.0
    json_depth_max: Annotated[
        int,
        Meta(ge=4, le=512, description="nesting; the decoder itself ends at about 1,000"),
    ] = 64
    json_keys_max: Annotated[
        int,
        Meta(ge=16, le=100_000, description="members of one object; 100,000 take 17 ms to read"),
    ] = 1_000
    json_string_bytes_max: Annotated[
        int,
        Meta(ge=256, le=MIB, description="bytes of one string in a context"),
    ] = 64 * KIB
    json_integer_digits_max: Annotated[
        int,
        Meta(ge=20, le=4_000, description="digits of one number; longer ones cost more than they can mean"),
    ] = 400
    json_tokens_max: Annotated[
        int,
        Meta(
            ge=1_024,
            le=1_000_000,
            description="names, values and brackets of one body; 65,536 take 5 ms. A number with an exponent from "
            "20 on counts as 16, from 100 on as 256",
        ),
    ] = 65_536
    ingest_json_tokens_max: Annotated[
        int,
        Meta(ge=1_024, le=10_000_000, description="the same of a batch of events, contexts or pairs"),
    ] = 400_000
    flags_per_request_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="flags of one bulk evaluation, repetitions counted"),
    ] = 100
    events_per_request_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="events of one telemetry batch"),
    ] = 100


class Limiter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Request rates, counted over all workers."""

    feather_rate_per_s: Annotated[
        float,
        Meta(ge=0, le=1e9, description="requests a second of one Feather key; 0: no limit"),
    ] = 0.0
    feather_burst: Annotated[
        int,
        Meta(
            ge=0, le=1_000_000_000, description="requests a Feather key may send at once; 0: a second's worth"
        ),
    ] = 0
    bad_keys_per_minute: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="unknown keys a minute and source that are looked for; 0: no limit",
        ),
    ] = 20
    slots: Annotated[
        int,
        Meta(ge=1_024, le=16_777_216, description="scopes counted at a time, 16 bytes each; a power of two"),
    ] = 65_536


class RedPennon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an organisation may do through Red Pennon's API where its definition doesn't say otherwise."""

    rate_per_s: Annotated[
        float,
        Meta(ge=0, le=1e9, description="requests a second of one organisation; 0: no limit"),
    ] = 0.0
    burst: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000_000,
            description="requests that an organisation may send at once; 0: a second's worth",
        ),
    ] = 0
    batch_keys_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="variables of one batch evaluation"),
    ] = 100
    batch_events_max: Annotated[
        int,
        Meta(ge=1, le=10_000, description="events of one batch"),
    ] = 1_000
    trace_ttl_s: Annotated[
        float,
        Meta(ge=1, le=86_400, description="seconds for which an evaluation's trace verifies an event"),
    ] = 300.0


class Store(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where bundles and keys are kept."""

    map_bytes: Annotated[
        int,
        Meta(
            ge=MIB,
            le=2**46,
            description="bytes the store may grow to; address space, not disk or memory. "
            "Stop every server of the directory before changing it",
        ),
    ] = 64 * GIB
    tick_s: Annotated[
        float,
        Meta(ge=0.05, le=60, description="seconds between looks at the committed generation, also when idle"),
    ] = 1.0
    key_cache_entries: Annotated[
        int,
        Meta(ge=16, le=10_000_000, description="API keys that a worker remembers for one generation"),
    ] = 65_536


class Journal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How events are kept; the journal's own figures stand in its settings."""

    ack: Annotated[
        Literal["durable", "buffered"],
        Meta(description="answer events once on disk (durable), or once no dead process loses them"),
    ] = "durable"
    ring_bytes: Annotated[
        int,
        Meta(
            ge=65_536, le=4 * GIB, description="bytes of each worker's ring; a record takes a quarter at most"
        ),
    ] = 32 * MIB
    segment_bytes: Annotated[
        int,
        Meta(ge=65_536, le=4 * GIB, description="bytes of a log segment made ready in advance"),
    ] = 64 * MIB
    sync_interval_ms: Annotated[
        float,
        Meta(ge=0, le=1_000, description="least time between two fdatasyncs; 0: as soon as data waits"),
    ] = 0.0
    reserve_bytes: Annotated[
        int,
        Meta(ge=0, le=2**46, description="bytes left free on the disk; events are refused before that"),
    ] = 256 * MIB
    retention_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="hours that events are kept once every reader is past; 0: for ever",
        ),
    ] = 7 * 24.0
    retention_bytes: Annotated[
        int,
        Meta(ge=0, le=2**60, description="bytes of log segments above which the oldest go; 0: no limit"),
    ] = 64 * GIB
    retention_forced: Annotated[
        bool,
        Meta(description="remove also what a registered reader has not passed yet"),
    ] = False
    clock_trust_hours: Annotated[
        float,
        Meta(
            ge=0,
            le=1_000_000,
            description="hours that a wall clock which jumped must stay so before events are deleted by it",
        ),
    ] = 24.0
    compress: Annotated[
        bool,
        Meta(description="compress finished log segments in the background"),
    ] = True
    event_ids: Annotated[
        int,
        Meta(
            ge=65_536,
            le=2**32,
            description="event ids remembered at least, 64 bytes each; older ones are taken again",
        ),
    ] = 4_194_304
    used_traces: Annotated[
        int,
        Meta(
            ge=65_536,
            le=2**32,
            description="used evaluation traces remembered at least, 64 bytes each; to cover their lifetime",
        ),
    ] = 1_048_576


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One JSON line an event, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="the least that is written"),
    ] = "info"


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings; each group goes to the part that it governs."""

    server: Server = Server()
    limits: Limits = Limits()
    limiter: Limiter = Limiter()
    redpennon: RedPennon = RedPennon()
    store: Store = Store()
    journal: Journal = Journal()
    log: Log = Log()


class Setting(NamedTuple):
    """One setting as help and README show it. `name` is `group.field`."""

    name: str
    variable: str
    type: str
    default: object
    allowed: str
    help: str


@functools.cache
def settings() -> tuple[Setting, ...]:
    """Every setting, in the order of the groups above."""
    return tuple(
        _describe(group, field, hint) for group, fields in _hints().items() for field, hint in fields.items()
    )


def load_config(
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """The settings in force.

    `file`: a TOML file that must exist (None: no file). `environ`: the environment (None: this process's).
    `flags`: `group.field` -> value; None values mean "not given". Raises ConfigError.
    """
    variables = os.environ if environ is None else environ
    values: dict[str, dict[str, object]] = {}
    if file is not None:
        _take_file(values, file)
    _take_environment(values, variables)
    for name, value in (flags or {}).items():
        if value is not None:
            group, _, field = name.partition(".")
            _take(values, group, field, value, place=f"flag {name}")
    config = msgspec.convert(values, Config)
    _check(config)
    return config


def find_file(data: Path | None, environ: Mapping[str, str] | None = None) -> Path | None:
    """The file that `load_config` should read: FANION_CONFIG, else `fanion.toml` in the data directory."""
    variables = os.environ if environ is None else environ
    named = variables.get("FANION_CONFIG")
    if named:
        return Path(named)
    if data is None:
        return None
    file = data / "fanion.toml"
    try:
        return file if file.is_file() else None
    except PermissionError:
        return None  # another user's directory: whoever opens it says so, and whose it is


@functools.cache
def _hints() -> dict[str, dict[str, Any]]:
    groups = get_type_hints(Config, include_extras=True)
    return {name: get_type_hints(group, include_extras=True) for name, group in groups.items()}


def _describe(group: str, field: str, hint: Any) -> Setting:
    kind, *extras = get_args(hint)
    meta = next((extra for extra in extras if isinstance(extra, Meta)), Meta())
    choices = get_args(kind)
    bounds = [f">= {meta.ge}" if meta.ge is not None else "", f"<= {meta.le}" if meta.le is not None else ""]
    allowed = " | ".join(choices) if choices else " and ".join(bound for bound in bounds if bound)
    owner: Any = getattr(Config(), group)
    return Setting(
        name=f"{group}.{field}",
        variable=f"{ENVIRONMENT_PREFIX}{group}_{field}".upper(),
        type="text" if choices else TYPE_NAMES[kind],
        default=getattr(owner, field),
        allowed=allowed,
        help=meta.description or "",
    )


def _take_file(values: dict[str, dict[str, object]], file: Path) -> None:
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: not TOML: {error}") from None
    for group, fields in document.items():
        if group not in _hints():
            raise ConfigError(f"{file}: unknown group [{group}]{_nearest(group, _hints())}")
        if not isinstance(fields, dict):
            raise ConfigError(f"{file}: [{group}] must be a table of settings")
        for field, value in fields.items():
            if not isinstance(value, str | int | float | bool):
                raise ConfigError(f"{file}: {group}.{field} must be one plain value")
            _take(values, group, field, value, place=str(file))


def _take_environment(values: dict[str, dict[str, object]], environ: Mapping[str, str]) -> None:
    known = {setting.variable: setting for setting in settings()}
    for variable in sorted(environ):
        if not variable.startswith(ENVIRONMENT_PREFIX) or _is_of_a_service(variable, environ[variable]):
            continue
        if variable.removeprefix(ENVIRONMENT_PREFIX) in ENVIRONMENT_OTHERS:
            continue
        if variable not in known:
            raise ConfigError(f"environment variable {variable}: no such setting{_nearest(variable, known)}")
        group, _, field = known[variable].name.partition(".")
        _take(values, group, field, _from_text(group, field, environ[variable], variable), place=variable)


def _is_of_a_service(variable: str, value: str) -> bool:
    if SERVICE_VARIABLE.fullmatch(variable):
        return True
    return (
        SERVICE_PORT_VARIABLE.fullmatch(variable) is not None and SERVICE_ADDRESS.fullmatch(value) is not None
    )


def _from_text(group: str, field: str, text: str, variable: str) -> object:
    kind = get_args(_hints()[group][field])[0]
    if kind not in (int, float, bool):
        return text
    try:
        return msgspec.convert(text.strip().lower(), kind, strict=False)
    except msgspec.ValidationError:
        raise ConfigError(f"{variable}: {_wrong(group, field, text)}") from None


def _take(values: dict[str, dict[str, object]], group: str, field: str, value: object, *, place: str) -> None:
    fields = _hints().get(group)
    if fields is None or field not in fields:
        names = [setting.name for setting in settings()]
        raise ConfigError(f"{place}: no such setting: {group}.{field}{_nearest(f'{group}.{field}', names)}")
    try:
        msgspec.convert(value, fields[field])
    except msgspec.ValidationError:
        raise ConfigError(f"{place}: {_wrong(group, field, value)}") from None
    values.setdefault(group, {})[field] = value


def _wrong(group: str, field: str, value: object) -> str:
    setting = next(setting for setting in settings() if setting.name == f"{group}.{field}")
    return f"{group}.{field} is {value!r}; allowed: {setting.type}" + (
        setting.allowed and f", {setting.allowed}"
    )


def _nearest(name: str, names: Mapping[str, object] | list[str]) -> str:
    return "".join(f"; did you mean {found}?" for found in difflib.get_close_matches(name, list(names), n=1))


def _check(config: Config) -> None:
    """Rules that span settings."""
    problems = list(_problems(config))
    if problems:
        raise ConfigError("\n".join(problems))


def _problems(config: Config) -> Iterator[str]:
    for part in filter(None, map(str.strip, config.server.trusted_proxies.split(","))):
        try:
            ipaddress.ip_network(part, strict=False)
        except ValueError:
            yield f"server.trusted_proxies has {part!r}; addresses or networks are allowed, separated by commas"
    if config.limiter.slots & (config.limiter.slots - 1):
        yield f"limiter.slots is {config.limiter.slots}; it must be a power of two"
    if config.store.map_bytes % 4096:
        yield f"store.map_bytes is {config.store.map_bytes}; it must be a multiple of 4096, the page size"
    for name in ("ring_bytes", "segment_bytes"):
        if getattr(config.journal, name) % 4096:
            yield f"journal.{name} must be a multiple of 4096, the page size"
    if config.journal.ring_bytes < 4 * (config.limits.ingest_body_bytes_max + MIB):
        yield (
            f"journal.ring_bytes is {config.journal.ring_bytes}; it must be four times "
            f"limits.ingest_body_bytes_max and 1 MiB, {4 * (config.limits.ingest_body_bytes_max + MIB)}"
        )
    largest = max(config.limits.body_bytes_max, config.limits.ingest_body_bytes_max)
    if config.limits.bodies_bytes_max < largest:
        yield (
            f"limits.bodies_bytes_max is {config.limits.bodies_bytes_max}; one body may have {largest}, as "
            "limits.body_bytes_max and limits.ingest_body_bytes_max say"
        )
    if config.limits.body_chunk_timeout_s > config.limits.body_timeout_s:
        yield "limits.body_chunk_timeout_s is above limits.body_timeout_s, which ends a body first"
