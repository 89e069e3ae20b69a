"""Reads the settings in force. Sources, weakest first: defaults, `fanion.toml`, environment variables, flags of the
command line.

`FANION_CONFIG` names the file; without it `fanion.toml` in the data directory is read when there is one.
Invariants: a name that isn't a setting, a wrong type and a value out of range are a `ConfigError` that names
the place and what is allowed; nothing is guessed. `settings()` lists all of them for help and documentation.
"""

from __future__ import annotations

import functools
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, get_args, get_type_hints

import msgspec
from msgspec import Meta

from fanion.config import MIB, Config
from fanion.config.archive import problems_of_archive
from fanion.config.pipeline import problems_of_pipeline
from fanion.config.places import problems_of_places
from fanion.config.shipping import problems_of_shipping
from fanion.config.sinks import problems_of_sinks
from fanion.errors import ConfigError
from fanion.model.nearest import nearest
from fanion.model.vocabulary import Vocabulary
from fanion.plain_files import open_plain

ENVIRONMENT_PREFIX = "FANION_"
FILE_BYTES_MAX = 1 << 20
"""Of a file of settings; what is larger is something else."""

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


class Setting(NamedTuple):
    """One setting as help and README show it. `name` is `group.field`."""

    name: str
    variable: str
    type: str
    default: object
    allowed: str
    help: str


Groups = Mapping[str, Mapping[str, "Field"]]


class Field(NamedTuple):
    """A field of a group: the struct that it belongs to, and its type with its bounds."""

    struct: type[msgspec.Struct]
    hint: Any


@functools.cache
def groups(vocabulary: Vocabulary) -> Groups:
    """Group -> field: the server's own, then what each dialect adds to them or brings."""
    hints = get_type_hints(Config, include_extras=True)
    own = [(name, hints[name]) for name in Config.__struct_fields__ if name != "own"]
    found: dict[str, dict[str, Field]] = {}
    for group, struct in (*own, *vocabulary.settings):
        fields = get_type_hints(struct, include_extras=True)
        found.setdefault(group, {}).update({name: Field(struct, hint) for name, hint in fields.items()})
    return found


@functools.cache
def settings(vocabulary: Vocabulary) -> tuple[Setting, ...]:
    """Every setting, in the order of the groups."""
    return tuple(
        _describe(group, name, field)
        for group, fields in groups(vocabulary).items()
        for name, field in fields.items()
    )


def load_config(
    vocabulary: Vocabulary,
    *,
    file: Path | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Config:
    """The settings in force.

    `file`: a TOML file that must exist (None: no file). `environ`: the environment (None: this process's).
    `flags`: `group.field` -> value; None values mean "not given". Raises ConfigError.
    """
    given = _Given(vocabulary)
    if file is not None:
        given.take_file(file)
    given.take_environment(os.environ if environ is None else environ)
    for name, value in (flags or {}).items():
        if value is not None:
            group, _, field = name.partition(".")
            given.take(group, field, value, place=f"flag {name}")
    config = given.config()
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
    # What is there and no file is refused when it is read; in another user's directory, whoever opens that says so.
    return file if os.path.lexists(file) else None


class _Given:
    """What the sources say, weakest first: struct -> field -> value."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.groups = groups(vocabulary)
        self.values: dict[type[msgspec.Struct], dict[str, object]] = {}

    def config(self) -> Config:
        hints = get_type_hints(Config)
        server = {name: self.made(hints[name]) for name in Config.__struct_fields__ if name != "own"}
        return Config(**server, own=tuple(self.made(struct) for _, struct in self.vocabulary.settings))

    def made(self, struct: type[msgspec.Struct]) -> Any:
        return msgspec.convert(self.values.get(struct, {}), struct)

    def take_file(self, file: Path) -> None:
        document = _document(file)
        for group, fields in document.items():
            if group not in self.groups:
                raise ConfigError(f"{file}: unknown group [{group}]{nearest(group, self.groups)}")
            if not isinstance(fields, dict):
                raise ConfigError(f"{file}: [{group}] must be a table of settings")
            for field, value in fields.items():
                if not isinstance(value, str | int | float | bool):
                    raise ConfigError(f"{file}: {group}.{field} must be one plain value")
                self.take(group, field, value, place=str(file))

    def take_environment(self, environ: Mapping[str, str]) -> None:
        known = {setting.variable: setting for setting in settings(self.vocabulary)}
        for variable in sorted(environ):
            if not variable.startswith(ENVIRONMENT_PREFIX) or _is_of_a_service(variable, environ[variable]):
                continue
            if variable.removeprefix(ENVIRONMENT_PREFIX) in ENVIRONMENT_OTHERS:
                continue
            if variable not in known:
                raise ConfigError(
                    f"environment variable {variable}: no such setting{nearest(variable, known)}"
                )
            group, _, field = known[variable].name.partition(".")
            value = self.from_text(group, field, environ[variable], variable)
            self.take(group, field, value, place=variable)

    def from_text(self, group: str, field: str, text: str, variable: str) -> object:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConfigError(f"{variable}: {self.wrong(group, field, text)}, in UTF-8") from None
        kind = get_args(self.groups[group][field].hint)[0]
        if kind not in (int, float, bool):
            return text
        try:
            return msgspec.convert(text.strip().lower(), kind, strict=False)
        except msgspec.ValidationError:
            raise ConfigError(f"{variable}: {self.wrong(group, field, text)}") from None

    def take(self, group: str, field: str, value: object, *, place: str) -> None:
        known = self.groups.get(group, {}).get(field)
        if known is None:
            names = [setting.name for setting in settings(self.vocabulary)]
            name = f"{group}.{field}"
            raise ConfigError(f"{place}: no such setting: {name}{nearest(name, names)}")
        try:
            msgspec.convert(value, known.hint)
        except msgspec.ValidationError:
            raise ConfigError(f"{place}: {self.wrong(group, field, value)}") from None
        self.values.setdefault(known.struct, {})[field] = value

    def wrong(self, group: str, field: str, value: object) -> str:
        setting = _describe(group, field, self.groups[group][field])
        shown = "a secret, which is not shown" if _is_secret(self.groups[group][field]) else repr(value)
        return f"{group}.{field} is {shown}; allowed: {setting.type}" + (
            setting.allowed and f", {setting.allowed}"
        )


def _document(file: Path) -> dict[str, Any]:
    try:
        with open_plain(file) as opened:
            text = opened.read(FILE_BYTES_MAX + 1)
        if len(text) > FILE_BYTES_MAX:
            raise ConfigError(f"{file}: larger than {FILE_BYTES_MAX} bytes; a file of settings is not")
        import tomllib  # most directories have no file

        return tomllib.loads(text.decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{file}: can't be read: {error.strerror}") from None
    except RecursionError:
        raise ConfigError(f"{file}: nested too deeply; a setting is one plain value") from None
    except ValueError as error:  # no TOML, no UTF-8, an integer of thousands of digits
        raise ConfigError(f"{file}: not TOML: {error}") from None


def _describe(group: str, name: str, field: Field) -> Setting:
    kind, *extras = get_args(field.hint)
    meta = next((extra for extra in extras if isinstance(extra, Meta)), Meta())
    choices = get_args(kind)
    bounds = [f">= {meta.ge}" if meta.ge is not None else "", f"<= {meta.le}" if meta.le is not None else ""]
    allowed = " | ".join(choices) if choices else " and ".join(bound for bound in bounds if bound)
    return Setting(
        name=f"{group}.{name}",
        variable=f"{ENVIRONMENT_PREFIX}{group}_{name}".upper(),
        type="text" if choices else TYPE_NAMES[kind],
        default=getattr(field.struct(), name),
        allowed=allowed,
        help=meta.description or "",
    )


def _is_secret(field: Field) -> bool:
    return any(isinstance(extra, Meta) and "secret" in (extra.extra or {}) for extra in get_args(field.hint))


def _is_of_a_service(variable: str, value: str) -> bool:
    if SERVICE_VARIABLE.fullmatch(variable):
        return True
    return (
        SERVICE_PORT_VARIABLE.fullmatch(variable) is not None and SERVICE_ADDRESS.fullmatch(value) is not None
    )


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
    yield from problems_of_sinks(config.sinks)
    yield from problems_of_places(config.places)
    yield from problems_of_pipeline(config.pipeline)
    yield from problems_of_shipping(config.shipping, config.journal.ack)
    yield from problems_of_archive(config.archive)
    if config.tracing.url and not config.tracing.url.startswith(("http://", "https://")):
        yield f"tracing.url is {config.tracing.url!r}; http:// or https:// is allowed"
    if config.limits.body_chunk_timeout_s > config.limits.body_timeout_s:
        yield "limits.body_chunk_timeout_s is above limits.body_timeout_s, which ends a body first"
