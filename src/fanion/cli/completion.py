"""`fanion completion`: what a shell completes commands, options and paths of `fanion` by."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from fanion.cli import COMPLETE_VARIABLE, group
from fanion.cli.text import echo

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print what SHELL completes `fanion` by. It asks `fanion` itself at each tab, so it stays true to what is
    installed.

    \b
    echo 'eval "$(fanion completion bash)"' >> ~/.bashrc
    echo 'eval "$(fanion completion zsh)"' >> ~/.zshrc
    fanion completion fish > ~/.config/fish/completions/fanion.fish
    """
    found = get_completion_class(shell)
    assert found is not None
    echo(found(group, {}, "fanion", COMPLETE_VARIABLE).source())
