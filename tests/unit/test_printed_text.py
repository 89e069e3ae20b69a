"""What commands print: other people's names are shown, and never obeyed by the terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from fanion import cli
from fanion.cli import end, group
from fanion.cli.common import print_table
from fanion.cli.journal import _print
from fanion.cli.text import echo, printable_json
from fanion.definitions import DEMO
from fanion.journal.batch import Record
from fanion.model.printable import UNPRINTED, cell, printable
from fanion.results.usage import Count
from fanion.results.usage import csv_text as usage_csv

EVIL = "a\x1b]52;c;eA==\x07\x1b[2J\x9b31m\x7f\u202e\u2066\u2028z"
"""Fills the clipboard, clears the screen, colours, deletes, and turns the line around."""

OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def test_text_that_a_terminal_would_obey_is_written_out_and_other_text_stays() -> None:
    assert printable(EVIL) == (r"a\u001b]52;c;eA==\u0007\u001b[2J\u009b31m\u007f\u202e\u2066\u2028z")
    kept = "é\u0301 ü 🚀👩\u200d🚀\u00a0\t\n日本"
    assert printable(kept) == kept
    assert not any(UNPRINTED.fullmatch(character) for character in "\t\n az\u00a0\u200d")


def test_written_out_json_means_the_same() -> None:
    line = msgspec.json.encode({EVIL: EVIL})
    shown = printable_json(line)
    assert OBEYED.search(shown.decode()) is None
    assert json.loads(shown) == {EVIL: EVIL}
    plain = msgspec.json.encode({"a": "é\n"})
    assert printable_json(plain) == plain


@pytest.mark.parametrize("unseen", ["\xad", "\u200b", "\u2060", "\ufeff", "\u206a", "\ufff9", "\U000e0061"])
def test_what_nobody_sees_is_written_out(unseen: str) -> None:
    """A flag that is called as another one, but for that, was shown as the other one."""
    shown = printable(f"check{unseen}out")
    assert shown != "checkout"
    assert shown.isascii()
    assert json.loads(printable_json(msgspec.json.encode({"key": f"a{unseen}"}))) == {"key": f"a{unseen}"}


def test_a_cell_of_csv_is_no_formula() -> None:
    for text in ("=1+1", "+1+1", "-1-1", "-", "@x", "\tx", "\rx"):
        assert cell(text) == f"'{text}"
    kept = ["a=1", "", "'x", "-1.5e-3", "+7", -0.5, None, 7]
    assert [cell(one) for one in kept] == kept
    text = usage_csv([Count("=cmd|'/c x'!A1", "a\n\x0bb", "2026", "k", "-1.5", None, 2, 3)])
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert rows[1] == ["'=cmd|'/c x'!A1", "a\n\x0bb", "2026", "k", "-1.5", "", "2", "3"]


def test_a_cell_of_a_table_is_one_line_without_markup_emoji_or_escapes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_table([EVIL], [[EVIL], ["[bold]x[/bold] :bomb: [/]"], ["two\nlines"]], title=EVIL)
    shown = capsys.readouterr().out
    assert OBEYED.search(shown) is None
    assert "[bold]x[/bold] :bomb: [/]" in shown
    assert r"two\nlines" in shown


def test_messages_are_text_too(capsys: pytest.CaptureFixture[str]) -> None:
    echo(EVIL)
    echo(EVIL, err=True)
    with pytest.raises(SystemExit):
        end(EVIL)
    captured = capsys.readouterr()
    assert OBEYED.search(captured.out + captured.err) is None


def test_name_of_a_key_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    run = CliRunner().invoke
    data = ("--data", str(tmp_path / "data"))
    assert run(group, ["publish", str(DEMO), *data]).exit_code == 0
    assert run(group, ["keys", "create", "env_01hx", "--name", EVIL, *data]).exit_code == 0
    shown = run(group, ["keys", "list", *data])
    assert OBEYED.search(shown.output) is None
    assert r"a\u001b]52" in shown.output


def test_event_that_a_client_named_is_printed_and_not_obeyed(
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    sent = {"flagKey": EVIL, "value": EVIL, "reason": EVIL, "evaluatedAt": "2026-01-01T00:00:00Z"}
    body = msgspec.json.encode({"events": [sent]})
    _print([Record(0, 1, 7, 0, "feather", "prod", b"", b"", True, body)])
    shown = capfdbinary.readouterr().out.decode()
    assert OBEYED.search(shown) is None
    assert json.loads(shown)["flag_key"] == EVIL


def test_no_command_prints_past_these_functions() -> None:
    own = {"text.py", "common.py"}  # the second: tables that are drawn, of cells that were made text
    modules = [module for module in Path(cli.__file__).parent.glob("*.py") if module.name not in own]
    assert len(modules) > 10
    assert not [
        module.name for module in modules if re.search(r"click\.s?echo\(|\bprint\(", module.read_text())
    ]
