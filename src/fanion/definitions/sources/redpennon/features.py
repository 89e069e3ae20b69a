"""Red Pennon's features as a definition source (docs/apis/redpennon.md: Evaluate one, Definitions): what a
file says.

Organisations, projects, environments and keys stand in the native file, which names this one in `sources` of
each environment; the file holds one project's audiences and features with their targeting per environment:

    redpennon: 1
    environments: [production]
    audiences:
      staff: {conditions: [{property: email, operator: ends_with, values: ["@example.com"]}]}
    features:
      checkout:
        type: experiment
        status: live
        variables: {checkout-flow: {type: string}}
        variations: {control: {checkout-flow: classic}, variant-a: {checkout-flow: one-page}}
        environments:
          production:
            targeting: on
            default_variation: control
            self_targeting: {dev@example.com: variant-a}
            rules:
              - conditions: [{property: audience, operator: is, values: [staff]}]
                distribution: [{variation: control, weight: 50}, {variation: variant-a, weight: 50}]

What an environment's targeting leaves out is OFF there. Decision, 2026-11: the published pages show no file of
their own, so this is ours; it refuses what it doesn't know, as the native format does. A condition's values
are compared as texts (numbers as ECMAScript writes them), with regard to case.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from fanion.definitions.reading import limits
from fanion.model.definition import Percentage, Scalar, Text, Value, ValueType

NAME: Final = "redpennon"

Slug = Annotated[str, Meta(pattern=r"^[a-z0-9-]+$(?!\n)", max_length=limits.KEY_CHARS_MAX)]
VariableKey = Annotated[
    str, Meta(pattern=r"^[^\x00-\x1f\x7f]+$(?!\n)", min_length=1, max_length=limits.KEY_CHARS_MAX)
]
AttributeName = Annotated[str, Meta(min_length=1, max_length=limits.NAME_CHARS_MAX)]
Property = Literal[
    "user_id",
    "email",
    "organisation_id",
    "ip_address",
    "app_version",
    "platform",
    "country",
    "audience",
    "custom_property",
]
Operator = Literal[
    "is",
    "is_not",
    "contains",
    "does_not_contain",
    "starts_with",
    "does_not_start_with",
    "ends_with",
    "does_not_end_with",
    "exists",
    "does_not_exist",
]
BARE: Final = frozenset({"exists", "does_not_exist"})
"""Operators without values."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Base of all: an unknown field is a typing error of the author, never ignored."""


class Condition(Part, frozen=True, gc=False):
    """A test on one property; `custom_key` names the member of custom_data."""

    property: Property
    operator: Operator
    values: list[Scalar] = []
    custom_key: AttributeName | UnsetType = UNSET


class Share(Part, frozen=True, gc=False):
    """A part of a distribution, in per cent with two decimals."""

    variation: str
    weight: Percentage


class Rule(Part, frozen=True, gc=False):
    """All conditions must hold; serves a variation or a distribution."""

    conditions: list[Condition]
    variation: str | UnsetType = UNSET
    distribution: list[Share] | UnsetType = UNSET
    name: Text = ""


class Targeting(Part, frozen=True, gc=False):
    """A feature in one environment. `self_targeting`: user id or email -> variation, before rules and OFF."""

    default_variation: str
    targeting: Literal["on", "off"] = "off"
    rules: list[Rule] = []
    self_targeting: dict[str, str] = {}


class Variable(Part, frozen=True, gc=False):
    """A value that every variation of the feature gives; json values are objects."""

    type: ValueType
    description: Text = ""


class Feature(Part, frozen=True, gc=False):
    """One decision with several variables. `final_variation` is what a complete feature serves to all."""

    variables: dict[VariableKey, Variable]
    variations: dict[Slug, dict[str, Value]]
    environments: dict[str, Targeting] = {}
    type: Literal["release", "experiment", "permission", "ops"] = "release"
    status: Literal["development", "live", "complete", "archived", "deleted"] = "live"
    final_variation: str | UnsetType = UNSET
    client_safe: bool = False
    name: Text = ""
    description: Text = ""


class Audience(Part, frozen=True, gc=False):
    """People by conditions, all of which must hold; besides those whose request names the audience."""

    conditions: list[Condition]
    name: Text = ""
    description: Text = ""


class Frame(Part, frozen=True, kw_only=True, gc=False):
    """The document's outside; its features and audiences are read one by one."""

    redpennon: Literal[1]
    environments: list[str]
    audiences: dict[Slug, Any] = {}
    features: dict[Slug, Any] = {}


class Parsed(msgspec.Struct, frozen=True, gc=False):
    """A file that passed every check. Variable keys are in lower case."""

    environments: frozenset[str]
    audiences: dict[str, Audience]
    features: dict[str, Feature]


def recognises(document: Any) -> bool:
    return isinstance(document, dict) and NAME in document
