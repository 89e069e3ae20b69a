"""What the store and the journal hold beside definitions: tokens, keys, lists, overrides, experiments, writers and
readers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from fanion.app.answering.words import override_words
from fanion.auth.key_use import HOUR_S, read_key_use
from fanion.bundle.reader import BundleReader
from fanion.clock.keeper import look_at
from fanion.config import Config
from fanion.config.loading import find_file, load_config
from fanion.console.questions import (
    ROWS_MAX,
    ExperimentRow,
    JournalFacts,
    JournalState,
    KeyList,
    KeyRow,
    Keys,
    ListRow,
    Lists,
    LoggedOverride,
    OverrideList,
    ReaderRow,
    Verified,
    WriterRow,
)
from fanion.dialects import vocabulary
from fanion.errors import JournalError, StoreMissingError
from fanion.journal.gaps import load_gaps
from fanion.journal.inspection import count_disk_bytes, summarise, verify_segments
from fanion.journal.lag import lag_of
from fanion.journal.reader import JournalReader, list_checkpoints
from fanion.journal.storage import Storage
from fanion.model.experiment import Plan, plans_of
from fanion.store.console import ConsoleToken, read_tokens
from fanion.store.generation import PinnedGeneration
from fanion.store.layout import Origin, StoredKey
from fanion.store.store import Store

LISTS_MAX: Final = 500
EXPERIMENTS_MAX: Final = 1_000
DEFECTS_MAX: Final = 50


class Records:
    """Of one data directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.config: Config = load_config(vocabulary(), file=find_file(directory))

    def store(self) -> Store:
        """To be closed."""
        return Store.open(self.directory, map_bytes=self.config.store.map_bytes)

    def tokens(self) -> tuple[ConsoleToken, ...]:
        """Those that aren't over, by the clock that keys end by; none where there is no store."""
        now = look_at(self.directory).expiry
        try:
            with self.store() as store, store.pin() as pinned:
                return tuple(one for one in read_tokens(pinned) if not one.over(now))
        except StoreMissingError:
            return ()

    def keys(self, asked: Keys) -> KeyList:
        now = look_at(self.directory).expiry
        used = read_key_use(self.directory)
        wanted = asked.text.casefold()
        with self.store() as store:
            rows = [
                _key_row(key, now, used.get(key.record.id))
                for key in store.stored_keys()
                if asked.environment in ("", key.record.environment)
                if not wanted or _has(key, wanted)
            ]
            environments = list(store.manifest_environments())
        first = asked.page * ROWS_MAX
        return KeyList(environments, len(rows), rows[first : first + ROWS_MAX])

    def lists(self, asked: Lists) -> list[ListRow]:
        with self.store() as store, store.pin() as pinned:
            return [
                ListRow(name, list_name, entry.count, self._held(pinned, name, list_name, asked.member))
                for name in pinned.environments()
                for list_name, entry in sorted(pinned.manifest.environments[name].lists.items())
            ][:LISTS_MAX]

    def _held(self, pinned: PinnedGeneration, environment: str, name: str, member: str) -> bool | None:
        return pinned.member(environment, name, member.encode()) if member else None

    def overrides(self) -> OverrideList:
        with self.store() as store, store.pin() as pinned:
            overrides = pinned.overrides()
        now = look_at(self.directory).cautious
        in_force = [
            override_words(name, one)
            for name in sorted(overrides.in_force)
            for one in overrides.of(name, now)
        ]
        log = [
            LoggedOverride(
                one.at,
                one.environment,
                one.change,
                one.override.flag,
                one.override.answer[:200],
                one.by or one.override.by,
                one.why or one.override.why,
            )
            for one in reversed(overrides.told)
        ]
        return OverrideList(in_force[:LISTS_MAX], log)

    def experiments(self) -> list[ExperimentRow]:
        """Those that run first, derived ones last."""
        rows: list[ExperimentRow] = []
        with self.store() as store, store.pin() as pinned:
            for name in pinned.environments():
                bundle = pinned.bundle(name)
                documents = {} if bundle is None else dict(BundleReader(bytes(bundle)).documents())
                rows += [_experiment_row(name, plan) for plan in plans_of(documents).values()]
        order = {"runs": 0, "is over": 1, "hasn't begun": 2}
        rows.sort(key=lambda row: (bool(row.derived_from), order.get(row.state, 3), row.environment, row.key))
        return rows[:EXPERIMENTS_MAX]

    def journal(self, asked: JournalState) -> JournalFacts:
        """Nothing but a word where there is no journal."""
        hours = self.config.journal.retention_hours
        retention = f"{hours:g} hours" if hours else "for ever"
        try:
            writers = [
                WriterRow(
                    *(one.writer, one.epoch, one.segments, one.compressed, one.records, one.disk_bytes),
                    *(one.first_ns / 1e9, one.last_ns / 1e9, one.ring_used_bytes),
                )
                for one in summarise(self.directory)
            ]
        except JournalError as error:
            return JournalFacts([], [], 0, retention, None, str(error))
        verified = self._verify(asked.verify_s) if asked.verify_s else None
        taken = count_disk_bytes(self.directory)
        return JournalFacts(writers, self._readers(), taken, retention, verified, "")

    def _readers(self) -> list[ReaderRow]:
        storage, journal = Storage(), self.directory / "journal"
        found = []
        for name, checkpoint in sorted(list_checkpoints(storage, journal).items()):
            reader = JournalReader(self.directory, checkpoint=checkpoint)
            lag = lag_of(reader, storage, checkpoint)
            lost = load_gaps(storage, journal, name).records
            found.append(ReaderRow(name, lag.records, lag.held_bytes, lost))
        return found

    def _verify(self, seconds: float) -> Verified:
        ends = time.monotonic() + seconds
        report = verify_segments(self.directory)
        seen = records = 0
        for count in report:
            seen, records = seen + 1, records + count
            if time.monotonic() > ends:
                break
        defects = [
            f"{one.path.name}: bytes {one.offset:,} to {one.end_offset:,}: {one.what}"
            for one in report.defects[:DEFECTS_MAX]
        ]
        return Verified(report.total, seen, records, defects)


def _has(key: StoredKey, wanted: str) -> bool:
    record = key.record
    return any(wanted in text.casefold() for text in (record.id, record.name, record.prefix))


def _key_row(key: StoredKey, now: float, used_hour: int | None) -> KeyRow:
    record = key.record
    if key.origin == Origin.REVOKED:
        state = "revoked"
    else:
        ended = record.expires_at is not None and record.expires_at <= now
        state = "expired" if ended else "opens"
    return KeyRow(
        record.id,
        record.environment,
        record.kind,
        record.prefix,
        [*record.dialects, *record.scopes],
        state,
        record.expires_at,
        None if used_hour is None else float(used_hour * HOUR_S),
        record.name,
        {Origin.DEFINED: "definitions", Origin.CREATED: "a command"}.get(key.origin, ""),
    )


def _experiment_row(environment: str, plan: Plan) -> ExperimentRow:
    now_us = time.time() * 1e6
    state = "runs"
    if plan.start_us > now_us:
        state = "hasn't begun"
    elif plan.end_us is not None and plan.end_us <= now_us:
        state = "is over"
    return ExperimentRow(
        environment,
        plan.key,
        plan.name,
        plan.flag,
        list(plan.variants)[:12],
        [one.key for one in plan.metrics][:12],
        plan.start_us / 1e6 if plan.start_us else None,
        None if plan.end_us is None else plan.end_us / 1e6,
        plan.source,
        state,
    )
