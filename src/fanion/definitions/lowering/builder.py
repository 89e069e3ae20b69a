"""Gathers what one environment's bundle is compiled from, whichever sources it comes from.

Slots are shared by everything in the environment; decisions get the next index, so what a decision asks has
to be added before it. Keys of parameters are unique within a source, and a native key is unique in all of
them."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from fanion.definitions.lowering.overriding import Overriding
from fanion.definitions.lowering.recording import Recording, run_of
from fanion.definitions.reading.limits import DERIVED_MAX
from fanion.definitions.reading.members import MemberList
from fanion.definitions.reading.report import Report, shown
from fanion.model.experiment import DERIVED, DOCUMENT, MetricPlan, Plan, derived_document
from fanion.model.expression import Steps
from fanion.model.expression_proof import depth_of
from fanion.model.layers import Layer
from fanion.model.parts import Piece, PieceKind
from fanion.model.program import (
    Answer,
    Decision,
    Lowered,
    Node,
    Outcome,
    Parameter,
    Ranges,
    Slot,
    Source,
    Split,
    Test,
)
from fanion.model.shape import NATIVE, ContextShape
from fanion.model.weights import Applied

USER: Final = "userId"
ANONYMOUS: Final = "anonymousId"
SHARED: Final = frozenset({Test, Outcome, Ranges})
"""Kinds of nodes that are the same in many decisions."""
NO_PATH: Final = frozenset("?#%")
"""Characters that mean something else in a path than themselves."""


class Identity(NamedTuple):
    """What someone is known by: the slot, and its text as a piece of a hash."""

    slot: int
    text: Piece


class Builder:
    """One environment; `name` is the environment's within its project. `identifiers` and `documents` may be
    added to until `finish`."""

    def __init__(
        self, environment: str, identifiers: dict[str, dict[str, str]] | None = None, name: str = ""
    ) -> None:
        self.environment = environment
        self.name = name
        self.identifiers: dict[str, dict[str, str]] = identifiers or {}
        self.documents: dict[str, bytes] = {}
        self.slots: list[Slot] = []
        self.decisions: list[Decision] = []
        self.parameters: list[Parameter] = []
        self.lists: dict[str, None] = {}
        self.layers: list[Layer] = []
        self.shapes: dict[str, ContextShape] = {}
        self.source_order: tuple[str, ...] = ()
        self.members: list[tuple[MemberList, str]] = []
        self.policies: dict[str, tuple[str, ...]] = {}
        """What an experiment may be about beside the groups of parameters, and its variants' names."""
        self.recording = Recording()
        """Which splits leave exposures."""
        self.overriding = Overriding()
        """What stands in a flag's place."""
        self.weights: Applied = {}
        """Applied by command, to be laid over the definitions'."""
        self.splits: list[Split] = []
        self.unseen: dict[str, str] = {}
        """Flags that are to be recorded and of which draws leave no exposures, and which draws those are."""
        self.metrics: set[str] = set()
        """Names of events that are in no document."""
        self.derived: list[Plan] = []
        """Experiments that sources have without anybody writing them out, and what each source's metrics are."""
        self.derived_metrics: dict[str, tuple[MetricPlan, ...]] = {}
        self.tests: dict[tuple[str, str, str | tuple[str, ...]], Any] = {}
        """Lowered conditions by attribute, operator and text: the same ones come again and again."""
        self._nodes: dict[Node, Node] = {}
        """Nodes of decisions so far, equal ones once: flags ask much the same."""
        self._answers: dict[tuple[Answer, ...], tuple[Answer, ...]] = {}
        """The same of answers."""
        self._slot_numbers: dict[Slot, int] = {}
        self._computed: dict[str, int] = {}
        self._depths: list[int] = []
        self._named: dict[str, int] = {}
        self._owners: dict[str, dict[str, tuple[str, str]]] = {}
        self._subject: tuple[Identity, Identity] | None = None

    def slot(self, slot: Slot) -> int:
        """The number of a slot; equal slots have one."""
        number = self._slot_numbers.get(slot)
        if number is None:
            number = self._slot_numbers[slot] = len(self.slots)
            self.slots.append(slot)
        return number

    def computed(self, steps: Steps) -> int:
        """The number of the slot that these steps compute; equal steps have one. Raises ValueError, which says at
        which step, where they break a rule or a limit (`fanion.model.expression`)."""
        same = repr(steps)  # where true, 1 and 1.0 are not equal
        number = self._computed.get(same)
        if number is None:
            self._depths += [0] * (len(self.slots) - len(self._depths))
            depth = depth_of(steps, len(self.slots), self._depths)
            number = self._computed[same] = len(self.slots)
            self.slots.append(Slot(Source.COMPUTED, "", steps=steps))
            self._depths.append(depth)
        return number

    def named(self, name: str) -> int:
        """The slot of a name in a Feather context (docs/apis/feather.md: Context look-up): the identities are
        members of the context when present, otherwise and for every other name the attribute counts."""
        number = self._named.get(name)
        if number is None:
            source = Source.MEMBER_OR_ATTRIBUTE if name in (USER, ANONYMOUS) else Source.ATTRIBUTE
            number = self._named[name] = self.slot(Slot(source, name))
        return number

    def subject(self) -> tuple[Identity, Identity]:
        """The user and the anonymous id."""
        if self._subject is None:
            self._subject = self.identity(self.named(USER)), self.identity(self.named(ANONYMOUS))
        return self._subject

    def identity(self, slot: int) -> Identity:
        """A slot with the hash piece that is its text."""
        return Identity(slot, Piece(PieceKind.TEXT, slot=slot))

    def decision(self, key: str, nodes: list[Node]) -> int:
        """Add a decision; its number is what DECISION_IS and parameters name it by."""
        same = self._nodes
        made = [same.setdefault(node, node) if type(node) in SHARED else node for node in nodes]
        self.decisions.append(Decision(key, tuple(made)))
        return len(self.decisions) - 1

    def list_name(self, name: str) -> str:
        """Say that LIST_MEMBER operands use this list."""
        self.lists[name] = None
        return name

    def list_members(self, entry: MemberList, path: str) -> None:
        """Members of a list as a source file gives them at `path`; without any, the store's own are kept."""
        self.members.append((entry, path))

    def taken(self, key: str, source: str, file: str = "", path: str = "") -> str | None:
        """The source that already owns this parameter key, where that is a clash; the key is taken
        otherwise, by what stands at `path` in `file`."""
        owners = self._owners.get(key)
        if owners is None:
            self._owners[key] = {source: (file, path)}
            return None
        if source in owners or source == NATIVE or NATIVE in owners:
            return source if source in owners else NATIVE if NATIVE in owners else min(owners)
        owners[source] = (file, path)
        return None

    def warn_of_ambiguous(self, report: Report) -> None:
        """Keys that several sources have, and no order says which counts."""
        for key, owners in self._owners.items():
            if len(owners) > 1 and not owners.keys() & set(self.source_order):
                (first, (file, path)), *others = owners.items()
                for source, (other, place) in others:
                    found = f"{source}'s {shown(key)}, which is {first}'s too ({file}: {path})"
                    meaning = "ambiguous to an API that serves both; source_order says which counts"
                    report.warning(other, place, found, meaning)

    def warn_of_unreachable(self, report: Report) -> None:
        """Keys that end, or mean another, where a client puts them into a path as they are."""
        for key, owners in self._owners.items():
            if not NO_PATH.isdisjoint(key):
                for file, place in owners.values():
                    meaning = "a client that puts it into a path as it is asks for another flag"
                    report.warning(file, place, f"the key {shown(key)}", meaning)

    def split(self, source: str, flag: str, basis: Any, unit: str = "", slot: int = -1) -> int:
        """The number of the split that a flag's, feature's or policy's draws are recorded as; -1: they aren't.
        `basis`: what decides the draw (`recording.run_of`). `unit`, `slot`: see `model.program.Split`."""
        if not self.recording.takes(flag) or self.overriding.lies_on(source, flag):
            return -1
        self.splits.append(Split(flag, run_of(source, flag, basis), unit, slot))
        return len(self.splits) - 1

    def leaves_none(self, flag: str, draws: str) -> None:
        """Say that these draws of a flag leave no exposure, also where the others do."""
        if self.recording.takes(flag):
            self.unseen.setdefault(flag, draws)

    def parameter(
        self,
        key: str,
        decision: int,
        answers: list[Answer],
        *,
        group: str | None = None,
        client_safe: bool = False,
        group_id: str | None = None,
        source: str = NATIVE,
        variants: tuple[str, ...] = (),
    ) -> None:
        """Add a served value; `taken` has been asked for the key."""
        own = tuple(answers)
        own = self._answers.setdefault(own, own)
        self.parameters.append(
            Parameter(key, group or key, decision, own, client_safe, group_id, source, variants)
        )

    def tried(self) -> set[str]:
        """What an experiment may be about: flags, features and policies, by the name that events have for them."""
        return {*self.policies, *(parameter.group for parameter in self.parameters)}

    def flat_context(self, source: str) -> None:
        """Say that a source reads a flat context as it is: the targeting key is the user's id."""
        self.shapes[source] = ContextShape(subject=USER)

    def bound_derived(self, report: Report) -> None:
        """Leaves out the experiments behind the first `DERIVED_MAX`."""
        if len(self.derived) > DERIVED_MAX:
            found = f"{len(self.derived)} features and policies that are experiments by themselves"
            meaning = f"the first {DERIVED_MAX} have results; write out those of others"
            report.warning(self.environment, "sources", found, meaning)
            del self.derived[DERIVED_MAX:]

    def run(self, split: int) -> str | None:
        """The run of a split, as rows name it; None where it isn't recorded."""
        return None if split < 0 else self.splits[split].run

    def finish(self) -> Lowered:
        written = self.documents.get(DOCUMENT)
        if derived := derived_document(self.derived, self.derived_metrics, written):
            self.documents[DERIVED] = derived
        return Lowered(
            self.environment,
            tuple(self.slots),
            tuple(self.decisions),
            tuple(self.parameters),
            self.documents,
            self.identifiers,
            tuple(self.lists),
            tuple(self.layers),
            self.shapes,
            self.source_order,
            tuple(self.splits),
        )
