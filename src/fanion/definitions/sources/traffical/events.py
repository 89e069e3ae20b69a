"""Event definitions of a Traffical bundle (docs/apis/traffical.md: Event answers): whether an event's
properties are checked, and how.

`eventDefinitions` items: `name`, `schemaEnforcement` ("off", "warn" by default, "reject"), `properties` (name
to a property schema) and `additionalProperties`; further members (valueType, unit) are for people. A schema
has `type`, `required` (on the property itself), `enum`, `pattern`, `format`, `minimum`, `maximum`,
`minLength`, `maxLength`, `minItems`, `maxItems`, `items`, `properties`, `additionalProperties`.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from fanion.definitions.reading.report import Report, join, reason, shown
from fanion.definitions.sources.traffical.conditions import compiled

EVENTS_MAX: Final = 10_000
DEPTH_MAX: Final = 16
Count = Annotated[int, Meta(ge=0)]


class PropertySchema(
    msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, forbid_unknown_fields=True
):
    """What one value has to be. `pattern` is rewritten for the linear-time engine when it is read."""

    type: Literal["string", "number", "integer", "boolean", "object", "array", "null"] | None = None
    required: bool = False
    enum: list[Any] | None = None
    pattern: str | None = None
    format: Literal["uuid", "email", "uri", "date-time"] | None = None
    minimum: float | None = None
    maximum: float | None = None
    min_length: Count | None = None
    max_length: Count | None = None
    min_items: Count | None = None
    max_items: Count | None = None
    items: PropertySchema | None = None
    properties: dict[str, PropertySchema] = {}
    additional_properties: bool = True
    description: str = ""


class EventDefinition(msgspec.Struct, frozen=True, rename="camel"):
    name: Annotated[str, Meta(min_length=1, max_length=1024)]
    schema_enforcement: Literal["off", "warn", "reject"] = "warn"
    properties: dict[str, PropertySchema] = {}
    additional_properties: bool = True


def read_events(documents: list[Any], file: str, report: Report) -> dict[str, Any]:
    """Event name -> {enforcement, schema} for those whose properties are checked, as plain objects."""
    if len(documents) > EVENTS_MAX:
        found, allowed = f"{len(documents)} events", f"at most {EVENTS_MAX}"
        report.problem(file, "eventDefinitions", found, allowed)
        return {}
    found_events: dict[str, Any] = {}
    names: set[str] = set()
    for number, document in enumerate(documents):
        path = f"eventDefinitions[{number}]"
        try:
            event = msgspec.convert(document, EventDefinition)
        except (msgspec.ValidationError, RecursionError) as error:
            why, _, place = reason(error).partition(" - at `$")
            report.problem(file, path + place.rstrip("`"), "a value that can't be used", why)
            continue
        if event.name in names:
            report.problem(file, f"{path}.name", f"{shown(event.name)} again", "each event once")
        names.add(event.name)
        properties = {
            name: _read(schema, file, join(f"{path}.properties", name), report, 1)
            for name, schema in event.properties.items()
        }
        checked = properties or not event.additional_properties
        if event.schema_enforcement != "off" and checked:
            schema = PropertySchema(
                type="object", properties=properties, additional_properties=event.additional_properties
            )
            found_events[event.name] = {
                "enforcement": event.schema_enforcement,
                "schema": msgspec.to_builtins(schema),
            }
    return found_events


def _read(schema: PropertySchema, file: str, path: str, report: Report, depth: int) -> PropertySchema:
    """The schema with its patterns translated."""
    if depth > DEPTH_MAX:
        report.problem(file, path, "nesting too deep", f"at most {DEPTH_MAX} levels")
        return schema
    pattern = schema.pattern
    if pattern is not None:
        translated = compiled(pattern)
        if not isinstance(translated, str):
            found = f"the pattern {shown(pattern)} ({translated})"
            report.problem(file, f"{path}.pattern", found, "a pattern that the linear-time engine can run")
        else:
            pattern = translated
    items = schema.items
    if items is not None:
        items = _read(items, file, f"{path}.items", report, depth + 1)
    properties = {
        name: _read(one, file, join(f"{path}.properties", name), report, depth + 1)
        for name, one in schema.properties.items()
    }
    return msgspec.structs.replace(schema, pattern=pattern, items=items, properties=properties)
