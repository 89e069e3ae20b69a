"""Red Pennon's rules in the plainest Python: an interpreter that shares nothing with the lowering but
docs/apis.

It reads the definition file as it is written and answers (value, variation, reason, bucket or None).
"""

from __future__ import annotations

from typing import Any

import xxhash

MEMBERS = {"user_id": "id", "ip_address": "ip", "audience": "audiences"}
NEGATIVE = {
    "is_not": "is",
    "does_not_contain": "contains",
    "does_not_start_with": "starts_with",
    "does_not_end_with": "ends_with",
    "does_not_exist": "exists",
}


def text_of(value: Any) -> str | None:
    """The text that is compared; None for what has none."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if float(value).is_integer() else repr(float(value))
    return value if isinstance(value, str) else None


def passes(operator: str, text: str, operands: list[str]) -> bool:
    match operator:
        case "is":
            return text in operands
        case "contains":
            return any(operand in text for operand in operands)
        case "starts_with":
            return text.startswith(tuple(operands))
        case "ends_with":
            return text.endswith(tuple(operands))
    raise AssertionError(operator)


def texts_of(value: Any) -> list[str]:
    """What a property's value offers to compare: one text, or those of a list of texts."""
    if isinstance(value, list):
        return value if all(isinstance(one, str) for one in value) else []
    text = text_of(value)
    return [] if text is None else [text]


class Rules:
    """One file in one environment."""

    def __init__(self, document: dict[str, Any], environment_id: str, environment: str) -> None:
        self.audiences = document.get("audiences", {})
        self.features = document["features"]
        self.environment_id = environment_id
        self.environment = environment

    def holds(self, conditions: list[dict[str, Any]], user: dict[str, Any]) -> bool:
        return all(self.condition(condition, user) for condition in conditions)

    def condition(self, condition: dict[str, Any], user: dict[str, Any]) -> bool:
        operator = condition["operator"]
        wanted = operator not in NEGATIVE
        return self.positive({**condition, "operator": NEGATIVE.get(operator, operator)}, user) is wanted

    def positive(self, condition: dict[str, Any], user: dict[str, Any]) -> bool:
        name, operator = condition["property"], condition["operator"]
        operands = [str(text_of(value)) for value in condition.get("values", [])]
        if name == "custom_property":
            custom = user.get("custom_data")
            value = custom.get(condition["custom_key"]) if isinstance(custom, dict) else None
        else:
            value = user.get(MEMBERS.get(name, name))
        texts = texts_of(value)
        if name == "audience":
            # What the user belongs to counts as if the request had named it.
            for slug, one in self.audiences.items():
                asked = operator == "exists" or passes(operator, slug, operands)
                if asked and self.holds(one["conditions"], user):
                    return True
            if operator == "exists":
                return bool(texts)
        if operator == "exists":
            return value is not None
        return any(passes(operator, text, operands) for text in texts)

    def answer(
        self, slug: str, variable: str, user: dict[str, Any]
    ) -> tuple[Any, str | None, str, int | None]:
        feature = self.features[slug]
        variation, reason, bucket = self.decide(slug, feature, user)
        value = None if variation is None else feature["variations"][variation][variable]
        return value, variation, reason, bucket

    def decide(
        self, slug: str, feature: dict[str, Any], user: dict[str, Any]
    ) -> tuple[str | None, str, int | None]:
        status = feature.get("status", "live")
        if status in ("deleted", "archived"):
            return None, f"feature_{status}", None
        if status == "complete":
            return feature["final_variation"], "feature_complete", None
        targeting = feature.get("environments", {}).get(self.environment)
        if targeting is None:
            return None, "targeting_disabled", None
        pinned = targeting.get("self_targeting", {})
        for identity in (user.get("id"), user.get("email")):
            if isinstance(identity, str) and identity in pinned:
                return pinned[identity], "self_targeting_override", None
        if targeting.get("targeting", "off") == "off":
            return None, "targeting_disabled", None
        rules = targeting.get("rules", [])
        for rule in rules:
            if self.holds(rule["conditions"], user):
                if "variation" in rule:
                    return rule["variation"], "targeting_rule_matched", None
                return self.split(slug, rule["distribution"], targeting["default_variation"], user)
        return targeting["default_variation"], "no_rule_matched" if rules else "default_variation", None

    def split(
        self, slug: str, shares: list[dict[str, Any]], default: str, user: dict[str, Any]
    ) -> tuple[str, str, int | None]:
        for identity in (user.get("id"), user.get("email")):
            if isinstance(identity, str) and identity:
                text = f"{self.environment_id}:{slug}:{identity}"
                bucket = xxhash.xxh64_intdigest(text.encode()) % 10_000
                total = 0
                for share in shares:
                    total += round(share["weight"] * 100)
                    if bucket < total:
                        return share["variation"], "targeting_rule_matched", bucket
        return default, "no_rule_matched", None
