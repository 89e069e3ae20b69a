"""What Feather's endpoints keep at hand of one mapped environment."""

from __future__ import annotations

import msgspec

from fanion._core.evaluate import Bundle
from fanion._core.prepared import PreparedLists
from fanion.dialects.feather.words import NAME
from fanion.dialects.wire.bound import lenient_finder
from fanion.dialects.wire.services import Snapshot
from fanion.dialects.wire.units import MEMBER_OR_ATTRIBUTE, UnitPlace
from fanion.errors import StoreError
from fanion.model.api_key import KeyRecord


class Served:
    """One environment: its bundle, and its names in this API."""

    __slots__ = ("bundle", "environment_id", "lists", "meta", "organisation_id", "table")

    def __init__(self, bundle: Bundle) -> None:
        identifiers = bundle.identifiers.get(NAME, {})
        self.bundle = bundle
        self.lists: PreparedLists | None = None
        """Of flags that were asked for together; made when a long one comes."""
        self.table = bundle.table(NAME)
        self.environment_id = identifiers.get("environment", bundle.environment)
        self.organisation_id = identifiers.get("organisation", "")
        self.meta = meta_of(self.environment_id)


def meta_of(environment_id: str) -> bytes:
    """The beginning of a bulk answer's `meta`."""
    return b'},"meta":{"environmentId":' + msgspec.json.encode(environment_id) + b',"evaluatedAt":"'


def units(bundle: Bundle) -> tuple[UnitPlace, ...]:
    """The user; else, as a fall-back, the anonymous id."""
    user = UnitPlace(MEMBER_OR_ATTRIBUTE, "userId", "userId")
    return user, UnitPlace(MEMBER_OR_ATTRIBUTE, "anonymousId", "anonymousId", anonymous=True)


def bind(bundle: Bundle) -> Served | None:
    return Served(bundle) if bundle.table(NAME) >= 0 else None


served = lenient_finder(NAME, Served)


def evaluable(snapshot: Snapshot, record: KeyRecord) -> Served | None:
    """As `served`; None also where no bundle of the environment verifies: an evaluation's 503 is a result."""
    try:
        view = snapshot.view(record.environment)
    except StoreError:
        return None
    at = None if view is None else view.bound[NAME]
    return at if at.__class__ is Served else served(snapshot, record)


def organisation_of(snapshot: Snapshot, record: KeyRecord) -> str:
    """The Feather id of the key's organisation: the bundle's, else the record's own."""
    at = served(snapshot, record)
    return at.organisation_id if at is not None and at.organisation_id else record.organisation
