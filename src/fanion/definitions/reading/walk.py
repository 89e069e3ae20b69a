"""Finds a directory's definition files, and refuses what can't be looked at: nothing is left out without a word.

Links to files and directories are followed, and a file that several names lead to is read once, under a name
without links if it has one. A link to a directory that holds the link itself would have no end: inside the tree
it is named and left, since all that it leads to is read anyway; where it leads out of the tree it is refused.
Hidden entries are left out: editors, version control and Kubernetes' volumes keep theirs there.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path
from typing import Final

from fanion.definitions.reading.limits import PATH_BYTES_MAX
from fanion.definitions.reading.report import Report

DIRECTORY: Final = stat.S_IFDIR
FILE: Final = stat.S_IFREG
SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
READABLE: Final = "what can be read, or out of the way: hidden entries are left out"


class Walk:
    """The files of one publication; each is given out once, however many of the paths lead to it."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._files: set[tuple[int, int]] = set()
        self._directories: set[tuple[int, int]] = set()
        self._links: deque[Path] = deque()
        self._names: list[str] = []
        self._found = False

    def named(self, path: Path) -> bool:
        """Whether a file that was named itself is to be read: unless it is among what was given out. One that isn't
        there is, so that reading it says why."""
        if not self._checked(path):
            return False
        try:
            status = path.stat()
        except (OSError, ValueError):
            return True
        return self._first_time(self._files, status)

    def directory(self, top: Path) -> list[str]:
        """The names of the definition files in a directory, sorted."""
        self._names, self._found = [], False
        problems = len(self._report.problems)
        self._scan(top)
        while self._links:
            self._follow(self._links.popleft(), top)
        if not self._found and len(self._report.problems) == problems:
            self._problem(top, "no definition files", "*.yaml, *.yml, *.json")
        return sorted(self._names)

    def _scan(self, top: Path) -> None:
        waiting = [top]
        while waiting:
            directory = waiting.pop()
            try:
                if not self._first_time(self._directories, directory.stat()):
                    self._found = True
                    continue
                with os.scandir(directory) as scanned:
                    entries = sorted(scanned, key=lambda entry: entry.name)
            except OSError as error:
                self._problem(directory, f"can't be read ({error.strerror})", READABLE)
                continue
            for entry in entries:
                path = directory / entry.name
                if entry.name.startswith("."):
                    continue
                if entry.is_symlink():
                    self._links.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    waiting.append(path)
                elif path.suffix.lower() in SUFFIXES:
                    self._take(path)

    def _follow(self, link: Path, top: Path) -> None:
        try:
            status = link.stat()
        except OSError as error:
            self._problem(link, f"a link that can't be followed ({error.strerror})", READABLE)
            return
        if not stat.S_ISDIR(status.st_mode):
            if link.suffix.lower() in SUFFIXES:
                self._take(link)
            return
        target = Path(os.path.realpath(link))
        if not Path(os.path.realpath(link.parent)).is_relative_to(target):
            self._scan(link)
        elif target.is_relative_to(os.path.realpath(top)):
            meaning = "what it leads to is read once"
            self._report.warning(shown_name(link), "link", f"a loop: it leads back to {target}", meaning)
        else:
            self._problem(link, f"a loop: it leads back to {target}", "a link to what doesn't hold it")

    def _take(self, path: Path) -> None:
        self._found = True
        try:
            status = path.stat()
        except OSError as error:
            self._problem(path, f"can't be read ({error.strerror})", READABLE)
            return
        if not stat.S_ISREG(status.st_mode):
            self._problem(path, "neither a file nor a directory", READABLE)
        elif self._checked(path) and self._first_time(self._files, status):
            self._names.append(path.as_posix())

    def _checked(self, path: Path) -> bool:
        """Whether the store can keep the file under its name."""
        name = path.as_posix()
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            self._problem(path, "a name that is not UTF-8", "another name")
            return False
        if size > PATH_BYTES_MAX:
            self._problem(path, f"a path of {size} bytes", f"at most {PATH_BYTES_MAX}")
        return size <= PATH_BYTES_MAX

    def _first_time(self, seen: set[tuple[int, int]], status: os.stat_result) -> bool:
        identity = status.st_dev, status.st_ino
        if identity in seen:
            return False
        seen.add(identity)
        return True

    def _problem(self, path: Path, found: str, allowed: str) -> None:
        self._report.problem(shown_name(path), "path", found, allowed)


def kind(path: Path) -> int | None:
    """What a path, or what it links to, is; None where that can't be told."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (OSError, ValueError):
        return None


def shown_name(path: Path) -> str:
    """A path for a message, whatever its bytes are."""
    return os.fsencode(path.as_posix()).decode(errors="backslashreplace")
