"""A check of ours among schemathesis's own: where a batch with something wrong in it is taken, the answer says
so."""

from __future__ import annotations

from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

LISTS = ("rejected", "rejected_keys", "validationErrors", "responses")
"""Members of answers that say which items were wrong; of the last those that are null."""


@schemathesis.check
def reports_what_is_wrong(ctx: Any, response: Any, case: Any) -> None:
    meta = case.meta
    if (
        meta is None
        or meta.generation.mode is not GenerationMode.NEGATIVE
        or response.status_code not in (200, 202)
    ):
        return
    if response.request.headers.get("content-type") != "application/json":
        return  # what a body is called isn't looked at
    answer = response.json() if response.content else None
    if not isinstance(answer, dict) or not {"accepted", "accepted_count", "responses"} & answer.keys():
        return  # not a batch: whether it may be taken is negative_data_rejection's
    named = any(
        None in answer[name] if name == "responses" else answer[name] for name in LISTS if name in answer
    )
    if not named:
        raise AssertionError(f"a batch that is not as documented was taken without a word: {answer}")
