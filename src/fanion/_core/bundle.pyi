from typing import Any

SECTIONS: dict[str, int]

class Refused(ValueError): ...  # noqa: N818
class NewerVersion(Refused): ...

class BundleView:
    def __init__(self, buffer: Any) -> None: ...
    def close(self) -> None: ...
