"""`fanion serve --settings`: every setting with its default, what is allowed, and why it is there."""

from __future__ import annotations

import click

from fanion.cli.text import echo
from fanion.config.loading import settings
from fanion.dialects import vocabulary


def print_settings(context: click.Context, parameter: click.Parameter, wanted: bool) -> None:
    """An eager option's callback: lists the settings as a `fanion.toml` of the defaults would stand, and ends."""
    if not wanted or context.resilient_parsing:
        return
    group = ""
    for setting in settings(vocabulary()):
        name, _, field = setting.name.partition(".")
        if name != group:
            echo(f"{'' if not group else chr(10)}[{name}]")
            group = name
        default = setting.default
        shown = f'"{default}"' if isinstance(default, str) else str(default).lower()
        allowed = f"{setting.type}, {setting.allowed}" if setting.allowed else setting.type
        echo(f"{field} = {shown}\n    # {setting.help}\n    # {allowed}; {setting.variable}")
    context.exit()
