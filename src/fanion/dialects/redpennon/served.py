"""What Red Pennon's endpoints keep at hand of one mapped environment."""

from __future__ import annotations

import msgspec

from fanion._core.evaluate import Bundle
from fanion.dialects.redpennon.emit import CATALOGUE, SETTINGS, Catalogue, Settings
from fanion.dialects.redpennon.governed import govern
from fanion.dialects.redpennon.listed import LISTED
from fanion.dialects.redpennon.words import NAME
from fanion.dialects.wire.bound import document_of, finder
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.units import MEMBER, UnitPlace
from fanion.model.organisation import DOCUMENT


class Served:
    """What the endpoints keep at hand of one mapped environment."""

    __slots__ = ("_catalogue", "bundle", "governed", "lists", "native", "table")

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.table = bundle.table(NAME)
        self.lists = LISTED.open(bundle, self.table)
        self.native = msgspec.json.decode(document_of(bundle, SETTINGS), type=Settings).native
        self.governed = govern(bundle.document(DOCUMENT))
        self._catalogue: Catalogue | None = None

    @property
    def catalogue(self) -> Catalogue:
        """Read with the first event: most workers' environments never see one."""
        if self._catalogue is None:
            self._catalogue = msgspec.json.decode(document_of(self.bundle, CATALOGUE), type=Catalogue)
        return self._catalogue


def units(bundle: Bundle) -> tuple[UnitPlace, ...]:
    """The id, else the e-mail address."""
    return UnitPlace(MEMBER, "id", "id"), UnitPlace(MEMBER, "email", "email")


def bind(bundle: Bundle) -> Served | None:
    """None where the bundle has no table of ours: a publish makes one for each API that serves the environment."""
    return Served(bundle) if bundle.table(NAME) >= 0 else None


def _unserved() -> Fault:
    return Fault(FaultKind.OVERLOADED, "The environment is not served now.", retry_after_s=1)


served = finder(NAME, Served, _unserved)
