from typing import Any

class Refused(ValueError): ...  # noqa: N818
class NewerVersion(Refused): ...  # noqa: N818

class BundleView:
    def __init__(self, buffer: Any) -> None: ...
    def close(self) -> None: ...
