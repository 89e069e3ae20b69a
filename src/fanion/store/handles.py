"""What LMDB hands out, named by what is done with it; for type checkers, so the aliases stay texts at run time."""

from __future__ import annotations

from typing import TypeAlias

import lmdb

ReadTransaction: TypeAlias = "lmdb.Transaction[memoryview]"
"""Its values are views into the map, good until it ends."""
WriteTransaction: TypeAlias = "lmdb.Transaction[bytes]"
"""Its values are copies: what it changes would move under a view."""
AnyTransaction: TypeAlias = "ReadTransaction | WriteTransaction"
Handle: TypeAlias = "lmdb._Database"
"""Of one named database, good while the environment is open."""
Handles: TypeAlias = "dict[str, Handle]"
