"""LaunchDarkly's client with flags from a file, and no events."""

import json
import logging
import tempfile
from pathlib import Path

import ldclient
import timing
from ldclient import Context
from ldclient.integrations import Files

logging.disable()


def clause(attribute, values):
    return {"attribute": attribute, "op": "in", "values": values, "contextKind": "user"}


half = {
    "variations": [{"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}],
    "contextKind": "user",
}
rule = {
    "id": "half",
    "clauses": [clause("country", timing.COUNTRIES), clause("plan", ["pro"])],
    "rollout": half,
}
flags = {
    key: {
        "key": key,
        "version": 1,
        "on": True,
        "variations": [True, False],
        "fallthrough": {"variation": 1},
        "offVariation": 1,
        "salt": "half",
        "rules": [rule],
    }
    for key in timing.FLAGS
}


def context(who, person):
    built = Context.builder(who)
    for name, value in person.items():
        built.set(name, value)
    return built.build()


with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "flags.json"
    path.write_text(json.dumps({"flags": flags}))
    source = Files.new_data_source(paths=[str(path)])
    client = ldclient.LDClient(ldclient.Config("none", update_processor_class=source, send_events=False))
    timing.check(lambda who, person: client.variation(timing.KEY, context(who, person), False))
    user = context(timing.USER, timing.PERSON)
    timing.measure(lambda: client.variation(timing.KEY, user, False))
    client.close()
