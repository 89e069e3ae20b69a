"""Members of list segments: written out in a definition, or one per line of a file, plain or gzip.

A file is streamed, so that ten million keys cost no memory. A line is the member, exactly: only its line end
is taken off, empty lines are passed over, and a byte order mark at the start is not part of the first. A carriage
return inside a line is refused: where lines end with it alone, a whole file would be one member.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from gzip import GzipFile
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec
import xxhash

from fanion.definitions.reading.limits import MEMBER_BYTES_MAX
from fanion.errors import DefinitionError, Problem
from fanion.plain_files import open_plain

GZIP_MAGIC: Final = b"\x1f\x8b"
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
LINE_BYTES_MAX: Final = MEMBER_BYTES_MAX + 2
"""A member and its line end."""


class MemberList(msgspec.Struct, frozen=True):
    """One side of a list segment, under the name that the store knows it by."""

    name: str
    members: tuple[str, ...] = ()
    file: str | None = None


def read_members(entry: MemberList) -> Iterator[bytes]:
    """Every member as bytes, repetitions included. Raises DefinitionError with the file and the line."""
    for member in entry.members:
        yield member.encode()
    if entry.file is not None:
        yield from read_member_file(Path(entry.file))


def source_digest(entry: MemberList) -> str:
    """What tells a changed list from the same one: a digest of its members as written and of its file's bytes.

    Raises DefinitionError where the file can't be read."""
    digest = xxhash.xxh3_128(msgspec.json.encode(entry.members))
    if entry.file is not None:
        try:
            with open_plain(entry.file) as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except OSError as error:
            raise _defect(
                Path(entry.file), 1, f"can't be read ({error.strerror})", "a readable file"
            ) from None
    return digest.hexdigest()


def read_member_file(path: Path) -> Iterator[bytes]:
    """The members of one file."""
    number = 0
    try:
        with open_plain(path) as file:
            plain = file.read(2) != GZIP_MAGIC
            file.seek(0)
            lines: IO[bytes] = file if plain else GzipFile(fileobj=file)  # type: ignore[assignment]
            for number, line in enumerate(iter(lambda: lines.readline(LINE_BYTES_MAX + 1), b""), 1):
                if number == 1:
                    line = line.removeprefix(BYTE_ORDER_MARK)
                member = line.rstrip(b"\r\n")
                if not member:
                    continue
                if len(member) > MEMBER_BYTES_MAX:
                    raise _defect(path, number, "a longer member", f"at most {MEMBER_BYTES_MAX} bytes")
                if b"\r" in member:
                    raise _defect(
                        path, number, "a carriage return inside a line", "LF or CRLF at a line's end"
                    )
                if not member.isascii():
                    member.decode()
                yield member
    except UnicodeDecodeError:
        raise _defect(path, number, "bytes that are not UTF-8", "members are text in UTF-8") from None
    except (EOFError, zlib.error) as error:
        raise _defect(path, number + 1, f"damaged gzip ({error})", "a whole gzip file") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise _defect(path, number + 1, f"can't be read ({reason})", "a readable file") from None


class Survey(NamedTuple):
    """A file of members at a glance."""

    lines: int
    whole: bool
    """The last line has its end, or is the only one: where a file was cut inside a line it has none."""


def survey(path: Path) -> Survey:
    """Raises DefinitionError where the file can't be read."""
    lines, last = 0, b"\n"
    try:
        with open_plain(path) as file:
            plain = file.read(2) != GZIP_MAGIC
            file.seek(0)
            pieces: IO[bytes] = file if plain else GzipFile(fileobj=file)  # type: ignore[assignment]
            while piece := pieces.read(1 << 20):
                lines += piece.count(b"\n")
                last = piece[-1:]
    except (EOFError, zlib.error) as error:
        raise _defect(path, lines + 1, f"damaged gzip ({error})", "a whole gzip file") from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise _defect(path, lines + 1, f"can't be read ({reason})", "a readable file") from None
    whole = last == b"\n"
    return Survey(lines if whole else lines + 1, whole or lines == 0)


def _defect(path: Path, line: int, found: str, allowed: str) -> DefinitionError:
    return DefinitionError([Problem(path.as_posix(), f"line {line}", found, allowed)])


def list_name(environment: str, source: str, segment: str, context_type: str, side: str) -> str:
    """The store's name of one side of a list segment that has a list for each type of contexts."""
    return f"{environment}/{source}/{segment}/{context_type}/{side}"


def list_type(name: str, environment: str, sources: Iterable[str], segment: str, side: str) -> str | None:
    """The type of contexts whose list of the segment has this name, in one of the sources; None for other names."""
    for source in sources:
        start, end = f"{environment}/{source}/{segment}/", f"/{side}"
        if name.startswith(start) and name.endswith(end) and len(name) >= len(start) + len(end):
            return name[len(start) : -len(end)]
    return None
