"""Answers put together from rows and patches equal the plain rules, whatever bundle and whatever is asked for."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rounds import rounds
from tests.unit.test_traffical_conformance import Served, lower, same

BUNDLES = rounds(40, 150, "PROPERTY_BUNDLES")
KEYS = ["a", "b", "c.d", "é", "stranger", "unknown"]
UNITS = ["userId", "merchantId", " "]
VALUES: list[Any] = ["x", "", 1, 1.5, True, None, {"k": [1]}, "ü", 10**20, -0.0]


class Maker:
    """Draws bundles with everything that layers may do to one another."""

    def __init__(self, source: random.Random) -> None:
        self.r = source

    def document(self) -> dict[str, Any]:
        ids = [f"layer{n}" for n in range(self.r.randrange(1, 4))]
        layers = [self.layer(self.r.choice(ids), number) for number in range(self.r.randrange(1, 5))]
        parameters = [
            {
                "key": key,
                "type": "json",
                "default": self.r.choice(VALUES),
                "layerId": self.r.choice([*ids, "none"]),
            }
            for key in KEYS[:4]
            if self.r.random() < 0.8
        ]
        return {
            "version": "v",
            "orgId": "o",
            "projectId": "p",
            "env": "e",
            "hashing": {"unitKey": "userId", "bucketCount": self.r.choice([1, 10, 1000])},
            "parameters": parameters,
            "layers": layers,
        }

    def layer(self, id: str, number: int) -> dict[str, Any]:
        policies = [self.policy(f"p{number}_{n}") for n in range(self.r.randrange(3))]
        unit = {"unitKey": self.r.choice(UNITS)} if self.r.random() < 0.4 else {}
        return {"id": id, "policies": policies, **unit}

    def policy(self, id: str) -> dict[str, Any]:
        names = [f"arm{n}" for n in range(self.r.randrange(4))]
        policy: dict[str, Any] = {
            "id": id,
            "state": self.r.choice(["running", "running", "paused"]),
            "kind": self.r.choice(["static", "adaptive"]),
            "conditions": self.conditions(),
            "allocations": [self.allocation(name) for name in names],
        }
        if self.r.random() < 0.3:
            policy["eligibleBucketRange"] = {"start": 0, "end": self.r.randrange(1000)}
        if self.r.random() < 0.4:
            policy["contextLogging"] = {"allowedFields": self.r.sample(["userId", "plan", "n"], 2)}
        if self.r.random() < 0.3:
            policy["contextualModel"] = self.model(names)
        elif self.r.random() < 0.4:
            policy["entityConfig"] = {
                "entityKeys": self.r.choices(["userId", "plan"], k=self.r.randrange(3)),
                "resolutionMode": self.r.choice(["bundle", "edge"]),
            }
            if self.r.random() < 0.4:
                policy["entityConfig"]["dynamicAllocations"] = {"countKey": "n"}
        return policy

    def conditions(self) -> list[dict[str, Any]]:
        made = []
        for _ in range(self.r.choice([0, 0, 1, 2])):
            op = self.r.choice(["eq", "neq", "in", "nin", "gt", "exists", "notExists", "contains", "wrong"])
            value = self.r.choice(VALUES)
            made.append(
                {"field": self.r.choice(["plan", "n"]), "op": op, "value": value, "values": [value, "pro"]}
            )
        return made

    def allocation(self, name: str) -> dict[str, Any]:
        low = self.r.randrange(10)
        overrides = {key: self.r.choice(VALUES) for key in KEYS[:5] if self.r.random() < 0.4}
        return {"name": name, "bucketRange": [low, low + self.r.randrange(900)], "overrides": overrides}

    def model(self, names: list[str]) -> dict[str, Any]:
        coefficients = {
            name: {
                "intercept": self.r.uniform(-1, 1),
                "numeric": [{"key": "n", "coef": self.r.uniform(-1, 1), "missing": 0.1}],
                "categorical": [
                    {"key": "plan", "values": {"pro": 0.5, "1": 0.2, "true": 0.1}, "missing": -0.1}
                ],
            }
            for name in names
            if self.r.random() < 0.7
        }
        return {
            "gamma": self.r.choice([0, 0.3, 2]),
            "actionProbabilityFloor": self.r.choice([0, 0.05, 0.9]),
            "defaultAllocationScore": 0.1,
            "coefficients": coefficients,
            "modelVersion": "m",
        }

    def context(self) -> dict[str, Any]:
        context: dict[str, Any] = {}
        for key, values in (
            ("userId", ["u1", "u2", "", None, 5, True, 1e21, ["x"], "ü"]),
            ("merchantId", ["m1", "", None]),
            ("plan", [*VALUES, "pro"]),
            ("n", [1, 3.9, 0, -1, "2", True, None, 20_000]),
        ):
            if self.r.random() < 0.8:
                context[key] = self.r.choice(values)
        return context


@settings(max_examples=BUNDLES)
@given(st.randoms(use_true_random=False, note_method_calls=False))
def test_rows_and_patches_give_what_the_rules_say(source: random.Random) -> None:
    make = Maker(random.Random(source.getrandbits(64)))
    document = make.document()
    weights = {"p0_0": {"_global": {"weights": [0.2, 0.8]}, "entities": {"u1": {"weights": [1.0, 0.0]}}}}
    served = Served(lower(document, weights))
    for _ in range(20):
        context = make.context()
        keys = make.r.sample(KEYS, make.r.randrange(len(KEYS) + 1))
        defaults = dict.fromkeys(keys, "caller")
        found = served.decide(context, defaults)
        assert same(found, served.decide_by_twin(context, defaults)), (document, context, keys)
