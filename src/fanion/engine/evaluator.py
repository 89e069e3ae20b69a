"""The facade over the compiled core: opening a bundle with its externals, errors as ours."""

from __future__ import annotations

from fanion._core.bundle import NewerVersion, Refused
from fanion._core.evaluate import Bundle
from fanion.engine.externals import Membership, make_external
from fanion.errors import BundleError, BundleVersionError

__all__ = ["Bundle", "open_environment"]


def open_environment(
    environment: str, buffer: memoryview | bytes, is_member: Membership | None = None
) -> Bundle:
    """Verifies a bundle and makes it ready to decide. The buffer is held until the bundle is closed or dropped.

    Raises BundleError where the bytes don't verify or belong to another environment, BundleVersionError where
    a newer Fanion wrote them.
    """
    try:
        bundle = Bundle(buffer, make_external(is_member))
    except NewerVersion as error:
        raise BundleVersionError(f"environment {environment}: {error}") from None
    except (Refused, UnicodeDecodeError, ValueError) as error:
        raise BundleError(f"environment {environment}: {error}") from None
    if bundle.environment != environment:
        raise BundleError(f"environment {environment}: the bundle is that of {bundle.environment}")
    return bundle
