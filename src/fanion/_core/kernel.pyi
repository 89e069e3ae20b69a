"""Nothing for Python: C functions for the other modules of the core."""

__pyx_capi__: dict[str, object]
