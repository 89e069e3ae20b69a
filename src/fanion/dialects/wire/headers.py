"""A request's headers, by either interface: `of_pairs` of ASGI's list, `of_text` of what RSGI has.

They answer as `wire.reply.Headers`, by name in lower case. `plain` is False where a name stands twice, where one
was not handed over, and where Host is missing or empty; `listed` has all of them then. How they are looked up is
`_core.request_headers`'.
"""

from fanion._core.request_headers import RequestHeaders, of_pairs, of_text

__all__ = ["RequestHeaders", "of_pairs", "of_text"]
