"""Pages of the documentation site that say what the source says, made at each build (a hook of mkdocs).

cli        every command with its options
settings   every setting with its default, bounds and reason
metrics    every name that /metrics has
decisions  the dated paragraphs of docstrings and of the APIs' documents
security, benchmarks   SECURITY.md and bench/README.md
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from mkdocs.structure.files import File, Files

from fanion.cli import group
from fanion.config.loading import settings
from fanion.dialects import vocabulary
from fanion.telemetry.exposition import CATALOGUE

TOP = Path(__file__).resolve().parents[1]
DATED = re.compile(r"^(?:Decision, )?(20[0-9]{2}-[01][0-9])[.,:]? ?(.*)", re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\((?!https?:|#)[^)]*\)")


def on_files(files: Files, config: Any) -> Files:
    for name, make in PAGES.items():
        files.append(File.generated(config, name, content=make()))
    return files


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from commands(below, click.Context(below, info_name=name, parent=context))


def cli() -> str:
    page = [
        "# Commands\n",
        "Exit status: 0 done, 1 refused or failed, 2 not understood, 3 a change stands but wasn't told.\n",
    ]
    for command, context in commands(group, click.Context(group, info_name="fanion")):
        level = "#" * min(4, 1 + context.command_path.count(" ") + 1)
        page.append(f"{level} {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(page)


def settings_page() -> str:
    page = [
        "# Settings\n",
        "In `fanion.toml`, in a variable, or as a flag; flags win over variables, variables over the file.\n",
    ]
    group_name = ""
    for setting in settings(vocabulary()):
        name = setting.name.partition(".")[0]
        if name != group_name:
            page.append(
                f"\n## {name}\n\n| setting | default | what it is | allowed | variable |\n|---|---|---|---|---|"
            )
            group_name = name
        default = setting.default if isinstance(setting.default, str) else str(setting.default).lower()
        allowed = f"{setting.type}, {setting.allowed}" if setting.allowed else setting.type
        told = f"{cell(setting.help)} | {cell(allowed)} | `{setting.variable}` |"
        page.append(f"| `{setting.name}` | `{default or '(empty)'}` | {told}")
    return "\n".join(page) + "\n"


def metrics() -> str:
    page = [
        "# Metrics\n",
        "Prometheus text at `/metrics` on the operations address, put together over all workers.\n",
        "| name | kind | labels | what it says |",
        "|---|---|---|---|",
    ]
    for metric in sorted(CATALOGUE, key=lambda metric: metric.name):
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        page.append(f"| `{metric.name}` | {metric.kind} | {labels} | {cell(metric.help)} |")
    return "\n".join(page) + "\n"


def dated() -> Iterator[tuple[str, str, str]]:
    """(month, where, text) of every dated paragraph of a docstring."""
    for path in sorted((TOP / "src" / "fanion").rglob("*.py")):
        said = ast.get_docstring(ast.parse(path.read_text())) or ""
        module = ".".join(path.relative_to(TOP / "src").with_suffix("").parts).removesuffix(".__init__")
        for paragraph in said.split("\n\n"):
            if found := DATED.match(paragraph.strip()):
                yield found[1], f"`{module}`", found[2]
    for path in sorted((TOP / "docs").rglob("*.md")):
        for paragraph in path.read_text().split("\n\n"):
            if found := DATED.match(paragraph.strip()):
                yield found[1], f"[{path.stem}]({path.relative_to(TOP / 'docs')})", found[2]


def decisions() -> str:
    page = [
        "# Decisions\n",
        "Each stands where it holds: in the docstring of its package, or in the document of its API.\n",
    ]
    for month, where, text in sorted(dated(), key=lambda one: one[:2], reverse=True):
        plain = LINK.sub(r"\1", text)
        page.append(f"**{month}**, {where}: {' '.join(plain.split()).replace('<', '&lt;')}\n")
    return "\n".join(page)


def of_the_top(name: str) -> str:
    """A document from outside of docs/: links to files have nowhere to go from here, so their text stays."""
    return LINK.sub(r"\1", (TOP / name).read_text())


PAGES = {
    "cli.md": cli,
    "settings.md": settings_page,
    "metrics.md": metrics,
    "decisions.md": decisions,
    "security.md": lambda: of_the_top("SECURITY.md"),
    "benchmarks.md": lambda: of_the_top("bench/README.md"),
}
