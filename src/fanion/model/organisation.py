"""An organisation as a bundle carries it: what governance has to know of it, and nothing that only people read.

The definitions write this document once per environment; a field that an older or newer server wrote more of is
skipped, one that it left out has the value that refuses nothing.
"""

from __future__ import annotations

import msgspec

DOCUMENT = "organisation"
"""The name of the bundle's document."""
FREE_PLAN = "free"
"""The plan that needs no subscription."""


class OrganisationLimits(msgspec.Struct, frozen=True):
    """None: the plan's, else the server's own."""

    rate_per_s: float | None = None
    burst: int | None = None
    monthly_active_users: int | None = None
    batch_keys: int | None = None
    batch_events: int | None = None


class Organisation(msgspec.Struct, frozen=True):
    """`subscription_active` counts on plans that need a subscription; a suspended one is refused everything."""

    id: str = ""
    plan: str = "enterprise"
    subscription_active: bool = True
    suspended: bool = False
    limits: OrganisationLimits = OrganisationLimits()


def parse_organisation(document: bytes | None) -> Organisation:
    """None: a bundle whose source knows no organisations; nothing is limited."""
    return Organisation() if document is None else msgspec.json.decode(document, type=Organisation)
