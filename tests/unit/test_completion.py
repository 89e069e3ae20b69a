"""What shells complete `fanion` by (`fanion completion`), and what its help names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fanion.cli import VERBS
from fanion.cli.completion import SHELLS
from fanion.places import kinds
from tests.commands import run_command

SHELL_WORDS = {"bash": "complete -o", "zsh": "compdef", "fish": "complete --no-files --command fanion"}


def asked(shell: str, line: str) -> list[str]:
    """What `fanion` answers a shell for the last word of a line."""
    words = line.split(" ")
    variables = {"_FANION_COMPLETE": f"{shell}_complete"}
    if shell == "fish":
        variables |= {"COMP_WORDS": " ".join(words[:-1]), "COMP_CWORD": words[-1]}
    else:
        variables |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "fanion"],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_is_given_its_script_and_no_other_is_known(shell: str) -> None:
    printed = run_command(["completion", shell])
    assert (printed.returncode, printed.stderr) == (0, "")
    assert SHELL_WORDS[shell] in printed.stdout
    assert f"_FANION_COMPLETE={shell}_complete" in printed.stdout
    refused = run_command(["completion", "tcsh"])
    assert refused.returncode == 2
    assert "'bash', 'zsh', 'fish'" in refused.stderr


def test_verbs_come_with_their_help_and_options_of_a_verb_that_is_loaded() -> None:
    assert asked("bash", "fanion pub") == ["plain,publish"]
    assert asked("zsh", "fanion pub") == ["plain", "publish", VERBS["publish"]]
    (told,) = asked("fish", "fanion pub")
    assert "publish" in told
    assert VERBS["publish"] in told
    assert [one.partition(",")[2] for one in asked("bash", "fanion ")] == list(VERBS)
    assert asked("bash", "fanion journal v") == ["plain,verify"]
    assert {"plain,set", "plain,clear", "plain,list"} <= set(asked("bash", "fanion override "))
    assert "plain,--against" in asked("bash", "fanion diff --")
    assert asked("bash", "fanion diff --ag") == ["plain,--against"]
    assert asked("bash", "fanion results --format j") == ["plain,json"]
    assert asked("bash", "fanion --ver") == ["plain,--version"]


def test_paths_are_the_shells_to_complete() -> None:
    assert asked("bash", "fanion check fl") == ["file,fl"]
    assert asked("bash", "fanion serve --data d") == ["dir,d"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes_by_it(tmp_path: Path) -> None:
    program = tmp_path / "fanion"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m fanion "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(fanion completion bash)"
complete -p fanion >&2
COMP_WORDS=(fanion over) COMP_CWORD=1
_fanion_completion fanion
echo "${COMPREPLY[@]}"
"""
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "-F _fanion_completion fanion" in done.stderr
    assert done.stdout == "override\n"


@pytest.mark.parametrize(("verb", "option"), [("publish", "--to"), ("serve", "--follow")])
def test_the_help_of_a_place_names_every_kind(verb: str, option: str) -> None:
    shown = run_command([verb, "--help"]).stdout
    told = " ".join(shown[shown.index(f"  {option} ") :].split())[:400]
    assert [
        scheme for kind in kinds() for scheme in kind.schemes if not re.search(rf"\b{scheme}\b", told)
    ] == []
