"""What a dialect is to the server: routes, credentials, the shape of its errors, its rendering of bundles.

A dialect's `routes` module exposes one `DIALECT`. The server knows nothing of an API's words: whatever goes wrong
before or inside an endpoint is a `Fault`, and the dialect turns it into its own status and body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from fanion._core.evaluate import Bundle
from fanion.dialects.wire.cors import Cors
from fanion.dialects.wire.endpoint import Route
from fanion.dialects.wire.fault import Fault
from fanion.dialects.wire.rendering import Rendering
from fanion.dialects.wire.reply import Headers, Reply
from fanion.dialects.wire.services import Services
from fanion.dialects.wire.units import UnitPlace
from fanion.model.api_key import KeyRecord
from fanion.model.json_value import Json
from fanion.model.program import Lowered, Table


class KeyPlace(NamedTuple):
    """Where the raw key stands in most requests: `own`, a header of the API's own; `bearer`: Authorization, if not
    there; `folded`: one that is a UUID is the same in any case. `credentials` knows every other way."""

    own: bytes | None = None
    bearer: bool = False
    folded: bool = False


def in_braces(fragment: bytes, user: Mapping[str, Json] | None) -> bytes:
    """The object that a fragment is the inside of."""
    return b"{%b}" % fragment


@dataclass(frozen=True, slots=True)
class Dialect:
    """One public API.

    credential_header: the header that its key comes in. credentials: the raw key, or Fault NO_CREDENTIALS.
    key_place: where that mostly stands; None: `credentials` is asked each time.
    recognises: whether a request to no known path looks like one of this API's. refuse: a fault in its shape.
    bind: what the dialect wants to have at hand of a mapped bundle, made once per environment and generation; None
    where the bundle has no table of it, as the environment is served through other APIs only.
    routes: made once per worker. cors: None, no preflights.
    rendering: None where it answers no flags; else what is made of definitions for it.
    whole: a fragment as one JSON value, as commands show it; what a request adds is left out or, where a member
    would be cut short, stands as `...`. Its second argument is the context's members, None where no one asks.
    demo: a shell line that asks the demo world something; `{url}` stands for the server's address.
    units: who its requests are about, of a bundle that has its table; None: its answers leave no exposures.
    limiter: made once per worker; None where no rate applies, else record -> seconds to wait (0: go on).
    """

    name: str
    credential_header: bytes
    credentials: Callable[[Headers], bytes]
    recognises: Callable[[Headers], bool]
    refuse: Callable[[Fault], Reply]
    routes: Callable[[Services], list[Route]]
    bind: Callable[[Bundle], object]
    rendering: Rendering | None = None
    units: Callable[[Bundle], tuple[UnitPlace, ...]] | None = None
    limiter: Callable[[Services], Callable[[KeyRecord], float] | None] = lambda services: None
    cors: Cors | None = None
    key_place: KeyPlace | None = None
    whole: Callable[[bytes, Mapping[str, Json] | None], bytes] = in_braces
    demo: str = ""

    @property
    def render(self) -> Callable[[Lowered], Table] | None:
        return None if self.rendering is None else self.rendering.render

    @property
    def prefix(self) -> bytes:
        """Every dialect is also mounted under its own name, where no path is shared."""
        return b"/" + self.name.encode()
