"""Puts the native files of a publication together: one world of organisations, projects and their items.

An organisation or project may stand in several files; each item in one only, and what is said about the whole
(name, plan, limits) must not be said twice in different words. Every item remembers its file and path.
"""

from __future__ import annotations

from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.structure import BROKEN
from fanion.model.definition import (
    Environment,
    Event,
    Experiment,
    Feature,
    File,
    Flag,
    Limits,
    Organisation,
    Project,
    Segment,
)

T = TypeVar("T")


class Placed(NamedTuple, Generic[T]):
    """An item and where it stands."""

    file: str
    path: str
    item: T


class ProjectWorld:
    """A project as all files together say it."""

    def __init__(self, organisation: OrganisationWorld, key: str) -> None:
        self.organisation = organisation
        self.key = key
        self.name = ""
        self.environments: dict[str, Placed[Environment]] = {}
        self.flags: dict[str, Placed[Flag]] = {}
        self.features: dict[str, Placed[Feature]] = {}
        self.segments: dict[str, Placed[Segment]] = {}
        self.events: dict[str, Placed[Event]] = {}
        self.experiments: dict[str, Placed[Experiment]] = {}

    def environment_id(self, name: str) -> str:
        """The environment's own id, else organisation/project/environment, which is unique by itself."""
        own = self.environments[name].item.id
        return own if isinstance(own, str) else f"{self.organisation.id}/{self.key}/{name}"


class OrganisationWorld:
    """An organisation as all files together say it."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.said: dict[str, Any] = {}
        self.projects: dict[str, ProjectWorld] = {}

    def settings(self) -> Organisation:
        """The organisation without its projects."""
        return Organisation(**{name: value for name, value in self.said.items() if value is not BROKEN})


def gather(files: list[tuple[str, File]], report: Report) -> dict[str, OrganisationWorld]:
    """All files' organisations by id. Repetitions are problems of the later file."""
    world: dict[str, OrganisationWorld] = {}
    for file, document in files:
        if document is BROKEN or document.organisations is BROKEN:
            continue
        for id, organisation in document.organisations.items():
            if organisation is BROKEN:
                continue
            known = world.setdefault(id, OrganisationWorld(id))
            path = join("organisations", id)
            _gather_settings(known, organisation, file, path, report)
            for key, project in organisation.projects.items():
                if project is not BROKEN:
                    place = join(f"{path}.projects", key)
                    own = known.projects.setdefault(key, ProjectWorld(known, key))
                    _gather_project(own, project, file, place, report)
    return world


def _gather_settings(
    known: OrganisationWorld, organisation: Organisation, file: str, path: str, report: Report
) -> None:
    for name, default in (
        ("name", ""),
        ("plan", "free"),
        ("subscription_active", True),
        ("suspended", False),
        ("limits", Limits()),
    ):
        value = getattr(organisation, name)
        if value == default:
            continue
        if known.said.setdefault(name, value) != value:
            report.problem(file, f"{path}.{name}", shown(value), "another file says otherwise; say it once")


def _gather_project(known: ProjectWorld, project: Project, file: str, path: str, report: Report) -> None:
    if project.name and known.name not in ("", project.name):
        report.problem(file, f"{path}.name", shown(project.name), "another file says otherwise; say it once")
    known.name = known.name or project.name
    for kind in ("environments", "flags", "features", "segments", "events", "experiments"):
        have: dict[str, Placed[Any]] = getattr(known, kind)
        items: dict[str, msgspec.Struct] = getattr(project, kind)
        for key, item in items.items():
            place = join(f"{path}.{kind}", key)
            first = have.get(key)
            if first is None:
                have[key] = Placed(file, place, item)
            else:
                report.problem(file, place, f"{shown(key)} again", f"it stands in {first.file} already")
