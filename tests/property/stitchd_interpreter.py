"""stitchd's engine in the plainest Python, from docs/apis/stitchd.md alone: the oracle of the lowering.

It walks the definition documents themselves, condition by condition; errors are exceptions, as upstream's are
error values. Nothing of `fanion.definitions` or of the decision program is used here.
"""

from __future__ import annotations

import re
from typing import Any

from fanion.engine.murmur import murmur3_x64_128

Contexts = list[tuple[str, str, dict[str, Any]]]

NUMERIC = r"(?:0|[1-9]\d*)"
PRE = rf"(?:{NUMERIC}|\d*[A-Za-z-][0-9A-Za-z-]*)"
SEMVER = re.compile(
    rf"({NUMERIC})\.({NUMERIC})\.({NUMERIC})(?:-({PRE}(?:\.{PRE})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)


class Missing(Exception):  # noqa: N818
    """No such context, or no such parameter."""


class Mismatch(Exception):  # noqa: N818
    """A parameter of another kind than the operator takes."""


class SemVer:
    """A version with Rust's total order: precedence, then build metadata."""

    def __init__(self, text: str) -> None:
        match = SEMVER.fullmatch(text)
        if match is None or any(int(match[n]) >= 2**64 for n in (1, 2, 3)):
            raise ValueError(text)
        self.numbers = tuple(int(match[n]) for n in (1, 2, 3))
        self.pre, self.build, self.text = match[4] or "", match[5] or "", text

    def pre_key(self) -> Any:
        parts = [(0, int(p), "") if p.isdigit() else (1, 0, p) for p in self.pre.split(".")]
        return (1, []) if not self.pre else (0, parts)

    def key(self) -> Any:
        build = []
        for part in self.build.split(".") if self.build else []:
            value = part.lstrip("0")
            build.append((0, len(value), value, len(part)) if part.isdigit() else (1, 0, part, 0))
        return self.numbers, self.pre_key(), build


def typed(value: Any) -> Any:
    """bool, int in i64, double, version, else text: first fit wins."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, float):
        return value
    try:
        return SemVer(value)
    except ValueError:
        return value


def same_kind(one: Any, other: Any) -> bool:
    return type(one) is type(other)


def text_of(value: Any) -> str:
    """A hash target's text."""
    value = typed(value)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, SemVer):
        return value.text
    if isinstance(value, float):
        digits = format(__import__("decimal").Decimal(repr(value)), "f")
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(value)


def cargo(op: str, requirement: str, version: SemVer) -> bool:
    """`VersionReq::parse(op + requirement)?.matches(version)`, as Rust's semver crate writes it."""
    match = re.fullmatch(
        rf"({NUMERIC})(?:\.({NUMERIC}))?(?:\.({NUMERIC})(.*))?", requirement.strip(" "), re.ASCII
    )
    if match is None or (match[2] is None and match[3] is not None):
        raise Mismatch
    pre = SemVer("0.0.0")
    if match[3] is not None:
        try:
            pre = SemVer(requirement.strip(" "))
        except ValueError:
            raise Mismatch from None
    wanted = [int(match[1]), *(None if match[n] is None else int(match[n]) for n in (2, 3))]
    if any(number is not None and number >= 2**64 for number in wanted):
        raise Mismatch
    major, minor, patch = wanted
    have = version.numbers
    order = (version.pre_key() > pre.pre_key()) - (version.pre_key() < pre.pre_key())

    def exact() -> bool:
        pairs = zip((major, minor, patch), have, strict=True)
        return all(want is None or want == got for want, got in pairs) and version.pre == pre.pre

    def greater() -> bool:
        for want, got in zip((major, minor, patch), have, strict=True):
            if want is None:
                return False
            if got != want:
                return got > want
        return order > 0

    def tilde() -> bool:
        if have[0] != major or (minor is not None and have[1] != minor):
            return False
        if patch is not None and have[2] != patch:
            return have[2] > patch
        return order >= 0

    def caret() -> bool:
        if have[0] != major:
            return False
        if minor is None:
            return True
        if patch is None:
            return have[1] >= minor if major else have[1] == minor
        if major:
            if have[1] != minor:
                return have[1] > minor
            if have[2] != patch:
                return have[2] > patch
        elif minor:
            if have[1] != minor:
                return False
            if have[2] != patch:
                return have[2] > patch
        elif have[1] != minor or have[2] != patch:
            return False
        return order >= 0

    found = {"SemverGte": lambda: exact() or greater(), "SemverTilde": tilde, "SemverCaret": caret}[op]()
    return found and (not version.pre or (bool(pre.pre) and tuple(wanted) == have))


class Engine:
    """One set of definitions in flat form, asked with one request's contexts."""

    def __init__(self, flags: list[Any], segments: Any, environment: str, contexts: Contexts) -> None:
        self.flags = {flag["key"]: flag for flag in flags}
        self.rule_segments = {segment["id"]: segment for segment in segments["rule_segments"]}
        self.list_segments = {segment["id"]: segment for segment in segments["list_segments"]}
        self.environment = environment
        self.contexts = contexts

    def parameter(self, leaf: Any) -> Any:
        for context_type, _, parameters in self.contexts:
            if context_type == leaf["context_type"]:
                if leaf["param"] not in parameters:
                    raise Missing
                return typed(parameters[leaf["param"]])
        raise Missing

    def condition(self, node: Any) -> bool:
        op = node["op"]
        if op == "Not":
            return not self.condition(node["child"])
        if op in ("And", "Or"):
            for child in node["children"]:
                try:
                    passed = self.condition(child)
                except Missing:
                    passed = False
                if passed is (op == "Or"):
                    return passed
            return op == "And"
        if op == "InSegment":
            return self.in_segment(node["segment_id"])
        if op == "NotInSegment":
            return not self.in_segment(node["segment_id"])
        if op == "FlagEvaluatedAs":
            other = self.flags.get(node["flag_key"])
            return other is not None and self.evaluate(node["flag_key"])[0] == node["variant_key"]
        return self.compare(op, node, self.parameter(node))

    def compare(self, op: str, node: Any, value: Any) -> bool:
        if op.startswith("Semver"):
            if not isinstance(value, SemVer):
                raise Mismatch
            return cargo(op, node["version"], value)
        if op in ("Contains", "StartsWith", "EndsWith"):
            if not isinstance(value, str):
                raise Mismatch
            if op == "Contains":
                return node["substr"] in value
            if op == "StartsWith":
                return value.startswith(node["prefix"])
            return value.endswith(node["suffix"])
        operand = typed(node["value"])
        if op in ("Eq", "Ne"):
            left = value.text if isinstance(value, SemVer) else value
            right = operand.text if isinstance(operand, SemVer) else operand
            return (same_kind(value, operand) and left == right) is (op == "Eq")
        if not same_kind(value, operand) or isinstance(value, bool | str):
            raise Mismatch
        if isinstance(value, SemVer):
            value, operand = value.key(), operand.key()
        return {
            "Lt": lambda: value < operand,
            "Lte": lambda: value <= operand,
            "Gt": lambda: value > operand,
            "Gte": lambda: value >= operand,
        }[op]()

    def in_segment(self, id: str) -> bool:
        """An error stays in its segment: it counts as not in."""
        if id in self.list_segments:
            return self.in_list(self.list_segments[id])
        if id not in self.rule_segments:
            return False
        try:
            return self.condition(self.rule_segments[id]["condition"])
        except (Missing, Mismatch):
            return False

    def in_list(self, segment: Any) -> bool:
        present = {context_type: key for context_type, key, _ in self.contexts}
        sides = {segment["context_type"]: segment} | segment.get("lists", {})
        if any(present.get(t) in sides[t].get("exclude", ()) for t in sides):
            return False
        return any(present.get(t) in sides[t].get("include", ()) for t in sides)

    def evaluate(self, key: str) -> tuple[str, str]:
        """The variant's key, and how it was come by."""
        flag = self.flags[key]
        default = flag.get("default_rule", {}).get("variant_assignment", {}).get("specific_variant", "")
        if not flag["enabled"]:
            return default, "disabled"
        for one in flag.get("prerequisites", ()):
            other = self.flags.get(one["prerequisite_flag"])
            if (
                other is None
                or not other["enabled"]
                or self.evaluate(other["key"])[0] != one["required_variant"]
            ):
                return flag.get("fallback_variant", default), "default_rule"
        for rule in flag["rules"]:
            try:
                if not self.condition(rule["condition"]):
                    continue
            except (Missing, Mismatch):
                continue
            assignment = rule["variant_assignment"]
            if "specific_variant" in assignment:
                return assignment["specific_variant"], "matched"
            rollout = assignment["percentage_rollout"]
            if self.admitted(rollout):
                return self.allocate(flag, rollout, default), "matched"
        distribution = flag.get("default_rule_distribution")
        if distribution is not None:
            bucket = self.bucket(key, [context_key for _, context_key, _ in self.contexts])
            names = [(one["variant_key"], one["percentage_bp"]) for one in distribution["allocations"]]
            found = self.pick(flag, names, bucket)
            if found is not None:
                return found, "default_rule_distribution"
        return default, "default_rule"

    def admitted(self, rollout: Any) -> bool:
        gate = rollout.get("exclusion_gate")
        if gate is None:
            return True
        context_type = gate.get("context_type") or rollout["targets"][0]["context_type"]
        for known, key, _ in self.contexts:
            if known == context_type:
                found = murmur3_x64_128((gate["group_salt"] + key).encode()) % 100_000 // 10
                return gate["bucket_lo"] <= found < gate["bucket_hi"]
        return False

    def allocate(self, flag: Any, rollout: Any, default: str) -> str:
        texts = []
        for target in rollout["targets"]:
            text = ""
            for context_type, key, parameters in self.contexts:
                if context_type == target["context_type"]:
                    if target["field"] == "Key":
                        text = key
                    elif target["param"] in parameters:
                        text = text_of(parameters[target["param"]])
                    break
            texts.append(text)
        names = [(one["variant_key"], one["weight"]) for one in rollout["weights"]]
        found = self.pick(flag, names, self.bucket(flag["key"], texts))
        return default if found is None else found

    def bucket(self, key: str, texts: list[str]) -> int:
        return murmur3_x64_128((key + self.environment + "".join(texts)).encode()) % 100_000 // 10

    @staticmethod
    def pick(flag: Any, names: list[tuple[str, int]], bucket: int) -> str | None:
        total = 0
        for name, weight in names:
            total += weight
            if bucket < total:
                return name if any(variant["key"] == name for variant in flag["variants"]) else None
        return None
