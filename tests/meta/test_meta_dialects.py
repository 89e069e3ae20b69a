"""Where an API's words may stand: in its own folder, and not where requests of every API go through."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from fanion.dialects import NAMES, served

PACKAGE = Path(__file__).parents[2] / "src" / "fanion"
GENERAL = {"authorization"}
"""Headers of HTTP itself."""


@pytest.mark.parametrize("path", sorted((PACKAGE / "http").glob("*.py")), ids=lambda path: path.stem)
def test_http_knows_no_api_s_word(path: Path) -> None:
    words = {*NAMES, "bearer", *(dialect.credential_header.decode() for dialect in served())} - GENERAL
    text = path.read_text()
    assert not [word for word in words if re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)]


@pytest.mark.parametrize("name", NAMES)
def test_a_dialect_s_name_imports_nothing(name: str) -> None:
    """So that a part of it can be had without its endpoints."""
    (docstring,) = ast.parse((PACKAGE / "dialects" / name / "__init__.py").read_text()).body
    assert isinstance(docstring, ast.Expr)


@pytest.mark.parametrize(
    "path", sorted((PACKAGE / "dialects" / "wire").glob("*.py")), ids=lambda path: path.stem
)
def test_what_dialects_share_names_none_of_them(path: Path) -> None:
    text = path.read_text()
    assert not [name for name in NAMES if re.search(rf"\b{name}\b", text, re.IGNORECASE)]
