"""The public APIs that the server speaks, by name.

Definitions, keys and commands name these and no other; `app.dialects` serves exactly these, which a test holds.
An API joins the list when it is served.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Dialect = Literal["feather", "redpennon", "traffical", "stitchd"]
DIALECTS: Final[tuple[str, ...]] = get_args(Dialect)
