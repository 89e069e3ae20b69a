"""What stands around a native file's flags: the files it refers to, its keys, lists and environments' ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fanion.definitions.reading.files import Files, resolve
from fanion.definitions.reading.members import MemberList
from fanion.definitions.reading.report import Report
from fanion.definitions.reading.structure import BROKEN
from fanion.definitions.sources.native.lowering import list_name
from fanion.definitions.sources.native.worlds import ProjectWorld
from fanion.model.definition import File, ListSegment


def references(name: str, document: File) -> Iterator[str]:
    """The names of all files that a native file refers to."""
    organisations = document.organisations if isinstance(document.organisations, dict) else {}
    for organisation in organisations.values():
        for project in organisation.projects.values():
            for environment in project.environments.values():
                for reference in environment.sources:
                    if reference is not BROKEN:
                        paths = [reference.path, *reference.files.values()]
                        yield from (resolve(name, path) for path in paths if isinstance(path, str))


def hide_keys(document: Any, hidden: Mapping[str, tuple[str, str]]) -> bool:
    """Replaces keys in a plain native document by their hashes; whether there was one."""
    found = False
    for organisation in document["organisations"].values():
        for project in organisation.get("projects", {}).values():
            for environment in project.get("environments", {}).values():
                for key in environment.get("keys", ()):
                    if key["key"] in hidden:
                        key["key"], prefix = hidden[key["key"]]
                        key.setdefault("prefix", prefix)
                        found = True
    return found


def project_lists(project: ProjectWorld, files: Files, report: Report) -> Iterator[MemberList]:
    """The members of a project's list segments, inline and in files."""
    for key, placed in project.segments.items():
        members = placed.item.members
        if not isinstance(members, ListSegment):
            continue
        for side in ("include", "exclude"):
            inline, further = getattr(members, side), getattr(members, f"{side}_file")
            name = resolve(placed.file, further) if isinstance(further, str) else None
            if name is not None and not files.has_list(name):
                path = f"{placed.path}.list.{side}_file"
                report.problem(placed.file, path, f"{name} can't be read", "a file of members")
            if inline or name:
                yield MemberList(list_name(project, key, side), tuple(inline), name)


def identifiers(project: ProjectWorld, name: str, dialects: Mapping[str, bool]) -> dict[str, dict[str, str]]:
    """An environment's ids, for every dialect that it serves. `dialects` says of each whether it knows an
    environment by its name, where its own id is not given."""
    environment = project.environments[name].item
    own = {
        "organisation": project.organisation.id,
        "project": project.key,
        "environment": project.environment_id(name),
    }
    return {
        dialect: own
        | ({"environment": name} if by_name else {})
        | dict(environment.identifiers.get(dialect, {}).items())
        for dialect, by_name in dialects.items()
        if environment.dialects is None or dialect in environment.dialects
    }
