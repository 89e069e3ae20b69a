"""OpenAPI 3.1 of one API: its routes as the router has them, the structs that its endpoints read, its own words
for each fault, and what it says of its endpoints (`wire.described`).

Which refusals an endpoint has follows from what it is: whether it reads a body, a query, a name in its path. The
status of each is asked of the dialect's `refuse`, so that it can't be another than the one that is answered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from fanion.config import Config
from fanion.dialects.wire.described import JSON, Described, Description, Parameter, Told
from fanion.dialects.wire.dialect import Dialect
from fanion.dialects.wire.endpoint import Endpoint, Route
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.services import Services

REFERENCE: Final = "#/components/schemas/{name}"
READ: Final = frozenset({b"retry-after", b"allow", b"www-authenticate"})
"""Headers of refusals that a client may act on."""
OF_EVERY: Final = (
    FaultKind.BAD_REQUEST,
    FaultKind.NO_CREDENTIALS,
    FaultKind.UNKNOWN_KEY,
    FaultKind.FORBIDDEN,
    FaultKind.METHOD_NOT_ALLOWED,
    FaultKind.RATE_LIMITED,
    FaultKind.INTERNAL,
    FaultKind.OVERLOADED,
)
OF_A_BODY: Final = (
    FaultKind.INVALID_JSON,
    FaultKind.INVALID_SHAPE,
    FaultKind.TIMEOUT,
    FaultKind.TOO_LARGE,
    FaultKind.UNSUPPORTED_ENCODING,
)
PORT: Final = 8_080


class _Unasked:
    """A worker's part in the place where routes are made to be read: whatever is asked of it is nothing too."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *arguments: object, **named: object) -> Any:
        return self


def openapi(
    dialect: Dialect, description: Description, config: Config, *, port: int = PORT
) -> dict[str, object]:
    """The document. `config`: whose limits it says. Raises KeyError for an endpoint that the description leaves
    out."""
    nothing: Any = _Unasked()
    routes = dialect.routes(Services(config, nothing, nothing, nothing, nothing))
    described = description.endpoints(config.limits)
    schemas = _Schemas([description.refusal, *_types(described.values())])
    paths: dict[str, dict[str, object]] = {}
    taken: dict[str, int] = {}
    for route in routes:
        for method, name, endpoint in _operations(route):
            own = described[name]
            taken[name] = number = taken.get(name, 0) + 1
            path, parameters = _path(route, own)
            operation: dict[str, object] = {
                "operationId": name if number == 1 else f"{name}_{number}",
                "summary": own.summary,
            }
            if parameters:
                operation["parameters"] = [_parameter(one, schemas) for one in parameters]
            if own.body is not None:
                media: dict[str, object] = {"schema": schemas.of(own.body)}
                if own.example is not None:
                    media["example"] = own.example
                operation["requestBody"] = {"required": own.body_needed, "content": {JSON: media}}
            operation["responses"] = _responses(dialect, description, own, endpoint, parameters, schemas)
            if endpoint is None:
                operation["security"] = []
            paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": description.title, "version": "1", "description": description.text},
        "servers": [
            {
                "url": "http://{host}:{port}",
                "variables": {"host": {"default": "localhost"}, "port": {"default": str(port)}},
            }
        ],
        "security": [{name: []} for name in description.credentials],
        "paths": paths,
        "components": {
            "securitySchemes": description.credentials,
            "schemas": schemas.components(dict(description.more)),
        },
    }


def openapi_text(dialect: Dialect, description: Description, config: Config, *, port: int = PORT) -> bytes:
    """The document as it is checked in and served: JSON, indented by two."""
    made = msgspec.json.encode(openapi(dialect, description, config, port=port))
    return msgspec.json.format(made, indent=2) + b"\n"


def _operations(route: Route) -> Iterator[tuple[str, str, Endpoint | None]]:
    """(method, name, endpoint) of a path; of one that stays open the endpoint is None."""
    if route.stream is not None:
        yield "GET", route.stream.name, None
    for method, endpoint in route.methods.items():
        yield method, endpoint.name, endpoint


def _path(route: Route, own: Described) -> tuple[str, list[Parameter]]:
    """The path with the name in it, and the parameters, that of the path first."""
    names = [one for one in own.parameters if one.place == "path"]
    others = [one for one in own.parameters if one.place != "path"]
    if not route.prefix:
        return route.path.decode(), others
    if own.tail:
        return f"{route.path.decode()}{own.tail}", [*names, *others]
    (name,) = names
    return f"{route.path.decode()}{{{name.name}}}{(route.rest or b'').decode()}", [name, *others]


def _types(described: Iterable[Described]) -> Iterator[object]:
    for own in described:
        if own.body is not None:
            yield own.body
        yield from (told.body for told in own.told.values() if told.body is not None)
        yield from (one.type for one in own.parameters)


class _Schemas:
    """JSON Schema of every type of a document, made at once, so that each name means one of them."""

    def __init__(self, types: Iterable[object]) -> None:
        self._types = list({id(one): one for one in types}.values())
        made, self._components = msgspec.json.schema_components(self._types, ref_template=REFERENCE)
        self._made = {id(one): schema for one, schema in zip(self._types, made, strict=True)}

    def of(self, kind: object) -> Any:
        return _portable(self._made[id(kind)])

    def components(self, more: Mapping[str, object]) -> dict[str, object]:
        found: dict[str, object] = dict(sorted(_portable(self._components).items()))
        for name, own in more.items():
            found[name] = _merged(found[name], own)
        return found


def _portable(schema: Any) -> Any:
    r"""Patterns as ECMAScript has them: `\Z` is Python's."""
    if isinstance(schema, dict):
        return {
            name: re.sub(r"\\Z$", "$", value)
            if name == "pattern" and isinstance(value, str)
            else _portable(value)
            for name, value in schema.items()
        }
    return [_portable(item) for item in schema] if isinstance(schema, list) else schema


def _merged(under: object, over: object) -> object:
    if isinstance(under, dict) and isinstance(over, Mapping):
        return {**under, **{name: _merged(under.get(name), value) for name, value in over.items()}}
    return over


def _parameter(one: Parameter, schemas: _Schemas) -> dict[str, object]:
    told = {"description": one.text} if one.text else {}
    needed = one.required or one.place == "path"
    made = {"name": one.name, "in": one.place, **told, "required": needed, "schema": schemas.of(one.type)}
    return made if one.example is None else {**made, "example": one.example}


def _kinds(own: Described, endpoint: Endpoint | None, parameters: list[Parameter]) -> list[FaultKind]:
    """The refusals of an endpoint, by their status."""
    kinds = {*OF_EVERY, *own.faults}
    if endpoint is not None and endpoint.body_bytes_max:
        kinds |= {*OF_A_BODY, endpoint.body_timeout}
    if any(one.place == "path" for one in parameters):
        kinds.add(FaultKind.NOT_FOUND)
    if any(one.place == "query" for one in parameters):
        kinds.add(FaultKind.INVALID_SHAPE)
    return [kind for kind in FaultKind if kind in kinds - {*own.never}]


def _responses(
    dialect: Dialect,
    description: Description,
    own: Described,
    endpoint: Endpoint | None,
    parameters: list[Parameter],
    schemas: _Schemas,
) -> dict[str, object]:
    said: dict[int, list[str]] = {}
    headers: dict[int, set[bytes]] = {}
    for kind in _kinds(own, endpoint, parameters):
        again = kind in (FaultKind.RATE_LIMITED, FaultKind.OVERLOADED)
        allow = b"POST" if kind is FaultKind.METHOD_NOT_ALLOWED else None
        head, _ = dialect.refuse(Fault(kind, kind.meaning, retry_after_s=1 if again else None, allow=allow))
        said.setdefault(head.status, []).append(kind.meaning)
        headers.setdefault(head.status, set()).update(name for name, _ in head.headers if name in READ)
    found = {status: _told(told, schemas) for status, told in own.told.items()}
    for status, meanings in said.items():
        refused = _response(
            "; ".join(dict.fromkeys(meanings)), schemas.of(description.refusal), headers[status]
        )
        found[status] = _either(found[status], refused) if status in found else refused
    return {str(status): found[status] for status in sorted(found)}


def _told(told: Told, schemas: _Schemas) -> dict[str, Any]:
    schema = None if told.body is None else schemas.of(told.body)
    return _response(told.text, schema, [name.encode() for name in told.headers], told.media)


def _response(text: str, schema: object, headers: Iterable[bytes], media: str = JSON) -> dict[str, Any]:
    made: dict[str, Any] = {"description": text[:1].upper() + text[1:] + "."}
    if named := sorted(headers):
        made["headers"] = {name.decode().title(): {"schema": {"type": "string"}} for name in named}
    if schema is not None:
        made["content"] = {media: {"schema": schema}}
    return made


def _either(told: dict[str, Any], refused: dict[str, Any]) -> dict[str, Any]:
    """A status that an answer and a refusal share."""
    shapes = [one["content"][JSON]["schema"] for one in (told, refused)]
    return {
        "description": f"{told['description']} Or: {refused['description']}",
        "headers": told.get("headers", {}) | refused.get("headers", {}),
        "content": {JSON: {"schema": {"anyOf": shapes}}},
    }
