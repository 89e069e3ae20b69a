"""The composition root: what a server is made of, in which order it starts and stops; publishing.

Supervisor: data directory checked and locked -> store read through in a child and closed again -> port -> fork.
What a worker is made of stands in `fanion.process.worker`. Nothing that LMDB or the journal opens crosses a
fork.

`serving` starts a server, `compiling` makes bundles of definitions, `reuse` finds those that are made already,
`amending` makes those of a few changed flags, `publishing` stores them, `overriding` lays overrides and weights
over them, `weighing` puts weights into bundles, `changing` stands around each change, `machines` sends a store
to a place, `following` takes one from there, `reaching` asks how both are, `archiving` has the journal's
archive, `beside` the processes beside the workers, `console` the web pages and `answering` what those ask a
process of their own, `asking` one flag for a context through every API. This package and the command line alone
may import every part. What APIs there are is found in `fanion.dialects`."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fanion.app.amending import amended
    from fanion.app.beside import asked_for, draining, make_pipeline, make_rows_of, make_shipper, make_sink
    from fanion.app.compiling import renderers, shown
    from fanion.app.overriding import lay_overrides
    from fanion.app.publishing import publish, standing, upgrade_bundles
    from fanion.app.serving import demo_notes, demo_settings, serve, serve_demo

__all__ = [
    "amended",
    "asked_for",
    "demo_notes",
    "demo_settings",
    "draining",
    "lay_overrides",
    "make_pipeline",
    "make_rows_of",
    "make_shipper",
    "make_sink",
    "publish",
    "renderers",
    "serve",
    "serve_demo",
    "shown",
    "standing",
    "upgrade_bundles",
]

_WHERE: Final = {
    "amending": ("amended",),
    "beside": ("asked_for", "draining", "make_pipeline", "make_rows_of", "make_shipper", "make_sink"),
    "compiling": ("renderers", "shown"),
    "overriding": ("lay_overrides",),
    "publishing": ("publish", "standing", "upgrade_bundles"),
    "serving": ("demo_notes", "demo_settings", "serve", "serve_demo"),
}


def __getattr__(name: str) -> Any:
    """A module is loaded when something of it is asked for: a command that publishes starts no server."""
    for module, names in _WHERE.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
