"""`fanion sql`: a statement over the rows that `fanion pipeline` made."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from fanion.cli.common import data_option, print_table
from fanion.cli.text import echo


@click.command()
@data_option
@click.option("--json", "as_json", is_flag=True, help="A JSON object a row instead of a table.")
@click.argument("statement")
def command(data: Path, as_json: bool, statement: str) -> None:
    """Ask the rows that `fanion pipeline` made, in DuckDB's SQL: the view `rows`, with the columns of docs/rows.md.

    For example: fanion sql --data DIR "SELECT flag, count(*) FROM rows WHERE counts GROUP BY flag". Needs
    fanion[results].
    """
    from fanion.pipeline.query import ask

    names, rows = ask(data, statement)
    if as_json:
        for row in rows:
            echo(msgspec.json.encode(dict(zip(names, row, strict=True)), enc_hook=str).decode())
        return
    print_table(names, [["" if value is None else str(value) for value in row] for row in rows])
