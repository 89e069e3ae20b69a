"""What a publication changes of what is served now, said before it is stored.

A file that was cut off at a line's end, or a directory that lost some of its files, is still a publication. So
what it takes away is listed: flags that an API answered for, keys that opened something, environments that the
same files named before (those go on being served as they were), and by how many members a list is shorter. More
than a quarter of any has to be confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from fanion.bundle.reader import BundleReader
from fanion.cli.text import echo
from fanion.clock.keeper import look_at
from fanion.config import Config
from fanion.definitions import Loaded, formats
from fanion.definitions.reading.files import ROOT
from fanion.definitions.reading.members import source_digest, survey
from fanion.errors import DefinitionError, Problem, StoreMissingError
from fanion.store.generation import PinnedGeneration
from fanion.store.layout import Origin, StoredKey
from fanion.store.store import Store

SHARE_MAX = 4
"""One part in so many may go without a question."""

NAMES_SHOWN_MAX = 20


class Review:
    """`fanion.app.publish` calls it with the bundles of one publication, but for those that have the flags and the
    sources' documents that are served. Warns; raises DefinitionError where too
    much would go and that isn't `confirmed`."""

    def __init__(
        self, data: Path, paths: Sequence[Path], loaded: Loaded, config: Config, *, confirmed: bool
    ) -> None:
        self._data = data
        self._paths = paths
        self._loaded = loaded
        self._map_bytes = config.store.map_bytes
        self._confirmed = confirmed
        self._too_much: list[Problem] = []

    def __call__(self, bundles: Mapping[str, bytes]) -> None:
        try:
            store = Store.open(self._data, map_bytes=self._map_bytes)
        except StoreMissingError:
            return
        with store, store.pin() as pinned:
            self._compare_documents(pinned, bundles)
            self._compare_environments(pinned)
            self._compare_flags(pinned, bundles)
            self._compare_keys(pinned)
            self._compare_lists(pinned)
        if self._too_much and not self._confirmed:
            raise DefinitionError(self._too_much)

    def _compare_documents(self, pinned: PinnedGeneration, bundles: Collection[str]) -> None:
        """What a source finds odd about an environment's documents after those that it serves now."""
        for lowered in self._loaded.environments:
            bundle = pinned.bundle(lowered.environment)
            if bundle is None or not lowered.documents or lowered.environment not in bundles:
                continue
            served = dict(BundleReader(bundle).documents())
            for source in formats().values():
                odd = source.changes(served, lowered.documents)
                if odd is not None:
                    echo(f"warning: {lowered.environment}: {odd[0]}; {odd[1]}", err=True)

    def _compare_environments(self, pinned: PinnedGeneration) -> None:
        """Those that the same files, or files of the same directories, named when they were published last."""
        named = {lowered.environment for lowered in self._loaded.environments}
        given = {path.as_posix() for path in self._paths}
        given |= {_file_name(name) for name in self._loaded.sources if name.startswith(ROOT)}
        here = []
        for environment in pinned.environments():
            roots = [name for name in pinned.definition_names(environment) if name.startswith(ROOT)]
            files = [Path(_file_name(name)) for name in roots]
            if files and all(
                not given.isdisjoint(map(Path.as_posix, (file, *file.parents))) for file in files
            ):
                here.append(environment)
        gone = [environment for environment in here if environment not in named]
        self._report("the definitions", "environments", gone, len(here), "; they are served as they were")

    def _compare_flags(self, pinned: PinnedGeneration, bundles: Mapping[str, bytes]) -> None:
        for environment, bundle in bundles.items():
            served = pinned.bundle(environment)
            if served is None:
                continue
            before, after = BundleReader(served).keys(), BundleReader(bundle).keys()
            lost: dict[str, list[str]] = {}
            for dialect, keys in before.items():
                for key in keys - after.get(dialect, set()):
                    lost.setdefault(key, []).append(dialect)
            still = set().union(*after.values())
            gone = [f"{key} ({', '.join(lost[key])})" if key in still else key for key in sorted(lost)]
            self._report(f"environment {environment}", "flags", gone, len(set().union(*before.values())))

    def _compare_keys(self, pinned: PinnedGeneration) -> None:
        now, kept = look_at(self._data).expiry, {key.hash for key in self._loaded.keys}
        named = {lowered.environment for lowered in self._loaded.environments}
        of: dict[str, list[StoredKey]] = {}
        for key in pinned.stored_keys():
            ends = key.record.expires_at
            if (
                key.origin == Origin.DEFINED
                and key.record.environment in named
                and (ends is None or ends > now)
            ):
                of.setdefault(key.record.environment, []).append(key)
        for environment, keys in of.items():
            gone = [f"{key.record.id} {key.record.name}".strip() for key in keys if key.hash not in kept]
            self._report(f"environment {environment}", "keys", gone, len(keys))

    def _compare_lists(self, pinned: PinnedGeneration) -> None:
        """By how many members each has, where what they are read from changed: a file that lost its end is still a
        file of members. Which ones are missing isn't looked for, in lists of millions."""
        given = {entry.name: entry for entry in self._loaded.lists}
        for lowered in self._loaded.environments:
            where = f"environment {lowered.environment}"
            served = pinned.manifest.environments.get(lowered.environment)
            if served is None:
                continue
            gone = [name for name in served.lists if name not in lowered.lists and served.lists[name].count]
            self._report(where, "lists", gone, len(served.lists))
            for name in lowered.lists:
                before, after = served.lists.get(name), given.get(name)
                if before is None or after is None or before.source == source_digest(after):
                    continue
                count = len(after.members)
                if after.file is not None:
                    count += survey(Path(after.file)).lines
                if count < before.count:
                    self._weigh(where, f"members of {name}", before.count - count, before.count, "")

    def _report(self, where: str, what: str, gone: Collection[str], of: int, then: str = "") -> None:
        if not gone:
            return
        names = ", ".join(sorted(gone)[:NAMES_SHOWN_MAX])
        more = len(gone) - NAMES_SHOWN_MAX
        self._weigh(where, what, len(gone), of, f": {names}{f' and {more:,} more' if more > 0 else ''}{then}")

    def _weigh(self, where: str, what: str, gone: int, of: int, which: str) -> None:
        found = f"{gone:,} of {of:,} {what} would go{which}"
        if gone * SHARE_MAX > of and not self._confirmed:
            allowed = "more than a quarter needs --yes; nothing was stored"
            self._too_much.append(Problem(str(self._data), where, found, allowed))
        else:
            echo(f"warning: {where}: {found}", err=True)


def _file_name(stored: str) -> str:
    """The file's own name; one with raw keys is kept as JSON, under its name with that suffix."""
    name = stored.removeprefix(ROOT)
    plain = name.removesuffix(".json")
    return plain if plain.endswith((".yaml", ".yml")) else name
