"""Which answer is to which question."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from fanion.app.answering.events import Events
from fanion.app.answering.flags import Flags
from fanion.app.answering.programs import Programs
from fanion.app.answering.records import Records
from fanion.app.answering.whatif import explain
from fanion.console import questions as q
from fanion.console.preview_questions import Files, PreviewOf


class Answers:
    """Of one data directory."""

    def __init__(self, directory: Path) -> None:
        self._records = Records(directory)
        self._programs = Programs(self._records)
        self._flags = Flags(self._programs)
        self._events = Events(self._records)

    def of(self, question: q.Question) -> bytes:
        """As JSON. Raises FanionError and OSError for what people are told."""
        return msgspec.json.encode(self._of(question))

    def _of(self, question: q.Question) -> Any:
        match question:
            case q.Tokens():
                return self._records.tokens()
            case q.FindFlags():
                return self._flags.find(question)
            case q.OneFlag():
                return self._flags.one(question)
            case q.WhatIf():
                return explain(self._programs, question)
            case q.Experiments():
                return self._records.experiments()
            case q.Keys():
                return self._records.keys(question)
            case q.Lists():
                return self._records.lists(question)
            case q.JournalState():
                return self._records.journal(question)
            case q.OverridesInForce():
                return self._records.overrides()
            case q.Tail():
                return self._events.tail(question)
            case q.OneEvent():
                return self._events.one(question)
            case Files():
                from fanion.app.answering.preview import files

                return files(self._programs, question)
            case PreviewOf():
                from fanion.app.answering.preview import compare

                return compare(self._programs, self._records.directory, self._records.config, question)
