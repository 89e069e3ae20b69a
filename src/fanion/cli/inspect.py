"""`fanion inspect`: what the store holds, what a bundle holds, and the program of one flag."""

from __future__ import annotations

from pathlib import Path

import click

from fanion.bundle.describe import by_row, describe
from fanion.bundle.format import Section
from fanion.bundle.reader import BundleReader
from fanion.cli.common import data_option, open_store, print_table
from fanion.cli.text import echo
from fanion.cli.times import moment
from fanion.engine.evaluator import open_environment
from fanion.errors import StoreError
from fanion.model.nearest import nearest
from fanion.model.program import DecisionVariant, Test
from fanion.model.text import counted
from fanion.model.weights import PolicyWeights
from fanion.store.generation import PinnedGeneration
from fanion.store.weights import read_weights


@click.command()
@data_option
@click.argument("environment", required=False)
@click.argument("flag", required=False)
def command(data: Path, environment: str | None, flag: str | None) -> None:
    """Show what the store holds; with ENVIRONMENT its bundle; with FLAG that flag's program, node by node.

    With ENVIRONMENT also the weights that `fanion optimise` applied.

    Behind a flag's program stands what each API answers at each outcome, as JSON without what only a request adds:
    a Red Pennon trace, which is issued with every answer, ends in "...".
    """
    with open_store(data) as store, store.pin() as pinned:
        if environment is None:
            sizes = [(name, f"{len(pinned.bundle(name) or b''):,}") for name in pinned.environments()]
            title = f"generation {pinned.number}"
            print_table(("environment", "bundle bytes"), sizes, numbers=("bundle bytes",), title=title)
        else:
            buffer = find_bundle(pinned, environment)
            if flag is None:
                _show_bundle(BundleReader(buffer), len(buffer))
                for policy, weights in sorted(read_weights(pinned, environment).items()):
                    echo(f"applied weights of {policy}: {_weights(weights)}")
            else:
                _show_flag(BundleReader(buffer), flag)


def _weights(weights: PolicyWeights) -> str:
    shares = ", ".join(
        f"{name} {share:g}" for name, share in zip(weights.allocations, weights.everyone, strict=True)
    )
    own = f"; {len(weights.entities):,} entities have their own" if weights.entities else ""
    by = f" by {weights.by}" if weights.by else ""
    return f"{shares}{own}; since {moment(weights.at)}{by}, for {weights.reward}"


def find_bundle(pinned: PinnedGeneration, environment: str) -> bytes:
    """The bundle of an environment, verified and copied out of the map. Raises StoreError for an unknown one."""
    found = pinned.bundle(environment)
    if found is None:
        known = ", ".join(pinned.environments()) or "none"
        raise StoreError(f"environment {environment!r} is not in the store; it holds {known}")
    buffer = bytes(found)
    open_environment(environment, buffer).close()
    return buffer


def _show_bundle(reader: BundleReader, size: int) -> None:
    sections = [(section.name.lower(), f"{n:,}") for section in Section if (n := reader.count(section))]
    title = f"{reader.environment}: {size:,} bytes"
    print_table(("section", "records"), sections, numbers=("records",), title=title)
    for name, table in reader.tables().items():
        shown = ", ".join(entry.key for entry in table.entries[:20])
        more = f", and {len(table.entries) - 20:,} more" if len(table.entries) > 20 else ""
        count = counted(len(table.entries), "key")
        echo(f"{name}: {count}: {shown}{more}")


def _show_flag(reader: BundleReader, flag: str) -> None:
    from fanion import app  # what the store and a bundle hold is shown without the dialects' imports

    tables = {name: by_row(table) for name, table in reader.tables().items()}
    entries = {
        entry.decision: (name, entry)
        for name, table in tables.items()
        for entry in table.entries
        if entry.key == flag
    }
    if not entries:
        keys = {entry.key for table in tables.values() for entry in table.entries}
        raise StoreError(
            f"environment {reader.environment}: no API serves a flag {flag!r}{nearest(flag, keys)}"
        )
    program = reader.program()
    for number in entries:
        wanted, seen = [number], set[int]()
        while wanted:
            asked = wanted.pop(0)
            if asked in seen:
                continue
            seen.add(asked)
            decision = program.decisions[asked]
            echo(f"decision {asked}: {decision.key}")
            for line in describe(decision, program.slots):
                echo(line)
            for node in decision.nodes:
                if isinstance(node, Test) and isinstance(node.operand, DecisionVariant):
                    wanted.append(node.operand.decision)
    for name, table in tables.items():
        for entry in table.entries:
            if entry.key == flag:
                for outcome, fragment in enumerate(entry.fragments):
                    text = b"".join(piece for piece in fragment if isinstance(piece, bytes))
                    echo(f"{name} outcome {outcome}: {app.shown(name, text)}")
