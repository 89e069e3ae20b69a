"""Whether an object of a JSON text has a key twice; see `ext/include/fanion_json_keys.h`."""

from typing import Final

DEPTH_MAX: Final[int]
FEW: Final[int]

def keys_twice(text: bytes) -> bool: ...
