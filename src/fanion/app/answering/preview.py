"""What another text of one of the served files would change. Nothing is stored, and no file of the disk is
read: what the text refers to are the files that the store keeps of the same publication."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec

from fanion.app.answering.programs import Programs
from fanion.app.preview import Who, preview, recent_units
from fanion.config import Config
from fanion.console.preview_questions import (
    CONTEXTS_MAX,
    PASTED,
    RECENT,
    RECENT_MAX,
    FileList,
    Files,
    PreviewOf,
)
from fanion.definitions import load_stored
from fanion.definitions.reading.files import REFERRED, ROOT
from fanion.dialects import vocabulary
from fanion.errors import ConfigError, StoreError
from fanion.preview.contexts import contexts_in
from fanion.preview.report import Preview
from fanion.store.weights import read_weights

SHOWN_BYTES_MAX: Final = 512 << 10
"""Of a file that a page shows to be changed."""
NAMES_MAX: Final = 500
FLAGS_MAX: Final = 500
"""Of one answer."""
ANY_KEY: Final = "sk_preview_of_a_key_in_a_variable"


class AnyVariable(Mapping[str, str]):
    """Keys in variables are the publisher's; here each has some value, and none of them is compared."""

    def __getitem__(self, name: str) -> str:
        return f"{ANY_KEY}_{name}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def files(programs: Programs, asked: Files) -> FileList:
    """Raises StoreError."""
    with programs.pinned() as pinned:
        environments = list(pinned.environments())
        environment = asked.environment or (environments[0] if environments else "")
        stored = pinned.definitions(environment)
    names = [_plain(name) for name in sorted(stored, key=_not_given)][:NAMES_MAX]
    name = asked.name if asked.name in names else next(iter(names), "")
    content = next((text for key, text in stored.items() if _plain(key) == name), b"")
    shown: str | None = None
    if len(content) <= SHOWN_BYTES_MAX:
        try:
            shown = content.decode()
        except UnicodeDecodeError:
            shown = None
    return FileList(environments, names, name, shown, len(content))


def compare(programs: Programs, directory: Path, config: Config, asked: PreviewOf) -> list[Preview]:
    """Raises DefinitionError for what can't be published, ConfigError for contexts that aren't any, RowsError where
    no units were seen, StoreError."""
    who = _who(directory, asked)
    with programs.pinned() as pinned:
        stored = pinned.definitions(asked.environment)
        weights = {name: read_weights(pinned, name) for name in pinned.environments()}
    keys = [key for key in stored if _plain(key) == asked.name]
    if not keys:
        raise StoreError(f"environment {asked.environment} has no file {asked.name}")
    changed = {**stored, **dict.fromkeys(keys, asked.content.encode())}
    loaded = load_stored(
        changed, vocabulary(), weights=weights, only=[asked.environment], variables=AnyVariable()
    )
    found = preview(directory, loaded, config, who, (asked.by,) if asked.by else (), processes=1)
    if "env:" in asked.content:
        found = [msgspec.structs.replace(one, keys_lost=[]) for one in found]
    return [msgspec.structs.replace(one, flags=one.flags[:FLAGS_MAX]) for one in found]


def _who(directory: Path, asked: PreviewOf) -> Who:
    if asked.who == RECENT:
        return recent_units(directory, min(asked.units, RECENT_MAX), small=True)
    if asked.who == PASTED:
        contexts = _pasted(asked.contexts)
        return Who(lambda _: contexts, "contexts that were pasted", len(contexts))
    return Who(None, "", asked.units)


def _pasted(text: str) -> list[dict[str, Any]]:
    found = list(islice(contexts_in(io.BytesIO(text.encode()), "contexts"), CONTEXTS_MAX + 1))
    if not found:
        raise ConfigError("contexts: none are pasted; one object a line is allowed")
    if len(found) > CONTEXTS_MAX:
        raise ConfigError(
            f"contexts: more than {CONTEXTS_MAX:,}, which are allowed here; fanion diff --contexts reads more"
        )
    return found


def _not_given(name: str) -> bool:
    """Files that others refer to come behind those that were published."""
    return not name.startswith(ROOT)


def _plain(name: str) -> str:
    return name.removeprefix(ROOT) if name.startswith(ROOT) else name.removeprefix(REFERRED)
