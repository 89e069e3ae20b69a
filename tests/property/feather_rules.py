"""Feather's evaluation in plain Python, read straight from docs/apis/feather.md: Order of evaluation; nothing
of ours is used.

`evaluate` takes a FlagConfig as plain JSON objects and answers {value, reason, ruleId?, variant?}.
"""

from __future__ import annotations

import re
from typing import Any

import xxhash

ABSENT = object()
MISSING_PASSES_NEGATIVE = True
DECIMAL = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


def evaluate(key: str, config: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    if not config["enabled"]:
        return answer(config, config["defaultValue"], "DISABLED")
    for rule in config["rules"]:
        if not rule["enabled"]:
            continue
        results = [test(condition, context) for condition in rule["conditions"]]
        either = rule.get("conditionOperator") == "OR"
        if results and not (any(results) if either else all(results)):
            continue
        percentage = rule.get("rolloutPercentage")
        if percentage is None:
            return answer(config, rule["value"], "RULE_MATCH", rule["id"])
        if in_bucket(key, rule["id"], percentage, context):
            return answer(config, rule["value"], "ROLLOUT", rule["id"])
    return answer(config, config["defaultValue"], "DEFAULT")


def answer(config: dict[str, Any], value: Any, reason: str, rule_id: str | None = None) -> dict[str, Any]:
    made = {"value": value, "reason": reason}
    if rule_id is not None:
        made["ruleId"] = rule_id
    for variant in config.get("variants") or []:
        other = variant["value"]
        if isinstance(other, bool) == isinstance(value, bool) and other == value:
            made["variant"] = variant["key"]
            break
    return made


def look_up(name: str, context: dict[str, Any]) -> Any:
    if name in ("userId", "anonymousId") and name in context:
        return context[name]
    return context.get("attributes", {}).get(name, ABSENT)


def in_bucket(key: str, rule_id: str, percentage: float, context: dict[str, Any]) -> bool:
    percentage = min(max(percentage, 0), 100)
    for name in ("userId", "anonymousId"):
        subject = look_up(name, context)
        if subject is not ABSENT and text(subject):
            bucket = xxhash.xxh64_intdigest(f"{key}:{rule_id}:{text(subject)}".encode(), seed=0) % 10_000
            return bool(bucket < round(percentage * 100))
    return percentage >= 100


def text(value: Any) -> str:
    """Numbers that the strategies make need no exponent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)


def number(value: Any) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return float(value) if DECIMAL.fullmatch(value) else None
    return float(value)


def test(condition: dict[str, Any], context: dict[str, Any]) -> bool:
    operator, wanted = condition["operator"], condition.get("value")
    found = look_up(condition["attribute"], context)
    if operator == "is_set":
        return found is not ABSENT
    if operator == "is_not_set":
        return found is ABSENT
    if operator == "geo_country":
        if found is ABSENT:
            found = look_up("country", context)
        codes = wanted if isinstance(wanted, list) else [wanted]
        return found is not ABSENT and text(found).upper() in [code.upper() for code in codes]
    positive = operator.removeprefix("not_")
    negative = positive != operator
    if positive == "in":
        wanted = wanted if isinstance(wanted, list) else [wanted]
    elif isinstance(wanted, list):
        return negative
    if found is ABSENT:
        return negative and MISSING_PASSES_NEGATIVE
    return matches(positive, found, wanted) is not negative


test.__test__ = False  # type: ignore[attr-defined]


def matches(operator: str, found: Any, wanted: Any) -> bool:
    if operator in ("gt", "lt"):
        left, right = number(found), number(wanted)
        if left is None or right is None:
            return False
        return left > right if operator == "gt" else left < right
    subject = text(found)
    match operator:
        case "equals":
            return bool(subject == wanted)
        case "contains":
            return wanted in subject
        case "starts_with":
            return subject.startswith(wanted)
        case "ends_with":
            return subject.endswith(wanted)
        case "in":
            return subject in wanted
        case "regex":
            return re.search(wanted, subject) is not None
    return False
