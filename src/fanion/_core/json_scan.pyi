from typing import Final

WITHIN: Final[int]
TOO_DEEP: Final[int]
TOO_MANY_MEMBERS: Final[int]
TOO_LONG_NUMBER: Final[int]
NOT_FINITE: Final[int]
TOO_MANY_TOKENS: Final[int]
UNBALANCED: Final[int]
DEPTH_MAX: Final[int]
DIGITS_MAX: Final[int]
HALVES_MAX: Final[int]
VALID_DIGITS_MAX: Final[int]
EXPONENT_LARGE: Final[int]
EXPONENT_HUGE: Final[int]
LARGE_TOKENS: Final[int]
HUGE_TOKENS: Final[int]
TOKEN_DIGITS: Final[int]
DIGITS_USUAL: Final[int]

def scan(text: bytes, depth_max: int, keys_max: int, digits_max: int, tokens_max: int) -> int: ...
def exponents(text: bytes, most: int) -> int: ...
def few(text: bytes, brackets: int, colons: int) -> bool: ...
def long_number(text: bytes, most: int) -> bool: ...
def valid_end(text: bytes, start: int) -> int | None: ...
def mend(text: bytes) -> bytes | None: ...
def condense(text: bytes) -> bytes | None: ...
def cut(text: bytes, name: bytes, items_max: int) -> tuple[int, int, list[bytes] | None] | None: ...
