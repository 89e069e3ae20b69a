"""Machines that ship to one stream, and rows: beside each machine's journal, and of the stream."""

from __future__ import annotations

import json
import random
import secrets
from pathlib import Path
from typing import Any

from fanion.config.shipping import Shipping
from fanion.nats.connection import Access
from fanion.pipeline.pipeline import Pipeline
from fanion.shipping.downstream import Downstream
from tests.crash.receivers import ANSWER_TIMEOUT_S, NatsServers
from tests.unit.pipeline_world import kept, pipeline
from tests.unit.shipping_world import Journal, World

Rows = list[tuple[Any, ...]]


class EventJournal(Journal):
    """Whose requests have two events each that have rows."""

    def body(self, size: int) -> bytes:
        rule = secrets.token_hex(size // 2)
        return json.dumps([{"flagKey": f"f{n}", "ruleId": rule} for n in range(2)]).encode()


class Machine(World):
    """Of several that share a stream."""

    def __init__(self, directory: Path, settings: Shipping, machine: bytes) -> None:
        self.journal = EventJournal(directory, machine)
        self.settings = settings

    def fill(self, draw: random.Random, requests: int, size: int = 200) -> None:
        for _ in range(requests):
            writer = draw.randrange(2)
            if draw.random() < 0.05:
                self.journal.begin(writer)
            self.journal.append(writer, 1, size=size)

    def rows(self) -> Rows:
        """Made beside the journal."""
        with pipeline(self.journal.directory) as made:
            made.run_once()
            return kept(made, self.journal.directory)


class Machines:
    """Three, and a fourth that makes rows of what they ship."""

    def __init__(self, directory: Path, nats: NatsServers, **settings: Any) -> None:
        given = {"timeout_s": ANSWER_TIMEOUT_S} | settings
        self._make(directory, Shipping(url=nats.url(f"d-{secrets.token_hex(6)}"), **given))

    @classmethod
    def at(cls, directory: Path, settings: Shipping) -> Machines:
        """Of a stream that is known by its address."""
        made = cls.__new__(cls)
        made._make(directory, settings)
        return made

    def _make(self, directory: Path, settings: Shipping) -> None:
        self.settings = settings
        self.directory = directory / "rows-of-all"
        self.all = [
            Machine(directory / f"machine-{number}", self.settings, bytes([number]) * 16)
            for number in range(1, 4)
        ]

    def ship(self) -> None:
        for machine in self.all:
            machine.ship()

    def downstream(self, **given: Any) -> Pipeline:
        return rows_of(self.directory, self.settings, **given)

    def made(self) -> Rows:
        """Of the stream, after one more run."""
        with self.downstream() as made:
            made.run_once()
            return kept(made, self.directory)

    def beside(self) -> Rows:
        """Of all journals."""
        return sorted((row for machine in self.all for row in machine.rows()), key=lambda row: row[:6])


def rows_of(directory: Path, settings: Shipping, **given: Any) -> Pipeline:
    directory.mkdir(exist_ok=True)
    return pipeline(directory, opens=lambda manifest: Downstream(settings, Access(), manifest), **given)
