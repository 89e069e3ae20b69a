"""The facade over the compiled core: opening a bundle with its externals, errors as ours."""

from __future__ import annotations

import msgspec

from fanion._core.bundle import NewerVersion, Refused
from fanion._core.evaluate import ABSENT, Bundle, Question
from fanion._core.overlay import Overlay
from fanion.engine.externals import Membership, make_external
from fanion.errors import BundleError, BundleVersionError
from fanion.model.context import EvaluationContext

__all__ = ["ABSENT", "Bundle", "Question", "laid_over", "open_environment"]


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


def laid_over(bundle: Bundle, table: int, views: int, key: str, context: EvaluationContext) -> bytes:
    """A key's value in a table with rows, once every row has laid its own over it. For tools, not for requests."""
    overlay = Overlay(bundle, table)
    typed = tuple((c.type, c.key, c.attributes) for c in context.contexts)
    overlay.run([key], None, context.members, context.attributes, typed)
    text = overlay.emit((b"{", b"}\n", *([b""] * views)), b"", b"")
    return bytes(msgspec.json.decode(text.partition(b"\n")[0], type=dict[str, msgspec.Raw])[key])
