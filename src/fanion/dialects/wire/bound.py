"""What a dialect has at hand of a mapped environment, looked up for the key of a request.

`Dialect.bind` makes it, once per environment and generation; `Environment.bound` has it under the dialect's
name, or None where the environment is served through other APIs only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, TypeVar

from fanion._core.evaluate import Bundle
from fanion.dialects.wire.fault import Fault, FaultKind
from fanion.dialects.wire.services import Snapshot
from fanion.errors import BundleError
from fanion.model.api_key import KeyRecord

T = TypeVar("T")
Finder: TypeAlias = Callable[[Snapshot, KeyRecord], T]

ELSEWHERE = "The API key's environment is not served through this API."


def finder(name: str, kind: type[T], absent: Callable[[], Fault], *, elsewhere: str = ELSEWHERE) -> Finder[T]:
    """Finds what the dialect `name` has bound, a `kind`. The finder raises what `absent` makes where the
    generation doesn't hold the environment, Fault UNKNOWN_KEY with the text `elsewhere` where it is served
    through other APIs only, and StoreError where no bundle of it verifies."""

    def find(snapshot: Snapshot, record: KeyRecord) -> T:
        view = snapshot.view(record.environment)
        if view is None:
            raise absent()
        at = view.bound[name]
        if not isinstance(at, kind):
            raise Fault(FaultKind.UNKNOWN_KEY, elsewhere)
        return at

    return find


def lenient_finder(name: str, kind: type[T], *, elsewhere: str = ELSEWHERE) -> Finder[T | None]:
    """As `finder`; None where the generation doesn't hold the environment."""

    def find(snapshot: Snapshot, record: KeyRecord) -> T | None:
        view = snapshot.view(record.environment)
        if view is None:
            return None
        at = view.bound[name]
        if not isinstance(at, kind):
            raise Fault(FaultKind.UNKNOWN_KEY, elsewhere)
        return at

    return find


def document_of(bundle: Bundle, name: str) -> bytes:
    """A document that comes with the dialect's table. Raises BundleError for a bundle without it."""
    document = bundle.document(name)
    if document is None:
        raise BundleError(f"the bundle of {bundle.environment} has a table without its document {name}")
    return document
