"""The files of a publication, from disk or from the copy that the store keeps.

A directory stands for the `.yaml`, `.yml` and `.json` files in it, at any depth, whatever the case of the suffix,
hidden ones left out (`reading.walk`). Names are the paths as given, with forward slashes; what a file refers to is
relative to the file itself.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping
from pathlib import Path

from fanion.definitions.reading.limits import FILE_BYTES_MAX, FILES_MAX, PATH_BYTES_MAX
from fanion.definitions.reading.report import Report
from fanion.definitions.reading.walk import DIRECTORY, FILE, Walk, kind
from fanion.plain_files import open_plain

ROOT, REFERRED = "root:", "file:"
"""Prefixes of the names that the store keeps files under: those that were published, those they refer to."""


class Files:
    """What can be read. `roots`: the published files, with whether each was named itself."""

    def __init__(self) -> None:
        self.roots: list[tuple[str, bool]] = []

    def read(self, name: str) -> bytes:
        """The file's bytes; OSError when it can't be read."""
        raise NotImplementedError

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        raise NotImplementedError

    def has_list(self, name: str) -> bool:
        """Whether a list's file is there; the stored copy does not hold those, the store has the members."""
        raise NotImplementedError


class DiskFiles(Files):
    """Files on disk."""

    def __init__(self, paths: Iterable[str | Path], report: Report) -> None:
        super().__init__()
        walk = Walk(report)
        for given in paths:
            path = Path(given)
            if kind(path) == DIRECTORY:
                self.roots += [(name, False) for name in walk.directory(path)]
            elif walk.named(path):
                self.roots.append((path.as_posix(), True))
        if len(self.roots) > FILES_MAX:
            report.problem(self.roots[0][0], "files", f"{len(self.roots)} files", f"at most {FILES_MAX}")
            self.roots.clear()

    def read(self, name: str) -> bytes:
        try:
            if len(name.encode()) > PATH_BYTES_MAX:
                raise OSError(f"its path is longer than {PATH_BYTES_MAX} bytes")
            with open_plain(name) as file:
                data = file.read(FILE_BYTES_MAX + 1)
        except ValueError:
            raise OSError("no file can have this name") from None
        if len(data) > FILE_BYTES_MAX:
            raise OSError(f"larger than {FILE_BYTES_MAX} bytes")
        return data

    def exists(self, name: str) -> bool:
        return os.path.lexists(name) and kind(Path(name)) != DIRECTORY  # what can't be read then is refused

    def has_list(self, name: str) -> bool:
        return kind(Path(name)) == FILE


class StoredFiles(Files):
    """The files of an earlier publication, as `Loaded.sources` holds them."""

    def __init__(self, stored: Mapping[str, bytes]) -> None:
        super().__init__()
        self.stored = stored
        self.roots = [(name.removeprefix(ROOT), True) for name in stored if name.startswith(ROOT)]

    def read(self, name: str) -> bytes:
        for prefix in (ROOT, REFERRED):
            if prefix + name in self.stored:
                return self.stored[prefix + name]
        raise OSError("not in the store")

    def exists(self, name: str) -> bool:
        return ROOT + name in self.stored or REFERRED + name in self.stored

    def has_list(self, name: str) -> bool:
        return True


def resolve(file: str, reference: str) -> str:
    """The name of what `file` refers to."""
    return Path(os.path.normpath(Path(file).parent / reference)).as_posix()
