"""Places: where what one machine publishes lies for others, and how it gets there and back.

Modules: `place` (what a kind of place is) <- `objects` (s3, gs, az, file, by obstore), `nats` (a key-value bucket
of NATS JetStream); `sealing` (signature, encryption, addresses), `manifest` (the one that names what counts),
`lists` (blocks of list segments as objects), `sending` (a store's generation to a place), `taking` (and back),
`follower` (the loop of a server that follows). A kind is one module that exposes one `KIND`, and one line in
`KINDS`. When a directory sends and takes stands in `fanion.app.machines` and `fanion.app.following`.

In a place
    manifests       each under its number, only ever created; the one with the highest number counts
    objects         sealed; an object's name is a keyed digest of its bytes, so none is ever written twice
    reports         what each following machine last said of itself, for people; a place may refuse them

A manifest names objects of everything that is served: bundles, the definitions that they were made of, keys (also
revoked ones), blocks of lists, and rows of the store that belong to no generation: overrides, weights, signing and
unit keys. Whoever follows fetches those that it hasn't, checks all of it, and installs it in one transaction of
its own store (`store.installation`), from which it serves on whatever happens to the place.

Decisions
    2026-11  Everything but a manifest's head is encrypted (AES-256-GCM), and manifests are signed (HMAC-SHA-256),
             by keys that are derived from one secret, `places.key`. Rejected: a key pair for signatures. Whoever
             follows holds all secrets of the definitions anyway, and what it may write is up to the place's
             credentials; a second secret would have to be kept apart on every machine for little.
    2026-11  A number is taken by creating an object that isn't there yet. Rejected: one object replaced on
             condition of its ETag, which a folder can't do and some stores don't. The price: a manifest stays for
             each publication, some kilobytes. A follower asks for the number after its own by one small request,
             and lists what there is once a minute.
    2026-11  The place is the truth. A directory that publishes takes what the place has before it changes
             anything; a change that another machine's overtook was refused, and the directory goes back to what
             the place has. Rejected: merging. Two people who publish at once have to look at each other's change.
    2026-11  List numbers and secrets travel, so that a block is the same bytes on every machine and only those that
             changed are sent. A list that is made in a directory with a place therefore gets a number drawn at
             random above the last: two directories that make one at once don't give one number twice.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from fanion.config.places import Places
from fanion.errors import PlaceError
from fanion.places.place import Kind, Place

KINDS = ("objects", "nats")
"""Each a module of this package that exposes one `KIND`."""

SEALING = (("cryptography", "cryptography"),)


def kinds() -> list[Kind]:
    """Imports no library of a place."""
    return [import_module(f"fanion.places.{name}").KIND for name in KINDS]


def kind_of(url: str) -> Kind:
    """Raises PlaceError where no kind has such addresses, or its library isn't installed."""
    scheme, _, rest = url.partition("://")
    for kind in kinds():
        if scheme in kind.schemes and rest:
            if missing := [name for module, name in (*kind.needs, *SEALING) if not find_spec(module)]:
                raise PlaceError(f"{' and '.join(missing)} not installed; pip install 'fanion[machines]'")
            return kind
    allowed = ", ".join(f"{scheme}://" for kind in kinds() for scheme in kind.schemes)
    raise PlaceError(f"{shown(url)!r} is no place; allowed: {allowed}")


def open_place(url: str, settings: Places, *, create: bool = False) -> Place:
    """`create`: a folder or a bucket that isn't there yet, where that can be made. Raises PlaceError. Not before
    a fork: libraries of places have threads."""
    kind = kind_of(url)
    if wrong := kind.check(url):
        raise PlaceError(f"the place is {shown(url)!r}; {wrong}")
    return kind.open(url, settings, create)


def shown(url: str) -> str:
    """An address as it may be said: what stands before an @ could be a password."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://...@{rest.rpartition('@')[2]}" if "@" in rest else url
