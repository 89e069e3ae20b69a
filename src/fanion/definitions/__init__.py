"""Definition files: read, checked as a whole, lowered to one program per environment.

Reading order: `loading` (the way through), `reading.files` (what is read), `reading.documents` (text to plain
objects), `reading.structure` (plain objects to the structs of `model.definition`), `sources.native` (several
files to one world, its checks, its lowering), then what all sources are lowered with: `lowering.builder`,
`lowering.assembler`, `lowering.conditions`, `lowering.rules`, `lowering.segments`. `changes` is the shorter way
where some flags changed (`reading.excerpt`). `sources.<name>` is one system's format each, `sources.format` what
such a format has to offer; `schema` makes the JSON Schema. What definitions know of the dialects is handed in, a
`model.vocabulary.Vocabulary`.

    from fanion import definitions
    loaded = definitions.load([path], dialects.vocabulary())       # raises DefinitionError with every problem
    loaded.environments, loaded.keys, loaded.warnings, loaded.sources, loaded.lists

The native format in short (all of it: `fanion.schema.json`; a world of it: `demo.yaml`):

    organisations:
      org_1:
        projects:
          shop:
            environments:
              production: {id: env_1, keys: [{key: "sha256:…", kind: server}]}
            segments:
              staff: {conditions: [{attribute: email, operator: ends_with, value: "@shop.example"}]}
            flags:
              new-checkout:
                type: boolean
                default_value: false
                rules:
                  - {id: staff, conditions: [{segment: staff}], value: true}
                  - {id: ramp, value: true, rollout_percentage: 12.5}
                environments: {staging: {default_value: true}}

A rollout or split takes XXH64 of `flag key:rule id:subject`; the subject is `userId`, else `anonymousId`,
looked up as in a condition (the member, else the attribute), and an empty one doesn't count. The limit of a
rollout is Python's `round(percentage * 100)` buckets of 10,000, so its percentage has two decimals at most.
A number in a condition is at most 2^53 (above, doubles are several whole numbers each); longer ids are text.

A native flag is asked through every dialect by one table: a dialect hands its user's identity over as the
context member `userId` (an anonymous one as `anonymousId`), all else as attributes under its own names, and
turns the resolution into its own reason.

Decision, 2026-11: definitions carry hashes of keys (or the name of a variable); a raw key is allowed, since
trying things out needs one, but warned about, and the store's copy of the file has its hash instead.

Decision, 2026-11: each source says how it reads a flat context (`model.shape`), and a bundle keeps that, so that
an API with such contexts can ask for any source's flags. Two foreign sources may have one key, each for its own
API; an API that serves both finds it ambiguous, and publishing warns with both places, unless the environment's
`source_order` names one of them: the first that it names counts.

Decision, 2026-11: a flag has Feather's shape. The other three systems' rules are no subset of one another
(typing, missing attributes, layers), so they are formats of their own beside the native one instead of
options in it.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fanion.definitions.loading import Loaded, load, load_stored
    from fanion.definitions.reading.members import MemberList
    from fanion.definitions.sources import formats

DEMO: Final = Path(__file__).with_name("demo.yaml")
"""The demo world that `fanion serve --demo` publishes."""

__all__ = ["DEMO", "Loaded", "MemberList", "formats", "load", "load_stored"]

_WHERE: Final = {
    "Loaded": "loading",
    "load": "loading",
    "load_stored": "loading",
    "MemberList": "reading.members",
    "formats": "sources",
}


def __getattr__(name: str) -> Any:
    """Loaded when it is asked for: a command about keys asks for one of the rooms alone."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
