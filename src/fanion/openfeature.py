"""An OpenFeature provider that evaluates in process (docs/in-process.md); needs the extra `fanion[openfeature]`.

    api.set_provider(FanionProvider("/var/lib/fanion", "env_prod"))

It answers as OFREP's provider does, without a server: five types that are kept apart, reasons, variants, metadata,
errors by their codes, the caller's default where a flag has no value. A thread of its own looks at the store once
a second, so that handlers are told of publishes (CONFIGURATION_CHANGED) and of a store that can't be read (STALE,
then READY) and an idle process moves on too; after a fork the child has one of its own. With a server's address and
a key `track` sends metrics to it, and evaluations exposures if they are to (`fanion.tracking`): neither ever raises
or waits.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from datetime import date
from os import PathLike
from typing import Any, Final, TypeVar

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import (
    ErrorCode,
    GeneralError,
    OpenFeatureError,
    ProviderNotReadyError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagResolutionDetails, FlagValueType, Reason
from openfeature.hook import Hook, HookContext, HookHints
from openfeature.provider import AbstractProvider, Metadata
from openfeature.track import TrackingEventDetails

from fanion.errors import EvaluationError, FanionError
from fanion.inprocess.evaluator import Evaluator
from fanion.tracking import EXIT_S, Counts, EventSender

T = TypeVar("T")
ObjectValue = Sequence[FlagValueType] | Mapping[str, FlagValueType]

PLAIN: Final = frozenset((str, int, float, bool, type(None)))
CODES: Final = {code.value: code for code in ErrorCode}
REASONS: Final = {reason.value: reason for reason in Reason}

SCALARS: Final = (str, int, float)
"""Values that an exposure carries; a boolean is an integer here."""

TOLD_S, TOLD_MAX = 3_600.0, 50_000
"""How long an exposure isn't told again, and of how many that is remembered."""

LOOK_EVERY_S: Final = 1.0
"""How often handlers may hear of a change."""

_watched: Final[weakref.WeakSet[FanionProvider]] = weakref.WeakSet()


class FanionProvider(AbstractProvider):
    """The flags of one environment of the store in the data directory `path`.

    `events_url`, `events_key`: a server of that environment and an API key, where events go; without both `track`
    does nothing. `unit_kind`: what kind of unit targeting keys are. `exposures`: whether evaluations that had a
    variant are told too, once an hour for each flag, variant and unit.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        environment: str,
        *,
        events_url: str | None = None,
        events_key: str | None = None,
        unit_kind: str = "targetingKey",
        exposures: bool = False,
    ) -> None:
        """ValueError for an address that is none, and for one without a key."""
        super().__init__()
        self._sender: EventSender | None = None
        if events_url is not None or events_key is not None or exposures:
            if events_url is None or events_key is None:
                raise ValueError("events need an address and a key: events_url and events_key")
            self._sender = EventSender(events_url, events_key)
        self._unit_kind = unit_kind
        self._hooks: list[Hook] = []
        if exposures and self._sender is not None:
            self._hooks = [ExposureHook(self._sender, unit_kind)]
        self._path = path
        self._environment = environment
        self._evaluator: Evaluator | None = None
        self._changes = 0
        self._stale = False
        self._stop = threading.Event()
        self._taking = threading.Lock()
        """Held while it is decided whose an evaluator is."""

    def get_metadata(self) -> Metadata:
        return Metadata(name="fanion")

    # -- life

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Opens the store. Raises GeneralError where it can't be opened; it is tried again once a second then, and
        handlers are told when it could."""
        self.shutdown()
        try:
            self._take(Evaluator.open(self._path, self._environment))
        except FanionError as error:
            raise GeneralError(str(error)) from error
        finally:
            self._stop = threading.Event()
            _watched.add(self)
            self._start()

    def shutdown(self) -> None:
        _watched.discard(self)
        with self._taking:
            self._stop.set()
            evaluator, self._evaluator = self._evaluator, None
        if evaluator is not None:
            evaluator.close()
        if self._sender is not None:
            self._sender.close(EXIT_S)

    def _take(self, evaluator: Evaluator) -> None:
        self._evaluator = evaluator
        self._changes, self._stale = 0, False

    def _start(self) -> None:
        threading.Thread(
            target=_watch, args=(weakref.ref(self), self._stop), name="fanion-provider", daemon=True
        ).start()

    def _restart(self) -> None:
        """In a child, which has the parent's memory but not its threads."""
        self._taking = threading.Lock()
        self._stop = threading.Event()
        self._start()

    def _look(self) -> None:
        """What the thread does once a second."""
        evaluator, stop = self._evaluator, self._stop
        try:
            if evaluator is None:
                evaluator = Evaluator.open(self._path, self._environment)
                with self._taking:
                    if stop.is_set():
                        evaluator.close()
                        return
                    self._take(evaluator)
                self.emit_provider_ready(ProviderEventDetails())
                return
            evaluator.refresh()
        except FanionError:  # still not there, or shut down meanwhile
            return
        problem, changes = evaluator.problem, evaluator.changes
        if problem and not self._stale:
            self.emit_provider_stale(ProviderEventDetails(message=problem))
        elif self._stale and not problem:
            self.emit_provider_ready(ProviderEventDetails())
        if changes != self._changes:
            self.emit_provider_configuration_changed(ProviderEventDetails())
        self._stale, self._changes = bool(problem), changes

    # -- events

    def get_provider_hooks(self) -> list[Hook]:
        return self._hooks

    @property
    def tracked(self) -> Counts:
        """What became of the events of this process."""
        return Counts() if self._sender is None else self._sender.counts

    @property
    def tracking_problem(self) -> str:
        """Why events couldn't be sent last; empty: they could."""
        return "" if self._sender is None else self._sender.problem

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: TrackingEventDetails | None = None,
    ) -> None:
        """Queues a metric of the context's targeting key. Raises nothing."""
        sender = self._sender
        if sender is None:
            return
        try:
            unit = evaluation_context.targeting_key if evaluation_context is not None else None
            if not unit:
                sender.unsendable("a metric without a targeting key")
                return
            event: dict[str, Any] = {
                "type": "metric",
                "unit": {"kind": self._unit_kind, "id": unit},
                "metric": tracking_event_name,
            }
            if tracking_event_details is not None:
                event["value"] = tracking_event_details.value
                if tracking_event_details.attributes:
                    event["properties"] = plain(tracking_event_details.attributes)
            sender.put(event)
        except Exception as error:  # whoever asks for flags has no business with this
            sender.unsendable(f"a metric can't be made: {type(error).__name__}")

    # -- the five types

    def resolve_boolean_details(
        self, flag_key: str, default_value: bool, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[bool]:
        return self._resolve("boolean", flag_key, default_value, evaluation_context)

    def resolve_string_details(
        self, flag_key: str, default_value: str, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[str]:
        return self._resolve("string", flag_key, default_value, evaluation_context)

    def resolve_integer_details(
        self, flag_key: str, default_value: int, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[int]:
        return self._resolve("integer", flag_key, default_value, evaluation_context)

    def resolve_float_details(
        self, flag_key: str, default_value: float, evaluation_context: EvaluationContext | None = None
    ) -> FlagResolutionDetails[float]:
        return self._resolve("float", flag_key, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: ObjectValue,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[ObjectValue]:
        return self._resolve("object", flag_key, default_value, evaluation_context)

    def _resolve(
        self, kind: str, key: str, default: T, context: EvaluationContext | None
    ) -> FlagResolutionDetails[T]:
        evaluator = self._evaluator
        if evaluator is None:
            raise ProviderNotReadyError("the store isn't open")
        try:
            found = evaluator.evaluate(key, flat_context(context))
        except FanionError as error:
            raise as_openfeature(error) from error
        reason, value = REASONS.get(found.reason, found.reason), found.value
        if found.type == kind:
            return FlagResolutionDetails(value, None, None, reason, found.variant, found.metadata)
        if value is None:
            return FlagResolutionDetails(default, None, None, reason, None, found.metadata)
        raise TypeMismatchError(f"flag {key!r} is {found.type}, and was asked for as {kind}")


class ExposureHook(Hook):
    """Tells a sender what was evaluated. It raises nothing: an SDK makes an error of what a hook raises."""

    def __init__(self, sender: EventSender, unit_kind: str) -> None:
        self._sender = sender
        self._unit_kind = unit_kind
        self._told: set[tuple[str, str, str]] = set()
        self._until = 0.0

    def after(
        self,
        hook_context: HookContext,
        details: FlagEvaluationDetails[FlagValueType],
        hints: HookHints,
    ) -> None:
        try:
            unit = hook_context.evaluation_context.targeting_key
            if unit and details.variant is not None:
                self._tell(unit, details.flag_key, details.variant, details)
        except Exception as error:
            self._sender.unsendable(f"an exposure can't be made: {type(error).__name__}")

    def _tell(
        self, unit: str, flag: str, variant: str, details: FlagEvaluationDetails[FlagValueType]
    ) -> None:
        now, told = time.monotonic(), (flag, variant, unit)
        if now >= self._until or len(self._told) >= TOLD_MAX:
            self._told, self._until = set(), now + TOLD_S
        if told in self._told:
            return
        self._told.add(told)
        event: dict[str, Any] = {
            "type": "exposure",
            "unit": {"kind": self._unit_kind, "id": unit},
            "flag": flag,
            "variant": variant,
        }
        if details.reason is not None:
            event["reason"] = getattr(details.reason, "value", details.reason)
        if isinstance(details.value, SCALARS):
            event["value"] = details.value
        self._sender.put(event)


def flat_context(context: EvaluationContext | None) -> dict[str, Any]:
    """What an evaluator is asked with: the attributes, and the targeting key where there is one."""
    if context is None:
        return {}
    flat: dict[str, Any] = {"targetingKey": context.targeting_key} if context.targeting_key else {}
    flat.update(context.attributes)
    if PLAIN.issuperset(map(type, flat.values())):
        return flat
    return {name: plain(value) for name, value in flat.items()}


def plain(value: Any) -> Any:
    """A value of JSON's types, as an SDK's context would be sent: dates as text, sequences as lists."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return [plain(one) for one in value]
    return value


def as_openfeature(error: FanionError) -> OpenFeatureError:
    code = CODES.get(error.code) if isinstance(error, EvaluationError) else None
    return ErrorCode.to_exception(code or ErrorCode.GENERAL, str(error))


def _watch(provider: weakref.ref[FanionProvider], stop: threading.Event) -> None:
    while not stop.wait(LOOK_EVERY_S):
        known = provider()
        if known is None:
            return
        known._look()
        del known


def _restart_all() -> None:
    for provider in list(_watched):
        provider._restart()


os.register_at_fork(after_in_child=_restart_all)
