"""Flag sets as they are read (docs/apis/flagd.md: Flag sets)."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from fanion.definitions.reading import limits
from fanion.definitions.reading.report import Report, join, shown
from fanion.definitions.reading.values import value_defect
from fanion.definitions.sources.flagd.steps import Hashing
from fanion.definitions.sources.flagd.targeting import Evaluator, Rule, TargetingReader, size, uses

MEMBERS: Final = frozenset({"flags", "$evaluators", "metadata", "$schema"})
FLAG_MEMBERS: Final = frozenset({"key", "state", "variants", "defaultVariant", "targeting", "metadata"})
KEY_CHARS_MAX: Final = 255
HASHING: Final = "fractional"
"""The member of a flag set's metadata that says what `fractional` hashes."""
CLIENT_SAFE: Final = "clientSafe"
METADATA_MAX: Final = 100
TYPES: Final = {bool: "boolean", str: "string", int: "number", float: "number", dict: "object"}

Metadata = dict[str, bool | int | float | str]


class Flag(msgspec.Struct, frozen=True):
    """`variants`: JSON values of one type. `default`: None where the caller's own counts. `rule`: None without
    targeting. `broken`: its targeting can't be read, and the flag says so."""

    key: str
    path: str
    enabled: bool
    variants: dict[str, Any]
    default: str | None
    rule: Rule | None
    broken: bool
    metadata: Metadata
    hashing: Hashing


class FlagSet(msgspec.Struct, frozen=True):
    flags: list[Flag]


class FlagSetReader:
    """Reads one document and reports what is wrong with it."""

    def __init__(self, report: Report, file: str) -> None:
        self._report = report
        self._file = file
        self._evaluators: dict[str, Evaluator] = {}
        self._written = self._repeated = 0
        self._metadata: Metadata = {}
        self._unchosen: list[str] = []

    def read(self, document: Any) -> FlagSet | None:
        before = len(self._report.problems)
        if not isinstance(document, dict):
            self._refuse("document", shown(document), "an object with flags")
            return None
        self._unknown(document, MEMBERS, "")
        self._metadata = self._read_metadata(document.get("metadata", {}), "metadata")
        self._read_evaluators(document.get("$evaluators", {}))
        flags = [
            flag
            for key, path, given in self._given(document.get("flags"))
            if (flag := self._flag(key, path, given))
        ]
        if self._unchosen:
            more = "" if len(self._unchosen) == 1 else f" and {len(self._unchosen) - 1} more"
            found = f"nothing, though {shown(self._unchosen[0])}{more} splits by fractional"
            meaning = "v2 is meant; newer evaluators read v3, which splits otherwise: say which"
            self._report.warning(self._file, f"metadata.{HASHING}", found, meaning)
        return FlagSet(flags) if len(self._report.problems) == before else None

    def _refuse(self, path: str, found: str, allowed: str) -> None:
        self._report.problem(self._file, path, found, allowed)

    def _unknown(self, document: dict[str, Any], known: frozenset[str], path: str) -> None:
        for name in document.keys() - known:
            self._report.warning(self._file, join(path, name), "an unknown member", "no evaluator reads it")

    def _given(self, flags: Any) -> list[tuple[str, str, Any]]:
        """Key, path and definition of each flag: a map of them by key, or a list of flags with keys."""
        if isinstance(flags, dict):
            found = [(key, join("flags", key), one) for key, one in flags.items()]
        elif isinstance(flags, list):
            found = []
            seen: set[str] = set()
            for number, one in enumerate(flags):
                path = f"flags[{number}]"
                key = one.get("key") if isinstance(one, dict) else None
                if not isinstance(key, str):
                    allowed = "a key" if isinstance(one, dict) else "a flag with its key"
                    self._refuse(path, shown(one), allowed)
                elif key in seen:
                    self._refuse(f"{path}.key", f"{shown(key)} again", "each key once")
                else:
                    seen.add(key)
                    found.append((key, path, one))
        else:
            self._refuse(
                "flags", "nothing" if flags is None else shown(flags), "flags by key, or a list of them"
            )
            return []
        if len(found) > limits.FLAGS_MAX:
            self._refuse("flags", f"{len(found)} flags", f"at most {limits.FLAGS_MAX}")
            return []
        return found

    def _read_evaluators(self, given: Any) -> None:
        if not isinstance(given, dict):
            self._refuse("$evaluators", shown(given), "rules by name")
            return
        for name, rule in given.items():
            reader = TargetingReader(self._report, self._file, None)
            read = reader.read(rule, join("$evaluators", name))
            self._written += reader.written
            self._evaluators[name] = Evaluator(read, 0 if read is None else size(read))

    def _read_metadata(self, given: Any, path: str) -> Metadata:
        if not isinstance(given, dict):
            self._refuse(path, shown(given), "true or false, texts and numbers by name")
            return {}
        if len(given) > METADATA_MAX:
            self._refuse(path, f"{len(given)} members", f"at most {METADATA_MAX}")
        read: Metadata = {}
        for name, value in given.items():
            place = join(path, name)
            defect = value_defect(value, None)
            if not isinstance(value, bool | int | float | str):
                self._refuse(place, shown(value), "true or false, text or a number")
            elif defect is not None:
                self._refuse(place, *defect)
            else:
                read[name] = value
        for name, allowed in ((HASHING, ("v2", "v3")), (CLIENT_SAFE, (True, False))):
            if name in read and (read[name] not in allowed or type(read[name]) is not type(allowed[0])):
                words = " or ".join(str(one).lower() for one in allowed)
                self._refuse(join(path, name), shown(read.pop(name)), words)
        return read

    # -- one flag

    def _flag(self, key: str, path: str, given: Any) -> Flag | None:
        if not 1 <= len(key) <= KEY_CHARS_MAX:
            self._refuse(path, f"a key of {len(key)} characters", f"1 to {KEY_CHARS_MAX}")
            return None
        if not isinstance(given, dict):
            self._refuse(path, shown(given), "a flag: an object with state and variants")
            return None
        self._unknown(given, FLAG_MEMBERS, path)
        state = given.get("state")
        if state not in ("ENABLED", "DISABLED"):
            self._refuse(f"{path}.state", "nothing" if state is None else shown(state), "ENABLED or DISABLED")
        variants = self._variants(given.get("variants"), f"{path}.variants")
        default = given.get("defaultVariant")
        if variants and default is not None and not (isinstance(default, str) and default in variants):
            names = ", ".join(sorted(map(shown, list(variants)[:10])))
            self._refuse(
                f"{path}.defaultVariant", shown(default), f"null, or one of {names or 'its variants'}"
            )
        metadata = self._metadata | self._read_metadata(given.get("metadata", {}), f"{path}.metadata")
        rule, broken = self._targeting(given.get("targeting"), f"{path}.targeting")
        hashing: Hashing = "v3" if metadata.get(HASHING) == "v3" else "v2"
        if rule is not None and HASHING not in metadata and uses(rule, "fractional"):
            self._unchosen.append(key)
            metadata = {**metadata, HASHING: hashing}
        enabled = state == "ENABLED"
        return Flag(key, path, enabled, variants, default, rule, broken, metadata, hashing)

    def _targeting(self, given: Any, path: str) -> tuple[Rule | None, bool]:
        if given is None or given == {}:
            return None, False
        if not isinstance(given, dict):
            self._refuse(path, shown(given), "an operation")
            return None, False
        if self._repeated > limits.repeated_max(self._written):
            return None, False  # said of the flag that was one too many; it is lowered no further
        reader = TargetingReader(self._report, self._file, self._evaluators)
        rule = reader.read(given, path)
        self._written += reader.written
        self._repeated += reader.repeated
        if self._repeated > (most := limits.repeated_max(self._written)):
            found = f"{self._repeated:,} rules and values repeated by references"
            self._refuse(path, found, f"at most {most:,} so far, of all flags of the file")
        return rule, bool(reader.unresolved)

    def _variants(self, given: Any, path: str) -> dict[str, Any]:
        """Values of one type by name; numbers are all written with a fraction where one of them has one."""
        if not isinstance(given, dict) or not given:
            found = "nothing" if given is None else "none" if given == {} else shown(given)
            self._refuse(path, found, "at least one value by name")
            return {}
        if len(given) > limits.VARIANTS_MAX:
            self._refuse(path, f"{len(given)} variants", f"at most {limits.VARIANTS_MAX}")
            return {}
        kind = TYPES.get(type(next(iter(given.values()))))
        refused = False
        for name, value in given.items():
            place = join(path, name)
            own, defect = TYPES.get(type(value)), value_defect(value, None)
            if not 1 <= len(name) <= KEY_CHARS_MAX:
                self._refuse(place, f"a name of {len(name)} characters", f"1 to {KEY_CHARS_MAX}")
            elif own is None:
                self._refuse(place, shown(value), "true or false, text, a number or an object")
            elif own != kind:
                self._refuse(place, shown(value), f"a {kind}, as the first variant is")
            elif defect is not None:
                self._refuse(place, *defect)
                refused = True
        if refused:
            return {}
        if any(isinstance(value, float) for value in given.values()) and kind == "number":
            return {name: float(value) if _is_whole(value) else value for name, value in given.items()}
        return given


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
