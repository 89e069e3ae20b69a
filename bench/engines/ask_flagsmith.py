"""Flagsmith's engine, which evaluates an environment as a whole: here one of a single flag."""

import timing
from flag_engine.engine import get_evaluation_result


def condition(attribute, operator, value):
    return {"property": attribute, "operator": operator, "value": value}


def feature(enabled):
    return {"key": "1", "feature_key": "1", "name": timing.KEY, "enabled": enabled, "value": None}


rules = [
    {
        "type": "ALL",
        "conditions": [
            condition("country", "IN", ",".join(timing.COUNTRIES)),
            condition("plan", "EQUAL", "pro"),
            condition("", "PERCENTAGE_SPLIT", "50"),
        ],
    }
]
segment = {"key": "half", "name": "half", "rules": rules, "overrides": [feature(True)]}


def decide(who, person):
    identity = {"identifier": who, "key": who, "traits": person}
    asked = {
        "environment": {"key": "bench", "name": "bench"},
        "features": {timing.KEY: feature(False)},
        "segments": {"half": segment},
        "identity": identity,
    }
    return get_evaluation_result(asked)["flags"][timing.KEY]["enabled"]


timing.check(decide)
timing.measure(lambda: decide(timing.USER, timing.PERSON), "the environment has this one flag alone")
