"""GrowthBook's own client: one object a person, made before it is timed."""

import timing
from growthbook import GrowthBook

condition = {"country": {"$in": timing.COUNTRIES}, "plan": "pro"}
rule = {"condition": condition, "force": True, "coverage": 0.5, "hashAttribute": "id"}
features = {key: {"defaultValue": False, "rules": [rule]} for key in timing.FLAGS}


def person(who, attributes):
    return GrowthBook(attributes={"id": who, **attributes}, features=features)


timing.check(lambda who, attributes: person(who, attributes).is_on(timing.KEY))
made = person(timing.USER, timing.PERSON)
timing.measure(lambda: made.is_on(timing.KEY), "the person's object is made before")
