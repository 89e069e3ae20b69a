"""The command line: one module per verb, loaded only when asked for, so that `fanion --help` stays quick.

Exit statuses are said in `fanion --help`: a `FanionError`, and what the operating system refuses, ends the command
with a message on standard error and exit status 1; usage errors exit 2.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress

import click

from fanion.errors import FanionError, StoreTwinError

PROCESSES_MAX = 20

VERBS = {
    "serve": "run the server",
    "publish": "validate, compile and store definitions as one new generation",
    "check": "validate definitions only",
    "rollback": "go back to the previous generation",
    "inspect": "show what a bundle holds, and the program of one flag",
    "eval": "evaluate one flag offline, with the reason and the path taken",
    "keys": "create, list and revoke API keys",
    "lists": "show and change the members of list segments",
    "journal": "read, follow, verify and summarise the journal; believe its clock again",
}
"""Verb -> one line of help; the verb's command is `command` in the module of that name (`eval_` for eval)."""


class Verbs(click.Group):
    """Loads a verb's module when the verb is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"fanion.cli.{cmd_name if cmd_name != 'eval' else 'eval_'}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fanion")
def group() -> None:
    """Fanion: feature-flag evaluation and event ingest, self-hosted.

    `fanion serve --demo` tries it out; `fanion COMMAND --help` says more of each command.

    Exit status: 0 when done, 1 when something was refused or failed, 2 when the command was not understood, 3 when
    a change stands but what there is to say of it could not be written. What went wrong stands on standard error.
    """


def main() -> None:
    """Entry point of the `fanion` command."""
    try:
        run_command()
    except FanionError as error:
        click.echo(f"fanion: {error}", err=True)
        sys.exit(1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        with suppress(OSError):
            click.echo(f"fanion: {place}{error.strerror or error}", err=True)
        drop_output()
        sys.exit(1)


def run_command() -> None:
    """Runs the command of the command line. Where a process of another container has this one's id and the store
    open, a child of this one, with another id, runs it instead. A server's own processes are not replaced."""
    for _ in range(PROCESSES_MAX):
        try:
            group.main(standalone_mode=True)
        except StoreTwinError:
            if sys.argv[1:2] == ["serve"]:
                raise
        sys.stdout.flush()
        child = os.fork()
        if child:
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            sys.exit(status if status >= 0 else 128 - status)
    raise StoreTwinError(
        f"{PROCESSES_MAX} process ids in a row are those of another container's readers of the store"
    )


def drop_output() -> None:
    """What is left in standard output's buffer goes nowhere, so that the interpreter's last flush does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    with suppress(OSError, ValueError):
        os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
