"""Texts and numbers that rules about text and numbers stumble over."""

from __future__ import annotations

from typing import Any

TEXTS = [
    "",
    "pro",
    "PRO",
    "free",
    "DE",
    "de",
    "ü",
    "🚀",
    "true",
    "1",
    "1.0",
    " 5 ",
    "1e3",
    "1.2.3",
    "1.2.3-rc.1",
]
TEXTS += [
    "1.10.0",
    "0.1.0+b7",
    "2.0.0-alpha",
    "1.2.3+001",
    "1.2.3+01",
    "01.2.3",
    "x" * 300,
    "a.b",
    "-0",
    "+.5e-2",
]
TEXTS += [
    "0x10",
    "1_000",
    "Infinity",
    "nan",
    "\u2003 7",
    "7\v",
    "𝟙",
    "1.2.3-0a.1",
    "1.2.3-01",
    "18446744073709551616.0.0",
]
NUMBERS: list[Any] = [
    0,
    1,
    -1,
    5,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**63,
    10**30,
    10**400,
    0.0,
    -0.0,
    1.0,
    0.1,
    1.5,
]
NUMBERS += [
    1e21,
    1e-7,
    1.5e-7,
    123456789012345680000.0,
    5e-324,
    1.7976931348623157e308,
    100.0,
    1e20,
    0.000001,
]
