"""Feather bundles: one JSON object, flag key -> FlagConfig (docs/apis/feather.md: Definitions), as a
definition source.

Unknown members are accepted. What the API gives a meaning is kept and warned about: a malformed entry
answers ERROR with its default value where that can be read, an unknown operator is false, a percentage out of
range is clamped, a key that breaks the key pattern is never found. Refused are a regular expression that the
linear-time engine can't run, a percentage or a whole number that can't be held, and bundles past the limits.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.conditions import Tree, join_trees, lower_test, pattern_error
from fanion.definitions.lowering.rules import Serving, lower_flag
from fanion.definitions.lowering.values import operand_number, value_text, variant_names
from fanion.definitions.reading import limits
from fanion.definitions.reading.documents import DocumentError, parse_json
from fanion.definitions.reading.report import Report, join, reason, shown
from fanion.definitions.reading.values import order_defect, percentage_defect
from fanion.definitions.sources.format import SourceFile, SourceFormat
from fanion.model.program import Answer, Outcome, Resolution

NAME = "feather"
KEY_PATTERN = re.compile(r"[a-z0-9_-]+", re.ASCII)
OPERATORS = frozenset(
    {
        "equals",
        "not_equals",
        "contains",
        "not_contains",
        "starts_with",
        "ends_with",
        "in",
        "not_in",
        "is_set",
        "is_not_set",
        "gt",
        "lt",
        "regex",
        "geo_country",
    }
)

Scalar = bool | int | float | str


class Condition(msgspec.Struct, frozen=True, gc=False):
    """`value` is text or a list of texts; numbers and booleans are written as text."""

    attribute: str
    operator: str
    value: str | list[str] | None = None


class Rule(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Required is what evaluation needs; the name is for people."""

    id: str
    enabled: bool
    conditions: list[Condition]
    value: Scalar
    condition_operator: Any = "AND"
    rollout_percentage: float | None = None


class Variant(msgspec.Struct, frozen=True, gc=False):
    key: str
    value: Scalar


class FlagConfig(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """One entry of a bundle, with the two members that evaluation and telemetry need beside the
    documented."""

    enabled: bool
    default_value: Scalar
    rules: list[Rule]
    variants: list[Variant] | None = None
    client_safe: bool | None = False
    flag_id: str | None = None


class Malformed(msgspec.Struct, frozen=True, gc=False):
    """An entry that is not a FlagConfig: what it still says."""

    default_value: Any
    client_safe: bool
    flag_id: str | None


Entry = FlagConfig | Malformed


def recognises(document: Any) -> bool:
    """Whether a plain document looks like a bundle: objects with `enabled` and `defaultValue` by key."""
    if not isinstance(document, dict) or not document:
        return False
    return all(
        isinstance(entry, dict) and {"enabled", "defaultValue"} <= entry.keys() for entry in document.values()
    )


def parse(source: SourceFile, report: Report) -> dict[str, Entry] | None:
    """The bundle's entries; refused only when the file as a whole can't be read, or breaks a limit."""
    try:
        document = parse_json(source.data.decode())
    except UnicodeDecodeError as error:
        report.problem(source.name, f"byte {error.start}", "bytes that are not UTF-8", "JSON is UTF-8")
        return None
    except DocumentError as error:
        report.problem(source.name, error.place, error.found, error.allowed)
        return None
    if not isinstance(document, dict):
        report.problem(source.name, "document", shown(document), "an object, flag key to FlagConfig")
        return None
    if len(document) > limits.FLAGS_MAX:
        report.problem(source.name, "document", f"{len(document)} flags", f"at most {limits.FLAGS_MAX}")
        return None
    try:
        entries: dict[str, Entry] = dict(msgspec.convert(document, dict[str, FlagConfig]))
    except msgspec.ValidationError:
        entries = {key: _entry(key, entry, source.name, report) for key, entry in document.items()}
    for key in [key for key in entries if not KEY_PATTERN.fullmatch(key)]:
        report.warning(source.name, join("", key), f"the key {shown(key)}", "never found: [a-z0-9_-]+ is")
        del entries[key]
    before = len(report.problems)
    for key, entry in entries.items():
        if isinstance(entry, FlagConfig):
            problem = _integers(entry)
            if problem:
                report.warning(source.name, join("", key), problem, "the flag answers ERROR")
                entries[key] = Malformed(None, entry.client_safe is True, entry.flag_id)
            else:
                _check(key, entry, source.name, report)
    return entries if len(report.problems) == before else None


def _entry(key: str, document: Any, file: str, report: Report) -> Entry:
    try:
        return msgspec.convert(document, FlagConfig)
    except (msgspec.ValidationError, RecursionError) as error:
        report.warning(file, join("", key), f"a malformed entry ({reason(error)})", "the flag answers ERROR")
    members = document if isinstance(document, dict) else {}
    default, flag_id = members.get("defaultValue"), members.get("flagId")
    readable = isinstance(default, bool | float | str) or _is_int64(default)
    return Malformed(
        default if readable else None,
        members.get("clientSafe") is True,
        flag_id if isinstance(flag_id, str) else None,
    )


def _is_int64(value: Any) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _integers(flag: FlagConfig) -> str | None:
    values = [flag.default_value, *(rule.value for rule in flag.rules)]
    if any(type(value) is int and not _is_int64(value) for value in values):
        return "an integer of more than 64 bits"
    return None


_TYPE_NAMES = {bool: "boolean", str: "string", int: "number", float: "number"}


def _check(key: str, flag: FlagConfig, file: str, report: Report) -> None:
    """Limits and patterns (problems), and what is served otherwise than it reads (warnings)."""
    if len(flag.rules) > limits.RULES_MAX:
        report.problem(
            file, f"{join('', key)}.rules", f"{len(flag.rules)} rules", f"at most {limits.RULES_MAX}"
        )
    kind = _TYPE_NAMES[type(flag.default_value)]
    seen: set[str] = set()
    for number, rule in enumerate(flag.rules):
        if rule.id in seen:
            place = f"{join('', key)}.rules[{number}].id"
            report.warning(file, place, f"the id {shown(rule.id)} again", "both rules share their buckets")
        seen.add(rule.id)
        if _TYPE_NAMES[type(rule.value)] != kind:
            place = f"{join('', key)}.rules[{number}].value"
            report.warning(file, place, shown(rule.value), f"served as it is, though the default is a {kind}")
        percentage = rule.rollout_percentage
        if percentage is not None:
            place = f"{join('', key)}.rules[{number}].rolloutPercentage"
            if not 0 <= percentage <= 100:
                report.warning(file, place, shown(percentage), "clamped to 0-100")
            else:
                uneven = percentage_defect(percentage)
                if uneven is not None:
                    report.problem(file, place, *uneven)
        if rule.condition_operator not in ("AND", "OR"):
            place = f"{join('', key)}.rules[{number}].conditionOperator"
            report.warning(file, place, shown(rule.condition_operator), "read as AND")
        if len(rule.conditions) > limits.CONDITIONS_MAX:
            place = f"{join('', key)}.rules[{number}].conditions"
            found = f"{len(rule.conditions)} conditions"
            report.problem(file, place, found, f"at most {limits.CONDITIONS_MAX}")
        for which, condition in enumerate(rule.conditions):
            defect = _condition_defect(condition)
            if defect is not None:
                place = f"{join('', key)}.rules[{number}].conditions[{which}].{defect[1]}"
                (report.problem if defect[0] else report.warning)(file, place, defect[2], defect[3])


def _condition_defect(condition: Condition) -> tuple[bool, str, str, str] | None:
    """(refused, member, found, allowed or meaning) of the first thing that is wrong."""
    operator, value = condition.operator, condition.value
    if operator not in OPERATORS:
        return (False, "operator", shown(operator), "unknown, so the condition is false")
    if operator in ("is_set", "is_not_set"):
        return None
    if value is None:
        return (False, "value", "nothing", "the condition is false, a negative one true")
    if isinstance(value, list):
        if len(value) > limits.OPERANDS_MAX:
            return (True, "value", f"{len(value)} values", f"at most {limits.OPERANDS_MAX}")
        if any(len(text.encode()) > limits.TEXT_BYTES_MAX for text in value):
            return (True, "value", "a longer text", f"at most {limits.TEXT_BYTES_MAX} bytes")
        if not value and operator != "not_in":
            return (False, "value", "an empty list", "the condition is false")
        if operator not in ("in", "not_in", "geo_country"):
            return (False, "value", "a list", "the condition is false, a negative one true")
        return None
    if len(value) > limits.TEXT_BYTES_MAX // 4 and len(value.encode()) > limits.TEXT_BYTES_MAX:
        return (True, "value", "a longer text", f"at most {limits.TEXT_BYTES_MAX} bytes")
    if operator == "regex":
        if len(value) > limits.PATTERN_CHARS_MAX:
            return (
                True,
                "value",
                f"a pattern of {len(value)} characters",
                f"at most {limits.PATTERN_CHARS_MAX}",
            )
        error = pattern_error(value)
        if error is not None:
            return (True, "value", f"the pattern {shown(value)} ({error})", "RE2 syntax")
    elif operator in ("gt", "lt"):
        if operand_number(value) is None:
            return (False, "value", shown(value), "no number, so the condition is false")
        inexact = order_defect(value)
        if inexact is not None:
            return (True, "value", *inexact)
    return None


def lower(entries: dict[str, Entry], source: SourceFile, builder: Builder, report: Report) -> None:
    """Add every entry to the environment."""
    builder.flat_context(NAME)
    for key, entry in entries.items():
        owner = builder.taken(key, NAME, source.name, join("", key))
        if owner is not None:
            report.problem(
                source.name, join("", key), f"a key that a {owner} definition has", "each key once"
            )
        elif isinstance(entry, FlagConfig):
            rules = [
                Serving(number, rule.id, _when(builder, rule), rule.value, rule.rollout_percentage)
                for number, rule in enumerate(entry.rules)
                if rule.enabled
            ]
            default, variants = entry.default_value, entry.variants or ()
            named = {one.key: one.value for one in variants}
            chosen = builder.overriding.choose(NAME, key, named, like=default)
            enabled = entry.enabled or chosen is not None
            lower_flag(
                builder,
                key,
                enabled=enabled,
                default=chosen.value if chosen else default,
                rules=rules if enabled and not chosen else [],
                names=variant_names(entry.variants),
                client_safe=entry.client_safe is True,
                flag_id=entry.flag_id,
                source=NAME,
                basis=entry.rules,
            )
        else:
            value = None if entry.default_value is None else value_text(entry.default_value)
            decision = builder.decision(key, [Outcome(Resolution.ERROR)])
            answers = [Answer(Resolution.ERROR, value)]
            builder.parameter(
                key,
                decision,
                answers,
                client_safe=entry.client_safe,
                group_id=entry.flag_id,
                source=NAME,
            )


def _when(builder: Builder, rule: Rule) -> Tree:
    """A rule's conditions; an empty list matches everyone, whatever the operator (docs/apis/feather.md:
    Operators)."""
    if not rule.conditions:
        return True
    tests = [_test(builder, condition) for condition in rule.conditions]
    return tests[0] if len(tests) == 1 else join_trees(rule.condition_operator != "OR", tests)


def _test(builder: Builder, condition: Condition) -> Tree:
    operator = condition.operator
    if operator not in OPERATORS:
        return False
    if condition.value is None and operator not in ("is_set", "is_not_set"):
        return operator.startswith("not_")
    return lower_test(builder, condition.attribute, operator, condition.value)


FORMAT = SourceFormat(NAME, parse, lower, recognises)
