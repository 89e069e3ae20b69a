"""What an environment says of exposures: what is wrong with it, which splits it records, and what they carry.

The flags that an experiment names count before they are lowered, so whether there are such flags isn't asked here.
"""

from __future__ import annotations

import msgspec

from fanion.definitions.lowering.builder import Builder
from fanion.definitions.lowering.recording import Recording
from fanion.definitions.reading import limits
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.structure import BROKEN
from fanion.definitions.sources.native.worlds import ProjectWorld
from fanion.model.definition import Exposures
from fanion.model.exposure import DOCUMENT, Terms
from fanion.model.row_terms import DOCUMENT as ROW_TERMS
from fanion.model.row_terms import RowTerms


def check_exposures(project: ProjectWorld, report: Report) -> None:
    for placed in project.environments.values():
        said = placed.item.exposures
        if said is BROKEN or said.attributes is BROKEN:
            continue
        count = len(said.attributes)
        if count > limits.EXPOSED_ATTRIBUTES_MAX:
            path = f"{placed.path}.exposures.attributes"
            allowed = f"at most {limits.EXPOSED_ATTRIBUTES_MAX}"
            report.problem(placed.file, path, f"{count} attributes", allowed)


def recording_of(project: ProjectWorld, environment: str) -> Recording:
    said = _said(project, environment)
    tried = frozenset(
        placed.item.flag
        for placed in project.experiments.values()
        if not placed.item.environments or environment in placed.item.environments
    )
    return Recording(said.record, said.flags, tried)


def lower_exposures(project: ProjectWorld, environment: str, builder: Builder, report: Report) -> None:
    """Behind all sources: the document, where a split is recorded; warnings of flags that aren't there, and of
    draws that leave none."""
    said = _said(project, environment)
    placed = project.environments[environment]
    for flag in said.flags:
        if flag not in builder.tried():
            path = join(f"{placed.path}.exposures.flags", flag)
            report.warning(placed.file, path, f"the flag {shown(flag)}", "nothing, as there is none")
    for flag, draws in builder.unseen.items():
        meaning = "they leave no exposures, though its splits are to be recorded"
        report.warning(placed.file, f"{placed.path}.exposures", f"{draws} of {shown(flag)}", meaning)
    if builder.splits:
        terms = Terms(said.attributes, said.assigned, said.anonymous, said.keyed)
        builder.documents[DOCUMENT] = msgspec.json.encode(terms)
    rows = RowTerms(said.keyed, placed.item.rows.keep_days)
    if rows != RowTerms():  # with or without splits: they are of all events
        builder.documents[ROW_TERMS] = msgspec.json.encode(rows)


def _said(project: ProjectWorld, environment: str) -> Exposures:
    return project.environments[environment].item.exposures
