"""What simulated SDKs send: bounded, seeded, shaped like the recorded requests of real ones."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime
from typing import Any

COUNTRIES = ["DE", "AT", "CH", "FR", "GB", "US", "JP", "BR"]
PLANS = ["free", "pro", "enterprise"]
FEATHER_FLAGS = ["new-checkout", "checkout-copy", "pricing-rounding", "maintenance-banner", "no-such-flag"]
USERS = 50_000
"""Distinct simulated users; the figure bounds what per-user state a run can cause."""


class People:
    """Draws users and what SDKs say about them, from one seed."""

    def __init__(self, seed: int) -> None:
        self.r = random.Random(seed)

    def user(self) -> str:
        return f"user_{self.r.randrange(USERS)}"

    def feather_context(self) -> dict[str, Any]:
        attributes = {
            "country": self.r.choice(COUNTRIES),
            "plan": self.r.choice(PLANS),
            "age": self.r.randrange(90),
        }
        return {"userId": self.user(), "attributes": attributes}

    def feather_events(self, count: int) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"events": [self._feather_event(now) for _ in range(count)]}

    def _feather_event(self, now: str) -> dict[str, Any]:
        return {
            "flagKey": "checkout-copy",
            "flagId": "flag_01hy",
            "environmentId": "env_01hx",
            "orgId": "org_01hx",
            "value": self.r.choice(["variant-a", "variant-b"]),
            "reason": "ROLLOUT",
            "ruleId": "rule-1",
            "userIdHash": hashlib.sha256(self.user().encode()).hexdigest(),
            "sdkType": "server",
            "sdkVersion": "1.0.0",
            "evaluatedAt": now,
        }

    def neutral_events(self, count: int) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"events": [self._neutral_event(now) for _ in range(count)]}

    def _neutral_event(self, now: str) -> dict[str, Any]:
        sent = {
            "id": f"{self.r.getrandbits(128):032x}",
            "time": now,
            "unit": {"kind": "userId", "id": self.user()},
        }
        if self.r.random() < 0.5:
            return {"type": "exposure", **sent, "flag": "checkout-copy", "variant": self.r.choice(["a", "b"])}
        return {"type": "metric", **sent, "metric": "purchase", "value": round(self.r.random() * 100, 2)}

    def traffical_events(self, count: int) -> dict[str, Any]:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        return {"events": [self._traffical_event(now) for _ in range(count)]}

    def _traffical_event(self, now: str) -> dict[str, Any]:
        return {
            "type": "track",
            "id": f"trk_{self.r.getrandbits(96):024x}",
            "orgId": "org_acme",
            "projectId": "proj_marketplace",
            "env": "production",
            "unitKey": self.user(),
            "timestamp": now,
            "event": "purchase",
            "value": round(self.r.random() * 100, 2),
            "sdkName": "load",
            "sdkVersion": "1.0.0",
        }
