"""What a dialect says of its endpoints, where routes and structs don't say it themselves; `wire.openapi` makes a
document of both.

Types are msgspec's, of bodies those that the endpoint reads. What types can't say (a text that has to be a time,
one of two members) is said in JSON Schema beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fanion.config import Limits
from fanion.dialects.wire.fault import FaultKind
from fanion.model.json_value import Json, JsonObject

JSON = "application/json"

if TYPE_CHECKING:
    Value = Json
    Object = JsonObject
    Values = list[Json]
else:  # schemas can't be made of an alias that names itself
    Value = Any
    Object = dict[str, Any]
    Values = list[Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """A name in the path, the query or a header. `type`: of its text, for msgspec. `example`: of the demo's
    world."""

    name: str
    place: Literal["path", "query", "header"]
    text: str = ""
    type: object = str
    required: bool = False
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """One answer that is no refusal. `body`: its type; None: it has none. `headers`: those a client reads."""

    text: str
    body: object | None = None
    headers: tuple[str, ...] = ()
    media: str = JSON


@dataclass(frozen=True, slots=True)
class Described:
    """One endpoint. `body`: the type of its JSON; `body_needed`: whether one has to be there. `faults`: refusals
    beside those that every endpoint of its kind has. `never`: refusals that it has not, whatever its kind.
    `example`: a body of the demo's world. `tail`: what follows a prefix in which several names stand, as in
    `{project}/flags/{flag}`."""

    summary: str
    told: Mapping[int, Told]
    body: object | None = None
    body_needed: bool = True
    parameters: Sequence[Parameter] = ()
    faults: tuple[FaultKind, ...] = ()
    never: tuple[FaultKind, ...] = ()
    example: JsonObject | None = None
    tail: str = ""


@dataclass(frozen=True, slots=True)
class Description:
    """One API. `credentials`: OpenAPI's security schemes, of which one is enough. `refusal`: the type of every
    refusal. `endpoints`: by their names for metrics, under the limits in force. `more`: component -> JSON Schema
    that is merged into what its type says."""

    title: str
    text: str
    credentials: Mapping[str, JsonObject]
    refusal: type
    endpoints: Callable[[Limits], Mapping[str, Described]]
    more: Mapping[str, JsonObject] = field(default_factory=dict)
