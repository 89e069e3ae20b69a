"""Reads the scenarios of flagd's evaluator kit: enough of Gherkin for it, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

FOLDER = Path(__file__).with_name("flagd")
FLAGS = FOLDER / "flags" / "testkit-flags.json"
RETIRED = "@fractional-v1"
"""Percentages of floating point, which no evaluator computes any more."""

STEPS = {
    "evaluator": r"an evaluator",
    "flag": r'an? (\w+)-flag with key "(.*?)" and a fallback value "(.*)"',
    "attribute": r'a context containing a key "(.*?)", with type "(\w+)" and with value "(.*)"',
    "targeting": r'a context containing a targeting key with value "(.*)"',
    "nested": r'a context containing a nested property with outer key "(\w+)" and inner key "(\w+)",'
    r' with value "(.*)"',
    "evaluated": r"the flag was evaluated with details",
    "value": r'the resolved details value should be "(.*)"',
    "reason": r'the reason should be "(\w+)"',
    "code": r'the error-code should be "(\w+)"',
    "metadata": r"the resolved metadata should contain",
    "no metadata": r"the resolved metadata is empty",
}
_KNOWN = {name: re.compile(pattern) for name, pattern in STEPS.items()}


class Step(msgspec.Struct):
    name: str
    values: tuple[str, ...]
    table: list[dict[str, str]]


class Scenario(msgspec.Struct):
    name: str
    steps: list[Step]


class _Outline(msgspec.Struct):
    name: str
    tags: list[str]
    lines: list[str]
    examples: list[tuple[list[str], list[dict[str, str]]]] = []


def scenarios() -> list[Scenario]:
    """All scenarios, one for each example."""
    return [one for path in sorted(FOLDER.glob("gherkin/*.feature")) for one in _read(path)]


def _read(path: Path) -> Iterator[Scenario]:
    background: list[str] = []
    outlines: list[_Outline] = []
    tags: list[str] = []
    into = background
    for raw in path.read_text().splitlines():
        line = raw.strip()
        if not line or line.startswith(("#", "Feature:")):
            tags = [] if line.startswith("Feature:") else tags
        elif line.startswith("@"):
            tags += line.split()
        elif line.startswith("Background:"):
            into = background
        elif line.startswith(("Scenario:", "Scenario Outline:")):
            outlines.append(_Outline(line.partition(":")[2].strip(), tags, []))
            into, tags = outlines[-1].lines, []
        elif line.startswith("Examples:"):
            outlines[-1].examples.append((tags, []))
            into, tags = [], []
            head: list[str] = []
        elif line.startswith("|") and outlines and outlines[-1].examples and into is not outlines[-1].lines:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if not outlines[-1].examples[-1][1] and not head:
                head = cells
            else:
                outlines[-1].examples[-1][1].append(dict(zip(head, cells, strict=True)))
        else:
            into.append(line)
    for outline in outlines:
        yield from _scenarios(path.stem, outline, background)


def _scenarios(feature: str, outline: _Outline, background: list[str]) -> Iterator[Scenario]:
    given = outline.examples or [([], [{}])]
    for row in [row for tags, found in given if RETIRED not in [*tags, *outline.tags] for row in found]:
        lines = [_filled(line, row) for line in [*background, *outline.lines]]
        told = "-".join(row.values())
        yield Scenario(f"{feature}: {outline.name} {told}".strip(), list(_steps(lines)))


def _filled(line: str, row: dict[str, str]) -> str:
    for name, value in row.items():
        line = line.replace(f"<{name}>", value)
    return line


def _steps(lines: list[str]) -> Iterator[Step]:
    made: Step | None = None
    head: list[str] = []
    for line in lines:
        if line.startswith("|"):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert made is not None
            if head:
                made.table.append(dict(zip(head, cells, strict=True)))
            head = head or cells
            continue
        if made is not None:
            yield made
        text = line.partition(" ")[2]
        matches = ((name, known.fullmatch(text)) for name, known in _KNOWN.items())
        made = next(Step(name, found.groups(), []) for name, found in matches if found)
        head = []
    if made is not None:
        yield made


def typed(kind: str, text: str) -> Any:
    """A value of the kit: its texts escape quotes."""
    if kind == "Boolean":
        return text == "true"
    if kind == "Integer":
        return int(text)
    if kind == "Float":
        return float(text)
    return json.loads(text.replace('\\"', '"')) if kind == "Object" else text
