"""The command line: one module per verb, loaded only when asked for, so that `fanion --help` stays quick.

Exit statuses are said in `fanion --help`: a `FanionError`, what the operating system refuses, and a fault of our
own end the command with a message on standard error and exit status 1; usage errors exit 2. None ends in a
traceback.
"""

from __future__ import annotations

import importlib
import os
import sys
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from fanion.cli.text import echo, is_text
from fanion.errors import FanionError, StoreTwinError

PROCESSES_MAX = 20

COMPLETE_VARIABLE = "_FANION_COMPLETE"
"""Set by a shell that asks for what a line could go on with (`fanion completion`)."""

VERBS = {
    "serve": "run the server",
    "publish": "validate, compile and store definitions as one new generation",
    "check": "validate definitions only",
    "diff": "show what a publication would change, and for how many",
    "rollback": "go back to the previous generation",
    "inspect": "show what a bundle holds, and the program of one flag",
    "eval": "evaluate one flag offline, with the reason and the path taken",
    "keys": "create, list and revoke API keys",
    "override": "put an answer in a flag's place for a while, over every publish",
    "lists": "show and change the members of list segments",
    "journal": "read, follow, verify, archive and restore the journal; believe its clock again",
    "pipeline": "make rows of the journal's events, as Parquet files",
    "sinks": "show the sinks that rows go to, and run one without a server",
    "sql": "ask those rows in SQL",
    "results": "say whether an experiment's variants made a difference",
    "optimise": "propose weights for a policy from what its allocations brought, and apply them",
    "forget": "erase one person from the journal, its archive, the rows and the lists",
    "usage": "count what was asked of flags, by variant and reason over time",
    "cluster": "show what a place has and who follows it; make its key; ship to a stream",
    "console": "make, list and revoke tokens of the console, the web pages beside the probes",
    "doctor": "show what is well, what isn't and what to do; what the data directory takes",
    "completion": "print what a shell completes these commands by",
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

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Of the verbs by their table: loading twenty modules for their first lines would be felt at each tab."""
        verbs = [
            CompletionItem(name, help=text) for name, text in VERBS.items() if name.startswith(incomplete)
        ]
        return [*verbs, *click.Command.shell_complete(self, ctx, incomplete)]

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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name is shown on whatever the terminal can show
    try:
        check_text()
        run_command()
    except FanionError as error:
        end(str(error))
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        end(f"{place}{error.strerror or error}")
    except Exception as error:
        # A fault of ours. Its place says more to whoever mends it than to whoever gave the command.
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        place = (
            "" if last is None else f"{Path(last.tb_frame.f_code.co_filename).name}, line {last.tb_lineno}"
        )
        end(f"a fault of Fanion itself, please report it: {type(error).__name__}: {error} ({place})")


def end(message: str) -> NoReturn:
    """Prints what went wrong, as far as that can be printed, and ends the process."""
    with suppress(OSError):
        echo(f"fanion: {message}", err=True)
    drop_output()
    sys.exit(1)


def check_text() -> None:
    """Names of environments, keys and files are text. Ends the process where an argument is none."""
    for number, argument in enumerate(sys.argv[1:], 1):
        if not is_text(argument):
            shown = os.fsencode(argument).decode(errors="backslashreplace")
            echo(f"fanion: argument {number} is not UTF-8: {shown}", err=True)
            sys.exit(2)


def run_command() -> None:
    """Runs the command of the command line. Where a process of another container has this one's id and the store
    open, a child of this one, with another id, runs it instead. A server's own processes are not replaced."""
    for _ in range(PROCESSES_MAX):
        try:
            group.main(standalone_mode=True, complete_var=COMPLETE_VARIABLE)
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
