"""Places into which somebody writes who has the bucket, or the folder, and not the secret."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from fanion.archive.bucket import Bucket as ArchiveBucket
from fanion.cli import group
from fanion.config.places import Places
from fanion.errors import ArchiveError, PlaceError
from fanion.nats.address import parse_address
from fanion.nats.connection import Access, Connection
from fanion.places import objects, open_place
from fanion.places.manifest import Body
from fanion.places.nats import IN_PARTS, PART_BYTES, KeyValue
from fanion.places.place import Found
from fanion.places.taking import origin_of
from fanion.store.store import Store
from tests.crash.receivers import ANSWER_TIMEOUT_S, NatsServers
from tests.unit.places_world import KEY, World, need_libraries

PLACES = Places(key=KEY, timeout_s=ANSWER_TIMEOUT_S)


@pytest.fixture(autouse=True)
def libraries() -> None:
    need_libraries()
    pytest.importorskip("nats")


class Bucket:
    """Who writes into it past the library's checks."""

    def __init__(self, url: str) -> None:
        self.url = url
        address = parse_address(url)
        assert address is not None
        self._name = address.name
        self.connection = Connection(address, Access(), ANSWER_TIMEOUT_S)

    def put(self, key: str, value: bytes) -> None:
        self.connection.run(self.connection.streams.publish(f"$KV.{self._name}.{key}", value))

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def bucket(nats: NatsServers) -> Iterator[Bucket]:
    url = nats.url(f"h-{secrets.token_hex(6)}")
    open_place(url, PLACES, create=True).close()
    with closing(Bucket(url)) as opened:
        yield opened


def place_of(bucket: Bucket) -> closing[KeyValue]:
    place = open_place(bucket.url, PLACES)
    assert isinstance(place, KeyValue)
    return closing(place)


def test_an_object_has_no_more_bytes_than_it_says(bucket: Bucket) -> None:
    id = "ab" * 12
    for size, parts in (
        (3 * PART_BYTES, [PART_BYTES, 3 * PART_BYTES, PART_BYTES]),
        (PART_BYTES + 5, [PART_BYTES, 6]),
        (PART_BYTES + 5, [PART_BYTES - 1, 5]),
        (5, [4]),
    ):
        for number, length in enumerate(parts):
            bucket.put(f"part.{id}.{number}", bytes(length))
        bucket.put("object.ab12", IN_PARTS + msgspec.msgpack.encode((id, size)))
        with place_of(bucket) as place, pytest.raises(PlaceError, match="isn't as long as the object says"):
            place.get("ab12")


@pytest.mark.parametrize("kind", ["nats", "folder"])
def test_an_object_larger_than_the_manifest_says_is_not_read(
    bucket: Bucket, tmp_path: Path, kind: str
) -> None:
    """2 GiB in the place of a bundle, in each machine that follows."""
    world = World(tmp_path, bucket.url if kind == "nats" else "")
    world.publish("a", "one")
    world.follow()
    before = world.told("follower")
    folder = tmp_path / "place" / "objects"
    with place_of(bucket) as place:

        def names() -> set[str]:
            if kind == "nats":
                return set(place.keys("object.>"))
            return {path.name for path in folder.rglob("*") if path.is_file()}

        had = names()
        world.publish("a", "two")
        fresh = names() - had
    assert fresh
    for name in fresh:
        if kind == "nats":
            bucket.put(name, IN_PARTS + msgspec.msgpack.encode(("ab" * 12, 1 << 30)))
        else:
            os.truncate(folder / name[:2] / name, 1 << 30)
    with pytest.raises(PlaceError, match=r"has 1,073,741,824 bytes; [0-9,]{1,7} are allowed"):
        world.follow()
    assert world.told("follower") == before


@pytest.mark.parametrize(
    "id", ["", "x" * 100_000, "a b\r\nPUB x 1", ">", "*", "../x", "\x1b[31m", "AB" * 12, "ab" * 11 + "ü"]
)
def test_where_parts_are_is_said_by_no_other_name(bucket: Bucket, id: str) -> None:
    bucket.put("object.ab12", IN_PARTS + msgspec.msgpack.encode((id, 5)))
    with place_of(bucket) as place:
        with pytest.raises(PlaceError, match="where its parts are can't be read") as told:
            place.get("ab12")
        assert len(str(told.value)) < 200
        place.put("cd34", b"x")
        assert place.get("cd34") == b"x"


@pytest.mark.parametrize(
    "value",
    [
        b"", b"\0" * 30, IN_PARTS,
        IN_PARTS + b"\x92", IN_PARTS + b"\x91" * 5_000, IN_PARTS + b"\xdd\xff\xff\xff\xff",
        IN_PARTS + msgspec.msgpack.encode(("ab" * 12, -1)), IN_PARTS + msgspec.msgpack.encode(("ab" * 12, 1 << 60)),
        IN_PARTS + msgspec.msgpack.encode(("ab" * 12, 1 << 31)), b"\2",
    ],
)  # fmt: skip
def test_what_is_no_object_changes_nothing(bucket: Bucket, tmp_path: Path, value: bytes) -> None:
    world = World(tmp_path, bucket.url)
    world.publish("a", "one")
    world.follow()
    before = world.told("follower")
    with place_of(bucket) as place:
        had = set(place.keys("object.>"))
        world.publish("a", "two")
        for key in set(place.keys("object.>")) - had:
            bucket.put(key, value)
    with pytest.raises(PlaceError):
        world.follow()
    assert world.told("follower") == before


@pytest.mark.parametrize(
    "value",
    [
        b"", b"\n", b"9" * 20 + b"\n", b"9" * 20 + b"\nfanion-place 1 ", b"9" * 20 + b"\n" + b"x" * 900_001,
        "²".encode() * 10 + b"\nx", b"00000000000000000002\nfanion-place 1 " + b"0" * 64 + b"\n{}\n",
    ],
)  # fmt: skip
def test_what_is_no_manifest_changes_nothing(bucket: Bucket, tmp_path: Path, value: bytes) -> None:
    world = World(tmp_path, bucket.url)
    world.publish("a", "one")
    world.follow()
    before = world.told("follower")
    bucket.put("manifest", value)
    with pytest.raises(PlaceError):
        world.follow()
    assert world.told("follower") == before


def test_a_manifest_of_before_is_refused_and_said(bucket: Bucket, tmp_path: Path) -> None:
    world = World(tmp_path, bucket.url)
    kept: list[Found] = []
    for answer in ("one", "two"):
        world.publish("a", answer)
        with place_of(bucket) as place:
            found = place.newest()
            assert found is not None
            kept.append(found)
    world.follow()
    before = world.told("follower")
    bucket.put("manifest", b"%020d\n%s" % (kept[0].number, kept[0].content))
    with pytest.raises(PlaceError, match="is there no more"):
        world.follow()
    bucket.put("manifest", b"%020d\n%s" % (kept[1].number + 1, kept[0].content))
    with pytest.raises(PlaceError, match="it says that it is number"):
        world.follow()
    assert world.told("follower") == before


def test_names_that_are_no_machines_hide_no_report(bucket: Bucket) -> None:
    said = b'{"machine":"m","number":1,"at":1.0,"taken_at":1.0}'
    for name in ("ü", "a.b", "x" * 101, "\x1b[31m", "$", "machine"):
        bucket.put(f"report.{name}", said)
    with place_of(bucket) as place:
        assert place.reports() == {"machine": said}


def status_of(world: World) -> tuple[int, str, str]:
    arguments = ["cluster", "status", "--place", world.url]
    done = CliRunner().invoke(group, arguments, env={"FANION_PLACES_KEY": KEY})
    assert done.exception is None, (done.exception, done.stdout)
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize(
    "said",
    [
        b'{"machine":"%s","number":1,"at":1.0,"taken_at":1.0}' % (b"m" * 101),
        b'{"machine":"m","number":%s,"at":1.0,"taken_at":1.0}' % (b"9" * 4_000),
        b'{"machine":"m","number":1,"at":-1e308,"taken_at":1.0}',
        b'{"machine":"m","number":1,"at":1.0,"taken_at":1.0,"version":"%s"}' % (b"v" * 101),
        b'{"x":' + b"[" * 4_000,
        b'{"machine":"\xff"}',
    ],
)
def test_what_is_no_report_is_not_shown(tmp_path: Path, said: bytes) -> None:
    world = World(tmp_path)
    world.publish("a", "one")
    reports = tmp_path / "place" / "reports"
    reports.mkdir()
    (reports / "bad").write_bytes(said)
    (reports / "good").write_bytes(b'{"machine":"good-one","number":1,"at":1.0,"taken_at":1.0}')
    status, told, _ = status_of(world)
    assert (status, "good-one" in told, len(told) < 2_000) == (0, True, True)
    assert told.count("\u2502") == 7  # one line of a table of six columns


def test_reports_that_cannot_be_listed_hide_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.publish("a", "one")
    reports = tmp_path / "place" / "reports"
    reports.mkdir()
    (reports / "a\u202e\n").write_bytes(b"{}")
    status, told, err = status_of(world)
    assert (status, "number 1" in told) == (0, True)
    assert "what its machines say can't be read: reports can't be listed" in err
    assert "\u202e" not in err


def test_a_manifest_of_before_says_no_sizes_and_is_taken(tmp_path: Path) -> None:
    made = Body(keys="ab", sizes=[7])
    assert made.sizes_by_address() == {"ab": 7}
    assert Body(keys="ab").sizes_by_address() == {}
    assert Body(keys="ab", sizes=[7, 8]).sizes_by_address() == {}
    assert Body(keys="ab", sizes=[0]).sizes_by_address() == {}
    world = World(tmp_path)
    world.publish("a", "one")
    world.follow()
    with Store.open(tmp_path / "follower") as store:
        origin = origin_of(store)
    assert origin is not None
    assert len(origin.body.sizes) == len(origin.body.addresses())
    folder = tmp_path / "place" / "objects"
    for address, size in origin.body.sizes_by_address().items():
        assert (folder / address[:2] / address).stat().st_size == size


class Endless:
    """In the place of obstore: a server that always says that there is more."""

    def list(
        self, _store: object, folder: str, offset: str | None = None
    ) -> Iterator[list[dict[str, object]]]:
        while True:
            yield [{"path": f"{folder}/{1:020}", "size": 1 << 40}]


def test_a_list_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "LISTING_S", 0.05)
    world = World(tmp_path)
    world.publish("a", "one")
    with closing(open_place(world.url, world.config.places)) as place:
        monkeypatch.setattr(place, "_obstore", Endless())
        for ask in (place.newest, place.reports):
            with pytest.raises(PlaceError, match="the list doesn't end within 0"):
                ask()
    bucket = ArchiveBucket(world.url, world.config.places, 5.0)
    monkeypatch.setattr(bucket, "_obstore", Endless())
    with pytest.raises(ArchiveError, match="the list doesn't end within 0"):
        bucket.names("ab" * 16)
