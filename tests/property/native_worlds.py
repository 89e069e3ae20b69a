"""Random worlds of the native format, with every member that a flag can have, and changes of some of their
flags."""

from __future__ import annotations

import copy
import random
from typing import Any

ATTRIBUTES = ("plan", "country", "age", "email", "userId", "anonymousId", "app.version", "größe")
TEXTS = ("", "a", "DE", "pro", 'ä"\\', "@x.example", "1", "0", "-0.0", "2.50", "v1.2.3", "weird key")
NUMBERS = (0, -0.0, 0.0, 1, 1.0, 2.5, -3, 1e15, 7)
WITH_LISTS = ("in", "not_in", "geo_country")
ORDERS = ("gt", "gte", "lt", "lte")
PLAIN = ("equals", "not_equals", "contains", "not_contains", "starts_with", "ends_with")
VALUES: dict[str, tuple[Any, ...]] = {
    "boolean": (True, False),
    "string": ("control", "treatment", "", 'quote " and \\ back', "ünï"),
    "number": (0, 1, -2.5, 100, 1e-7),
    "json": ({"a": 1}, {"b": [1, 2, None]}, [], [True], ["text"], {"key": "f-1", "type": "json"}),
}


class Worlds:
    """One generator's. `asking`: now and then a flag asks another one, which makes flags depend on each other."""

    def __init__(self, seed: int, *, asking: bool = False) -> None:
        self.draw = random.Random(seed)
        self.asking = asking

    def world(self, flags: int) -> dict[str, Any]:
        draw = self.draw
        segments: dict[str, Any] = {}
        for number in range(draw.randrange(4)):
            segments[f"s-{number}"] = {
                "conditions": self.conditions(list(segments)),
                "condition_operator": draw.choice(["AND", "OR"]),
            }
        project: dict[str, Any] = {
            "environments": {
                name: {"id": f"env_{name}"} for name in ("production", "staging")[: draw.randrange(1, 3)]
            },
            "segments": segments,
            "flags": {},
        }
        if draw.random() < 0.3:
            project["events"] = {"bought": {"type": "count"}}
        if draw.random() < 0.3:
            project["features"] = {
                "feature": {
                    "variables": {"size": {"type": "number"}, "color.name": {"type": "string"}},
                    "variations": {
                        "one": {"size": 1, "color.name": "red"},
                        "two": {"size": 2, "color.name": "blue"},
                    },
                    "default_variation": "one",
                    "rules": [{"id": "r", "variation": "two", "conditions": self.conditions(list(segments))}],
                }
            }
        self.names = list(project["environments"])
        self.segments = list(segments)
        for number in range(flags):
            project["flags"][f"f-{number}"] = self.flag(number, number)
        if self.asking:
            project["flags"]["f-0"] = {
                **self.plain_flag(),
                "rules": [{"id": "r", "value": False, "rollout_percentage": 50}],
            }
        world = {"organisations": {"o": {"projects": {"p": project}}}}
        if draw.random() < 0.3:
            other = {"environments": {"e": {"id": "env_other"}}, "flags": {"f-0": self.plain_flag()}}
            world["organisations"]["o"]["projects"]["q"] = other
        return world

    def plain_flag(self) -> dict[str, Any]:
        return {"type": "boolean", "default_value": True}

    def flag(self, number: int, before: int) -> dict[str, Any]:
        draw = self.draw
        kind = draw.choice(list(VALUES))
        values = VALUES[kind]
        flag: dict[str, Any] = {"type": kind, "default_value": draw.choice(values)}
        for name, made in (
            ("id", f"flag_{number}"),
            ("client_safe", draw.random() < 0.5),
            ("enabled", draw.random() < 0.7),
            ("description", draw.choice(TEXTS)),
        ):
            if draw.random() < 0.5:
                flag[name] = made
        flag["rules"] = self.rules(values, before)
        if draw.random() < 0.4:
            keys = draw.sample(["on", "off", "ä", "x y", "three"], draw.randrange(1, 4))
            flag["variants"] = [{"key": key, "value": draw.choice(values)} for key in keys]
        if draw.random() < 0.3:
            override: dict[str, Any] = {}
            if draw.random() < 0.5:
                override["enabled"] = draw.random() < 0.5
            if draw.random() < 0.5:
                override["default_value"] = draw.choice(values)
            if draw.random() < 0.5:
                override["rules"] = self.rules(values, before)
            flag["environments"] = {draw.choice(self.names): override}
        return flag

    def rules(self, values: tuple[Any, ...], before: int) -> list[dict[str, Any]]:
        draw = self.draw
        rules = []
        for number in range(draw.choice([0, 0, 1, 1, 2, 3])):
            rule: dict[str, Any] = {"id": draw.choice([f"r{number}", f"rule {number} ä"])}
            if draw.random() < 0.8:
                rule["conditions"] = self.conditions(self.segments, before)
            if draw.random() < 0.2:
                rule["condition_operator"] = "OR"
            if draw.random() < 0.1:
                rule["enabled"] = False
            if draw.random() < 0.3:
                first = draw.choice([0, 12.5, 40, 100])
                rule["split"] = [
                    {"weight": first, "value": draw.choice(values)},
                    {"weight": 100 - first, "value": draw.choice(values)},
                ]
            else:
                rule["value"] = draw.choice(values)
                if draw.random() < 0.4:
                    rule["rollout_percentage"] = draw.choice([0, 0.01, 12.34, 50, 99.99, 100])
            rules.append(rule)
        return rules

    def conditions(self, segments: list[str], before: int = 0) -> list[dict[str, Any]]:
        return [self.condition(segments, before, 2) for _ in range(self.draw.randrange(1, 3))]

    def condition(self, segments: list[str], before: int, depth: int) -> dict[str, Any]:
        draw = self.draw
        if segments and draw.random() < 0.2:
            return {"segment": draw.choice(segments)}
        if self.asking and before and draw.random() < 0.1:
            return {"flag": "f-0", "is": draw.choice(VALUES["boolean"])}
        if depth and draw.random() < 0.2:
            inner = [self.condition(segments, before, depth - 1) for _ in range(draw.randrange(1, 3))]
            return draw.choice([{"all": inner}, {"any": inner}, {"not": inner[0]}])
        operator = draw.choice((*WITH_LISTS, *ORDERS, *PLAIN, "is_set", "is_not_set", "regex"))
        made: dict[str, Any] = {"attribute": draw.choice(ATTRIBUTES), "operator": operator}
        if operator in WITH_LISTS:
            made["value"] = draw.sample(TEXTS, draw.randrange(1, 12))
        elif operator in ORDERS:
            made["value"] = draw.choice(NUMBERS)
        elif operator == "regex":
            made["value"] = draw.choice(["^a", "b$", "[0-9]+"])
        elif operator in PLAIN:
            made["value"] = draw.choice([*TEXTS, *NUMBERS, True])
        return made

    def changed(self, world: dict[str, Any]) -> dict[str, Any]:
        """With one flag, or a few side by side, otherwise."""
        draw = self.draw
        world = copy.deepcopy(world)
        flags = world["organisations"]["o"]["projects"]["p"]["flags"]
        keys = list(flags)
        first = draw.randrange(len(keys))
        for number, key in enumerate(keys[first : first + draw.choice([1, 1, 1, 2, 3])], first):
            flag = flags[key]
            match draw.randrange(7):
                case 0:
                    flag["enabled"] = not flag.get("enabled", True)
                case 1:
                    flag["default_value"] = draw.choice(VALUES[flag["type"]])
                case 2:
                    flag["rules"] = self.rules(VALUES[flag["type"]], number)
                case 3:
                    flag["client_safe"] = not flag.get("client_safe", False)
                case 4:
                    flag["description"] = draw.choice(TEXTS)
                case 5:
                    flag["id"] = f"other_{number}"
                case 6:
                    flags[key] = self.flag(number, number)
        return world
