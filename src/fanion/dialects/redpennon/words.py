"""Red Pennon's words outside its folder: its keys are UUIDs (docs/apis/redpennon.md: Routes and
credentials)."""

from __future__ import annotations

import uuid
from typing import Final

from fanion.dialects.redpennon.settings import RedPennonSettings
from fanion.model.api_key import KeyKind
from fanion.model.vocabulary import Words

NAME: Final = "redpennon"
CUSTOM_DATA: Final = "custom_data"


def make_key(_kind: KeyKind) -> str:
    return str(uuid.uuid4())


WORDS: Final = Words(
    NAME,
    ("evaluate", "events"),
    settings=((NAME, RedPennonSettings),),
    make_key=make_key,
    inner_context=CUSTOM_DATA,
    named_members=("id", "email"),
)
