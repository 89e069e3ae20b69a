"""Sets of members with an exact end; see `ext/fanion/_core/members.pyx`."""

from typing import final

from fanion._core.shared import SharedFile

KIND_MEMBERS: int
FIRST_PART: int
LIMIT_MAX: int

@final
class MemberPart(SharedFile):
    first: int
    def __init__(self, path: str, number: int) -> None: ...

@final
class MemberSet:
    def __init__(self, path: str, key: bytes) -> None: ...
    def admit(self, user: str, limit: int) -> bool: ...
    def __len__(self) -> int: ...
    def close(self) -> None: ...
