"""Parts of answers that several of them have."""

from __future__ import annotations

from fanion.console.questions import WORDS_MAX, AnswerWords, OverrideWords
from fanion.model.override import Override
from fanion.model.program import Parameter


def answer_words(parameter: Parameter, outcome: int) -> AnswerWords:
    """Of one outcome."""
    if not 0 <= outcome < len(parameter.answers):
        return AnswerWords("", "")
    one = parameter.answers[outcome]
    value = "no value" if one.value is None else one.value
    return AnswerWords(one.variant or "", value if len(value) <= WORDS_MAX else f"{value[:WORDS_MAX]}…")


def override_words(environment: str, one: Override) -> OverrideWords:
    return OverrideWords(
        environment, one.flag, one.source, one.answer[:WORDS_MAX], one.since, one.until, one.by, one.why
    )
