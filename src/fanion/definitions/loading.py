"""From paths to everything that a publication stores; all defects of all files in one DefinitionError."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.overriding import Overriding, Unmet
from fanion.definitions.reading.documents import DocumentError, read_document, read_struct
from fanion.definitions.reading.files import REFERRED, ROOT, DiskFiles, Files, StoredFiles, resolve
from fanion.definitions.reading.keys import KeyDefinition, KeyReader, check_words
from fanion.definitions.reading.limits import FLAGS_MAX, SOURCES_MAX
from fanion.definitions.reading.members import MemberList
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.structure import BROKEN, build
from fanion.definitions.sources import NAMES, formats
from fanion.definitions.sources.format import SourceFile, SourceFormat
from fanion.definitions.sources.native.checks import ProjectChecks
from fanion.definitions.sources.native.experiments import check_experiments, lower_experiments
from fanion.definitions.sources.native.exposures import check_exposures, lower_exposures, recording_of
from fanion.definitions.sources.native.files import hide_keys, identifiers, project_lists, references
from fanion.definitions.sources.native.lowering import NativeLowering
from fanion.definitions.sources.native.worlds import OrganisationWorld, Placed, ProjectWorld, gather
from fanion.errors import Problem
from fanion.model.collector import collector_paused
from fanion.model.definition import Environment, File, SourceReference
from fanion.model.override import Override, laid
from fanion.model.program import Lowered
from fanion.model.vocabulary import Vocabulary
from fanion.model.weights import Applied, laid_with

OWN_NAME: Final = "files"
"""The organisation and project of files that belong to an environment without saying so."""


class Loaded(msgspec.Struct, frozen=True):
    """A publication that has passed every check.

    `sources` is the text of all files, for the store: an other server version recompiles from it. Raw keys
    are replaced by their hashes in it, and the files of lists are left out.
    """

    environments: list[Lowered]
    keys: list[KeyDefinition]
    warnings: list[Problem]
    sources: dict[str, bytes]
    lists: list[MemberList]
    laid: dict[str, str]
    """What lies over an environment (`model.weights.laid_with`)."""
    unmet: dict[str, list[Unmet]]
    """Overrides that changed nothing, by environment; only where there are some."""


def load(
    paths: Iterable[str | Path],
    vocabulary: Vocabulary,
    variables: Mapping[str, str] | None = None,
    environment: str | None = None,
    overrides: Mapping[str, Sequence[Override]] | None = None,
    weights: Mapping[str, Applied] | None = None,
) -> Loaded:
    """Read, check and lower the files and directories. `vocabulary`: of the APIs that will serve them. `variables`
    (the process environment when left out) answers `env:` keys. `environment`: where files of formats belong that
    don't say their environment. `overrides`, `weights`: to lay over each environment. Raises DefinitionError with
    every problem; nothing is stored by this."""
    report = Report()
    files = DiskFiles(paths, report)
    known = os.environ if variables is None else variables
    return _Loading(files, known, vocabulary, report, environment, overrides, weights).run()


def load_stored(
    sources: Mapping[str, bytes],
    vocabulary: Vocabulary,
    overrides: Mapping[str, Sequence[Override]] | None = None,
    weights: Mapping[str, Applied] | None = None,
    only: Collection[str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> Loaded:
    """The same from what an earlier `load` gave as `sources`. `only`: the environments to lower; the others are
    read and checked. `variables`: none where left out, as what was loaded names none."""
    files = StoredFiles(sources)
    return _Loading(
        files, {} if variables is None else variables, vocabulary, Report(), None, overrides, weights, only
    ).run()


class _Loading:
    """One publication on its way. Each step adds to the report; `run` raises between checks and lowering."""

    def __init__(
        self,
        files: Files,
        variables: Mapping[str, str],
        vocabulary: Vocabulary,
        report: Report,
        own_environment: str | None = None,
        overrides: Mapping[str, Sequence[Override]] | None = None,
        weights: Mapping[str, Applied] | None = None,
        only: Collection[str] | None = None,
    ) -> None:
        self.files = files
        self.own_environment = own_environment
        self.unplaced: list[SourceReference] = []
        self.vocabulary = vocabulary
        self.report = report
        self.keys = KeyReader(variables, vocabulary, report)
        self.texts: dict[str, bytes] = {}
        self.native: set[str] = set()
        """Files of definitions in the native format as they were given."""
        self.referred: dict[str, bytes] = {}
        self.lists: list[MemberList] = []
        self.overrides = overrides or {}
        self.weights = weights or {}
        self.only = only
        self.unmet: dict[str, list[Unmet]] = {}

    def run(self) -> Loaded:
        with collector_paused():
            world = self.world()
            projects = [project for one in world.values() for project in one.projects.values()]
            for project in projects:
                ProjectChecks(project, self.report).run()
                check_experiments(project, self.report)
                check_exposures(project, self.report)
                self.lists += project_lists(project, self.files, self.report)
            self.environment_ids(projects)
            parsed = [
                (project, name, self.environment(project, name, placed))
                for project in projects
                for name, placed in project.environments.items()
            ]
            if not parsed and not self.report.problems:
                first = self.files.roots[0][0] if self.files.roots else "definitions"
                self.report.problem(first, "organisations", "no environment", "at least one to publish")
            self.report.raise_problems()
            wanted = [
                item for item in parsed if self.only is None or item[0].environment_id(item[1]) in self.only
            ]
            environments = [self.lower(*item) for item in wanted]
            self.report.raise_problems()
            parsed.clear()
            wanted.clear()
            projects.clear()
            for one in world.values():
                one.projects.clear()  # a circle: its flags would stay until the collector runs
            given = (environments, self.keys.keys, self.report.warnings, self.stored(), self.lists)
            over = {one.environment: self.laid(one.environment) for one in environments}
            return Loaded(*given, over, self.unmet)

    # -- reading

    def world(self) -> dict[str, OrganisationWorld]:
        """Every root file's definitions. What another file refers to is no root, even in a published
        directory."""
        documents: list[tuple[str, File]] = []
        reports: dict[str, Report] = {}
        given = dict(self.files.roots)
        for name in given:
            reports[name] = Report()
            document = self.document(name, reports[name])
            if document is not None:
                documents.append((name, document))
        world_files = {
            name for own, document in documents for name in references(own, document) if name != own
        }
        skipped = {name for name in world_files if not given.get(name, True)}
        if self.own_environment is not None:
            documents += self.own_world(self.own_environment, skipped)
        for name, report in reports.items():
            if name not in skipped:
                self.report.include(report)
            else:
                self.texts.pop(name, None)
        return gather([item for item in documents if item[0] not in skipped], self.report)

    def document(self, name: str, report: Report) -> File | None:
        data = self.read(name, name, "file", report)
        if data is None:
            return None
        self.texts[name] = data
        read = read_struct(name, data, File)
        if read is not None:
            self.native.add(name)
            return read
        try:
            document = read_document(name, data)
        except DocumentError as error:
            report.problem(name, error.place, error.found, error.allowed)
            return None
        if isinstance(document, dict) and "organisations" not in document:
            for source in formats().values():
                if source.recognises(document):
                    placed = source.placed(name, document, self.files.exists)
                    if placed is None and self.own_environment is not None:
                        del self.texts[name]
                        self.unplaced.append(SourceReference(source.name, name))
                    elif placed is None:
                        found = f"a {source.name} file, which does not say its environment"
                        allowed = "a reference to it in an environment's sources, or --environment"
                        report.problem(name, "document", found, allowed)
                    return placed
        self.native.add(name)
        built = build(document, File, name, "", report)
        return None if built is BROKEN else built

    def own_world(self, environment: str, referred: set[str]) -> Iterator[tuple[str, File]]:
        """The files that don't say their environment, as if a native file beside them referred to them from this
        one, but for those that another refers to already. The store keeps that file with them."""
        self.unplaced = [one for one in self.unplaced if one.path not in referred]
        if not self.unplaced:
            self.report.problem(
                "--environment", "files", "none that needs it", "files of formats without one"
            )
            return
        first = PurePosixPath(self.unplaced[0].path)
        name = first.with_name(f"{first.name}.environment.json").as_posix()
        folder = first.parent
        sources = [
            SourceReference(one.format, os.path.relpath(one.path, folder).replace(os.sep, "/"))
            for one in self.unplaced
        ]
        document = {
            "organisations": {
                OWN_NAME: {"projects": {OWN_NAME: {"environments": {environment: {"id": environment}}}}}
            }
        }
        built = build(document, File, "--environment", "", self.report)
        if built is BROKEN or self.report.problems:
            return
        given = document["organisations"][OWN_NAME]["projects"][OWN_NAME]["environments"][environment]
        given["sources"] = msgspec.to_builtins(sources)
        self.texts[name] = msgspec.json.encode(document)
        yield name, msgspec.convert(document, File)

    def read(self, name: str, file: str, path: str, report: Report) -> bytes | None:
        try:
            return self.files.read(name)
        except OSError as error:
            found = f"{name if name != file else 'the file'} can't be read ({error.strerror or error})"
            report.problem(file, path, found, "a readable file")
            return None

    # -- environments

    def environment_ids(self, projects: list[ProjectWorld]) -> None:
        seen: dict[str, str] = {}
        for project in projects:
            for name, placed in project.environments.items():
                id = project.environment_id(name)
                if id in seen:
                    found = f"{shown(id)} again"
                    self.report.problem(placed.file, f"{placed.path}.id", found, f"unique; {seen[id]} has it")
                seen[id] = placed.path

    def environment(
        self, project: ProjectWorld, name: str, placed: Placed[Environment]
    ) -> list[tuple[SourceFormat, SourceFile, Any]]:
        """Reads keys and sources of an environment; returns the parsed sources."""
        item, file, path = placed.item, placed.file, placed.path
        dialects = self.vocabulary.dialects
        check_words(item.dialects or (), dialects, file, f"{path}.dialects", self.report)
        for dialect in item.identifiers:
            if dialect not in dialects:
                place = join(f"{path}.identifiers", dialect)
                self.report.problem(file, place, shown(dialect), f"one of {', '.join(dialects)}")
        self.keys.read(item, file, path, project.environment_id(name), project.organisation.id)
        flags = len(project.flags) + sum(
            len(one.item.variables)
            for one in project.features.values()
            if isinstance(one.item.variables, dict)
        )
        if flags > FLAGS_MAX:
            self.report.problem(file, path, f"{flags} flags and variables", f"at most {FLAGS_MAX}")
        check_words(item.source_order, sorted(NAMES), file, f"{path}.source_order", self.report)
        if len(item.sources) > SOURCES_MAX:
            found = f"{len(item.sources)} sources"
            self.report.problem(file, f"{path}.sources", found, f"at most {SOURCES_MAX}")
        parsed = []
        for number, reference in enumerate(item.sources):
            if reference is not BROKEN:
                source = self.source(reference, file, f"{path}.sources[{number}]")
                if source is not None:
                    parsed.append(source)
        return parsed

    def source(
        self, reference: SourceReference, file: str, path: str
    ) -> tuple[SourceFormat, SourceFile, Any] | None:
        known = formats().get(reference.format) if isinstance(reference.format, str) else None
        if known is None:
            if reference.format is not BROKEN:
                allowed = f"one of {', '.join(sorted(formats()))}"
                self.report.problem(file, f"{path}.format", shown(reference.format), allowed)
            return None
        for role in sorted(reference.files.keys() ^ known.roles):
            if role not in known.roles or role in known.required_roles:
                place = join(f"{path}.files", role)
                found = "an unknown role" if role not in known.roles else "nothing"
                allowed = f"{known.name} takes {', '.join(sorted(known.roles)) or 'no further files'}"
                self.report.problem(file, place, found, allowed)
        if reference.path is BROKEN:
            return None
        name = resolve(file, reference.path)
        data = self.read(name, file, f"{path}.path", self.report)
        if data is None:
            return None
        self.referred[name] = data
        files: dict[str, bytes] = {}
        for role, further in reference.files.items():
            if role not in known.roles:
                continue
            other = resolve(file, further)
            content = self.read(other, file, join(f"{path}.files", role), self.report)
            if content is not None:
                files[role] = self.referred[other] = content
        source = SourceFile(name, data, files)
        parsed = known.parse(source, self.report)
        return None if parsed is None else (known, source, parsed)

    def lower(
        self, project: ProjectWorld, name: str, sources: list[tuple[SourceFormat, SourceFile, Any]]
    ) -> Lowered:
        id = project.environment_id(name)
        by_name = {api.name: api.named_environment for api in self.vocabulary.apis}
        builder = Builder(id, identifiers(project, name, by_name), name)
        builder.recording = recording_of(project, name)
        builder.overriding = Overriding(self.overrides.get(id, ()))
        builder.weights = self.weights.get(id, {})
        NativeLowering(project, name, builder, self.report).run()
        for known, source, parsed in sources:
            known.lower(parsed, source, builder, self.report)
            for entry, path in builder.members:
                if entry.file is not None and not self.files.has_list(entry.file):
                    self.report.problem(source.name, path, f"{entry.file} can't be read", "a file of members")
                self.lists.append(entry)
            builder.members.clear()
        lower_experiments(project, name, builder, self.report)
        lower_exposures(project, name, builder, self.report)
        builder.source_order = tuple(project.environments[name].item.source_order)
        builder.bound_derived(self.report)
        builder.warn_of_ambiguous(self.report)
        if builder.identifiers.keys() & self.vocabulary.literal_keys:
            builder.warn_of_unreachable(self.report)
        if unmet := builder.overriding.unmet():
            self.unmet[id] = unmet
        return builder.finish()

    def laid(self, id: str) -> str:
        return laid_with(laid(self.overrides.get(id, ())), self.weights.get(id, {}))

    # -- the store's copy

    def stored(self) -> dict[str, bytes]:
        hidden = self.keys.hidden
        sources: dict[str, bytes] = {}
        for name, data in self.texts.items():
            document = read_document(name, data) if hidden and name in self.native else None
            if document is not None and hide_keys(document, hidden):
                sources[f"{ROOT}{name.removesuffix('.json')}.json"] = msgspec.json.encode(document)
            else:
                sources[ROOT + name] = data
        return sources | {REFERRED + name: data for name, data in self.referred.items()}
