"""What a public API makes of definitions when they are published: all that a publication asks of it.

Apart from the `Dialect`, whose module brings the endpoints and what they are made of with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from fanion.model.program import Lowered, Table


class Rendering(NamedTuple):
    """`render`: its table, a `model.program.Entry` for each key that it serves, with a fragment for each answer. A
    fragment is the inside of an object, without braces, unless `Dialect.whole` and the handlers write it otherwise.

    `amend`: a document of its table after some flags changed: of the document's name, the document, and what an
    excerpt of the flags rendered before and after the change; with the decisions of flags that changed, the
    excerpt's number -> the document's. All other flags are as they were. None where that can't be said, as without.
    """

    render: Callable[[Lowered], Table]
    amend: Callable[[str, bytes, bytes, bytes, Mapping[int, int]], bytes | None] | None = None
