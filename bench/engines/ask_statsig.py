"""Statsig's client, whose engine is in Rust, with flags from a store of our own and no network."""

import json

import timing
from statsig_python_core import (
    DataStore,
    DataStoreResponse,
    FeatureGateEvaluationOptions,
    Statsig,
    StatsigOptions,
    StatsigUser,
)


def condition(field, operator, target):
    return {
        "type": "user_field",
        "field": field,
        "operator": operator,
        "targetValue": target,
        "idType": "userID",
    }


conditions = {"1": condition("country", "any", timing.COUNTRIES), "2": condition("plan", "any", ["pro"])}
rule = {
    "name": "half",
    "groupName": "half",
    "id": "half",
    "salt": "half",
    "passPercentage": 50,
    "conditions": ["1", "2"],
    "returnValue": True,
    "idType": "userID",
}
gate = {
    "type": "feature_gate",
    "entity": "feature_gate",
    "salt": "half",
    "enabled": True,
    "defaultValue": False,
    "rules": [rule],
    "idType": "userID",
}
specs = {
    "feature_gates": dict.fromkeys(timing.FLAGS, gate),
    "dynamic_configs": {},
    "layer_configs": {},
    "condition_map": conditions,
    "experiment_to_layer": {},
    "has_updates": True,
    "time": 1_700_000_000_000,
}


class Kept(DataStore):
    def get(self, key):
        return DataStoreResponse(result=json.dumps(specs), time=specs["time"])


options = StatsigOptions()
options.disable_network = True
options.disable_all_logging = True
options.disable_disk_access = True
options.disable_country_lookup = True
options.data_store = Kept()
statsig = Statsig("secret-none", options)
statsig.initialize().wait()
silent = FeatureGateEvaluationOptions(disable_exposure_logging=True)


def user(who, person):
    return StatsigUser(user_id=who, custom=person, country=person["country"])


timing.check(lambda who, person: statsig.check_gate(user(who, person), timing.KEY, silent))
one = user(timing.USER, timing.PERSON)
timing.measure(lambda: statsig.check_gate(one, timing.KEY, silent), "the person's object is made before")
statsig.shutdown().wait()
