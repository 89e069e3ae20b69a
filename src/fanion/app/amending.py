"""Bundles of definitions of which a few flags changed, made from those that are served.

The store has the files of a publication and the bundles that they came to. Where the files now are the same but
for some flags that stand together, the flags are read, checked and lowered with their neighbours alone
(`definitions.changes`), and written into the served bundles (`bundle.amending`). What comes out is what
compiling all of it would give, to the byte. Whatever isn't known to be so is no amendment: then all is loaded
and compiled, which is also how problems and warnings get said.

A publication says that it may be amended: by what code it was compiled and with which environments, where it
left no warning and nothing lies over it. A bundle that was put in a published one's place says nothing.

Decision, 2026-11. The served bundle instead of a cache of compiled pieces: it is there already, proven when it is
opened, goes with the store, holds nothing that `fanion forget` would have to look for, and can't be older than what
it stands for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import xxhash

from fanion.app.reuse import own_files
from fanion.bundle.amending import Amended, Amendment
from fanion.config import Config
from fanion.dialects import renderings, vocabulary
from fanion.errors import FanionError
from fanion.model.collector import collector_paused
from fanion.model.program import Decision, DecisionVariant, Entry, Hash, Node, Outcome, Ranges, Table, Test
from fanion.store.generation import PinnedGeneration
from fanion.store.store import Store

if TYPE_CHECKING:
    from fanion.definitions import Loaded
    from fanion.definitions.changes import Change


class Made(NamedTuple):
    """What `publish` is given. `loaded` has the flags that changed and some others; `left_out`: environment -> how
    many flags more its bundle has."""

    loaded: Loaded
    bundles: dict[str, bytes]
    left_out: dict[str, int]


class _OtherwiseError(Exception):
    """It can't be amended."""


def mark(loaded: Loaded) -> str:
    """What a publication says to be amended by, empty where it can't be."""
    if loaded.warnings or loaded.lists or any(loaded.laid.values()):
        return ""
    return _mark(lowered.environment for lowered in loaded.environments)


def _mark(environments: Iterable[str]) -> str:
    given = (own_files(), msgspec.__version__, sorted(environments))
    return xxhash.xxh3_128_hexdigest(msgspec.msgpack.encode(given))


def amended(directory: Path, paths: Iterable[Path], config: Config) -> Made | None:
    """Of the definitions in `paths`; None where they have to be loaded and compiled."""
    from fanion.definitions.reading.files import ROOT, DiskFiles
    from fanion.definitions.reading.report import Report

    report = Report()
    files = DiskFiles(paths, report)
    if report.problems or report.warnings:
        return None
    try:
        with Store.open(directory, map_bytes=config.store.map_bytes) as store, store.pin() as pinned:
            environments = _published_together(pinned, {ROOT + name for name, _ in files.roots})
            if not environments:
                return None
            texts = {ROOT + name: files.read(name) for name, _ in files.roots}
            bundles = {name: pinned.bundle(name) or b"" for name in environments}
            with collector_paused():
                return remade(pinned.definitions(environments[0]), texts, bundles)
    except OSError:
        return None
    except FanionError:  # no store yet, one that is damaged, a limit: the long way says which
        return None


def remade(
    before: Mapping[str, bytes], after: Mapping[str, bytes], bundles: Mapping[str, bytes | memoryview]
) -> Made | None:
    """From `bundles`, all those of a publication of the files `before`, which left no warning, those of `after`.
    Raises FanionError where they break a limit."""
    from fanion.definitions.changes import load_changed

    changed = load_changed(before, after, vocabulary(), os.environ)
    if changed is None or changed.changes.keys() != bundles.keys() or not mark(changed.loaded):
        return None
    made, left_out = {}, {}
    for environment, change in changed.changes.items():
        with closing(Amended(bundles[environment])) as of:
            left_out[environment] = of.decision_count - len(change.after.decisions)
            try:
                made[environment] = _Amending(of, change).bundle()
            except _OtherwiseError:
                return None
    return Made(changed.loaded, made, left_out)


def _published_together(pinned: PinnedGeneration, names: set[str]) -> list[str]:
    """Environments of the one publication of files with these names, all of which are served as it made them; none
    where they aren't."""
    of: dict[int, list[str]] = {}
    for name, entry in pinned.manifest.environments.items():
        of.setdefault(entry.publication, []).append(name)
    for environments in of.values():
        entries = [pinned.manifest.environments[name] for name in environments]
        if entries[0].amendable and set(pinned.definition_names(environments[0])) == names:
            expected = _mark(environments)
            if all(entry.amendable == expected and not entry.overrides for entry in entries):
                return sorted(environments)
    return []


class _Amending:
    """One environment whose flags changed."""

    def __init__(self, of: Amended, change: Change) -> None:
        self._of = of
        self._change = change
        if change.parameters and not of.can_be():
            raise _OtherwiseError
        self._renderers = {
            name: rendering for name, rendering in renderings().items() if name in change.after.identifiers
        }
        if of.tables() != list(self._renderers) or of.reader.identifiers != change.after.identifiers:
            raise _OtherwiseError
        slots = {slot: number for number, slot in enumerate(of.slots)}
        if any(slot not in slots for slot in change.after.slots):
            raise _OtherwiseError
        self._slots = [slots[slot] for slot in change.after.slots]
        self._decisions = self._numbers()
        """Of the excerpt's decisions that are asked or changed: their numbers in the bundle."""

    def bundle(self) -> bytes:
        """Raises ProgramError where what changed breaks a limit."""
        after = self._change.after
        if not self._change.parameters:
            return bytes(self._of.reader.buffer)
        new: dict[int, Decision] = {}
        for number in self._change.parameters:
            decision = after.parameters[number].decision
            given = after.decisions[decision]
            nodes = tuple(map(self._node, given.nodes))
            new[self._decisions[decision]] = Decision(given.key, nodes)
        entries: dict[str, dict[int, Entry]] = {}
        documents: dict[str, bytes] = {}
        for name in self._renderers:
            entries[name] = self._rendered(name, documents)
        return self._of.compiled(Amendment(new, entries, documents))

    def _numbers(self) -> dict[int, int]:
        after = self._change.after
        segments = self._segments(after.documents)
        whole = self._segments(self._of.documents)
        if segments.keys() != whole.keys():
            raise _OtherwiseError
        found = {segments[name]: whole[name] for name in segments}
        others = set(whole.values())
        for number in self._change.parameters:
            parameter = after.parameters[number]
            places = [one for one in self._of.decisions_of(parameter.key) if one not in others]
            if len(places) != 1:
                raise _OtherwiseError
            found[parameter.decision] = places[0]
        return found

    def _segments(self, documents: Mapping[str, bytes]) -> dict[str, int]:
        said = msgspec.json.decode(documents.get("segments", b"{}"), type=dict[str, dict[str, int]])
        return {name: record["decision"] for name, record in said.items()}

    def _node(self, node: Node) -> Node:
        """With the bundle's numbers."""
        match node:
            case Test():
                operand = node.operand
                if isinstance(operand, DecisionVariant):
                    asked = DecisionVariant(self._decisions[operand.decision], operand.variant)
                    return msgspec.structs.replace(node, operand=asked)
                return msgspec.structs.replace(node, slot=self._slots[node.slot])
            case Hash():
                pieces = tuple(
                    piece if piece.slot < 0 else msgspec.structs.replace(piece, slot=self._slots[piece.slot])
                    for piece in node.pieces
                )
                return msgspec.structs.replace(node, pieces=pieces)
            case Ranges() | Outcome():
                return node
        raise _OtherwiseError

    def _rendered(self, name: str, documents: dict[str, bytes]) -> dict[int, Entry]:
        """The new entries of a dialect; its documents that differ are added."""
        rendering = self._renderers[name]
        before, after = rendering.render(self._change.before), rendering.render(self._change.after)
        if before.rows or after.rows or before.absent != after.absent or _keys(before) != _keys(after):
            raise _OtherwiseError
        changed = {self._change.after.parameters[number].decision for number in self._change.parameters}
        numbers = {number: self._decisions[number] for number in changed}
        entries = {
            self._decisions[entry.decision]: msgspec.structs.replace(
                entry, decision=self._decisions[entry.decision]
            )
            for entry in after.entries
            if entry.decision in changed
        }
        for document, content in after.documents.items():
            old, whole = before.documents.get(document), self._of.documents.get(document)
            if old == content:
                continue
            given = (
                None
                if old is None or whole is None or rendering.amend is None
                else rendering.amend(document, whole, old, content, numbers)
            )
            if given is None:
                raise _OtherwiseError
            documents[document] = given
        if before.documents.keys() != after.documents.keys():
            raise _OtherwiseError
        return entries


def _keys(table: Table) -> list[tuple[str, int]]:
    return [(entry.key, entry.decision) for entry in table.entries]
