"""Every exception that Fanion raises on purpose.

    FanionError
    ├── ConfigError           a setting that can't be used
    ├── DefinitionError       one or more defects in definition files (all of them, not the first)
    ├── ProgramError          a lowered program that the bundle format can't hold
    ├── BundleError           a bundle that does not verify
    │   └── BundleVersionError    ... written by a newer Fanion
    ├── EvaluationError       a flag that can't be answered in process; `code` is OpenFeature's
    │   ├── FlagNotFoundError     ... there is none of that key
    │   ├── TargetingKeyError     ... without a targeting key
    │   └── ContextError          ... by this context
    ├── StoreError            the store can't be opened, read or written
    │   ├── StoreMissingError     ... there is none in this directory
    │   ├── EnvironmentMissingError   ... it doesn't hold this environment
    │   ├── StoreBusyError        ... not now, though nothing is wrong with its file
    │   │   └── StoreTwinError        ... by a process with this id, since another container's has it open
    │   └── StoreVersionError     ... written by another Fanion
    ├── DamagedFileError      a small file of the data directory is damaged
    ├── JournalError          the journal can't be opened, read or written
    │   └── JournalFullError      ... nothing was taken: the caller answers "overloaded"
    │       └── JournalOpeningError   ... as the server has just started
    ├── RowsError             rows of events can't be made or asked
    ├── SinkError             a sink's receiver doesn't take rows
    ├── PlaceError            a place that is published to or followed can't be used
    │   └── PlaceMovedError       ... another machine published meanwhile
    ├── ShippingError         the stream that records are shipped to can't be used
    │   └── StreamMissingError    ... nobody has made it yet
    ├── ArchiveError          the archive of the journal can't be used, or holds what it shouldn't
    │   └── ArchiveConflictError  ... an object holds something else than the journal
    ├── NatsError             NATS can't be reached, or doesn't answer
    └── ServeError            the server can't start here (port in use, directory locked, wrong file system)

A message says what was found, what was allowed, and where. The command line prints the message alone
and exits 1; a traceback is a bug.
"""

from __future__ import annotations

from typing import NamedTuple


class FanionError(Exception):
    """The root: `except FanionError` catches all that Fanion raises on purpose, and nothing else."""


class ConfigError(FanionError):
    """A setting has the wrong type, is out of its range or is unknown. Mend the named setting."""


class Problem(NamedTuple):
    """One defect in a definition file: where it is, what was found there, and what is allowed."""

    file: str
    path: str
    found: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.file}: {self.path}: {self.found}; {self.allowed}"


class DefinitionError(FanionError):
    """The definitions have defects; nothing was stored. Mend every listed place and publish again."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class ProgramError(FanionError):
    """A lowered program breaks a limit of the bundle format. Split the environment or shorten the rule."""


class BundleError(FanionError):
    """A bundle's bytes do not verify. The last good generation goes on being served; publish again."""


class BundleVersionError(BundleError):
    """The bundle has a format that this version does not know. Start the newer server, or publish again."""


class EvaluationError(FanionError):
    """A flag can't be answered in process: an ambiguous key, a malformed definition. Use the flag's default."""

    def __init__(self, key: str, code: str, message: str) -> None:
        self.key = key
        self.code = code
        super().__init__(message)


class FlagNotFoundError(EvaluationError):
    """No source of the environment has a flag of this key."""


class TargetingKeyError(EvaluationError):
    """The flag is split by the targeting key, or reads what belongs to it, and the context has none."""


class ContextError(EvaluationError):
    """The context isn't one that flags can be asked with. The message names the member."""


class StoreError(FanionError):
    """The store can't be opened, read or written. The message names the file and the system's reason."""


class StoreMissingError(StoreError):
    """There is no store in the directory. Publish definitions first, or name the right directory."""


class EnvironmentMissingError(StoreError):
    """The store doesn't hold the environment that was asked for. The message lists those it has."""


class StoreBusyError(StoreError):
    """The store's file is whole, but can't be opened or read now: all readers' places are taken, memory or
    descriptors are short. Try again, or end what the message names."""


class StoreTwinError(StoreBusyError):
    """A process of another container has this one's process id and the store open, and LMDB tells its readers apart
    by that. Any process with another id can open it: run the command again."""


class StoreVersionError(StoreError):
    """The store was written by a newer or an older Fanion. Run that version, or move DIR/store away
    and publish again: events and rows stay."""


class DamagedFileError(FanionError):
    """A small file that is replaced whole isn't what was written. Its owner's message names it, and what to do."""


class JournalError(FanionError):
    """The journal can't be opened, read or written. The message names the file and the system's reason."""


class JournalFullError(JournalError):
    """The ring or the disk takes no more. Nothing of this request was kept; the client has to try again."""


class JournalOpeningError(JournalFullError):
    """The journal takes nothing yet: the server has just started, and what earlier workers left is put in order, or
    ids are read, by which events are told from repeats. The client has to try again."""


class RowsError(FanionError):
    """Rows can't be made of the journal, or not be asked: the extra isn't installed, another pipeline runs, the
    manifest can't be read, or DuckDB refuses the statement. The message says which."""


class SinkError(FanionError):
    """A sink's receiver took nothing, or not all: it is down, refuses, or isn't set up right; the extra isn't
    installed; or another process has the sink. It is tried again from the same place. The message says which."""


class PlaceError(FanionError):
    """A place can't be reached, refuses, or holds what isn't signed with this machine's key; the extra isn't
    installed; or the directory may not be changed, since it follows a place. What is served goes on. The message
    says which."""


class PlaceMovedError(PlaceError):
    """Another machine published to the place meanwhile; nothing of this change was taken. Run the command again."""


class ShippingError(FanionError):
    """The stream that records are shipped to can't be reached, refuses, or isn't fit; or another process ships
    them. The journal keeps them, and it is tried again from the same place. The message says which."""


class StreamMissingError(ShippingError):
    """There is no such stream yet: the first server whose shipping.url names it makes it. Check the name."""


class ArchiveError(FanionError):
    """The archive of the journal can't be reached or refuses; an object there is damaged, missing or holds
    something else than the journal; or the directory can't take what it has. Nothing there is overwritten, the
    journal keeps what it has room for, and it is tried again. The message says which, and names the object."""


class ArchiveConflictError(ArchiveError):
    """An object that is there is damaged, or holds something else than the journal has of the same records. It
    stays as it is. The message says what may have led to it."""


class NatsError(FanionError):
    """NATS can't be reached, doesn't let us in, doesn't answer in time, or the connection was lost. It is tried
    again. The message says which, without a credential."""


class ServeError(FanionError):
    """The server can't start: the port is in use, another server holds the directory, or it may not be used."""
