"""Applied weights in the store (`model.weights`): a sealed row of `meta` for each environment that has some.

They belong to no generation: neither a publish nor a rollback takes them away. They are read when an environment is
compiled, never by a worker, whose bundles have them.

Decision, 2026-11: no table of their own, which a store of an older Fanion hadn't, and no look-up when something
is answered: the bundle has the vectors already, and the document that clients decide by has to say the same. The
price: applying writes the whole bundle, and compiles the environment where that document changes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from fanion.errors import StoreError
from fanion.model.weights import Applied, PolicyWeights
from fanion.store.generation import PinnedGeneration
from fanion.store.layout import seal, unseal

PREFIX: Final = b"weights\0"


def weights_key(environment: str) -> bytes:
    """In `meta`."""
    return PREFIX + environment.encode()


def seal_weights(environment: str, applied: Applied) -> bytes:
    return seal(weights_key(environment), msgspec.json.encode(applied))


def read_weights(pinned: PinnedGeneration, environment: str) -> Applied:
    """Those of an environment. Raises StoreError when they are damaged."""
    key = weights_key(environment)
    value = pinned.meta(key)
    if value is None:
        return {}
    try:
        return msgspec.json.decode(unseal(key, value, "weights"), type=dict[str, PolicyWeights])
    except msgspec.MsgspecError as error:
        raise StoreError(f"the store's weights can't be read: {error}") from error
