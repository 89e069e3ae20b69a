"""Eppo's own client, whose engine is in Rust."""

import json

import eppo_client
import timing
from eppo_client import AssignmentLogger, ClientConfig, Configuration

conditions = [
    {"attribute": "country", "operator": "ONE_OF", "value": timing.COUNTRIES},
    {"attribute": "plan", "operator": "ONE_OF", "value": ["pro"]},
]
half = {"salt": "half", "ranges": [{"start": 0, "end": 5_000}]}
splits = [{"variationKey": "on", "shards": [half]}, {"variationKey": "off", "shards": []}]
flags = {
    key: {
        "key": key,
        "enabled": True,
        "variationType": "BOOLEAN",
        "variations": {"on": {"key": "on", "value": True}, "off": {"key": "off", "value": False}},
        "totalShards": 10_000,
        "allocations": [
            {"key": "half", "rules": [{"conditions": conditions}], "splits": splits, "doLog": False}
        ],
    }
    for key in timing.FLAGS
}
made = {"createdAt": "2026-11-28T00:00:00.000Z", "format": "SERVER", "environment": {"name": "bench"}}
client = eppo_client.init(
    ClientConfig(
        api_key="none",
        base_url="http://127.0.0.1:9",
        assignment_logger=AssignmentLogger(),
        initial_configuration=Configuration(
            flags_configuration=json.dumps({**made, "flags": flags}).encode()
        ),
        poll_interval_seconds=None,
    )
)
timing.check(lambda who, person: client.get_boolean_assignment(timing.KEY, who, person, False))
timing.measure(lambda: client.get_boolean_assignment(timing.KEY, timing.USER, timing.PERSON, False))
client.shutdown()
