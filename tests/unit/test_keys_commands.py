"""`fanion publish`, `rollback` and `keys` as an operator uses them, each in a process of its own."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fanion.auth.keys import create_key
from fanion.clock.belief import BEGAN_S, begin
from fanion.clock.keeper import clock_path, encode, read_clocks
from fanion.definitions import DEMO
from fanion.dialects import vocabulary
from fanion.model.api_key import KeyRecord, hash_key, show_prefix
from fanion.store.signing import decode_signing_keys
from fanion.store.store import Store
from tests.commands import run_command


def fanion(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run_command(arguments)


def record_of(data: Path, raw: str) -> KeyRecord | None:
    with Store.open(data) as store:
        found = [key for key in store.stored_keys() if key.hash == hash_key(raw.encode()) and key.origin != 3]
    return found[0].record if found else None


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("published") / "data"
    done = fanion("publish", DEMO, "--data", made)
    assert done.returncode == 0, done.stderr
    assert "generation 1" in done.stdout
    assert "env_01hx" in done.stdout
    return made


@pytest.fixture
def data(published: Path, tmp_path: Path) -> Path:
    """The published demo, a test's own."""
    return shutil.copytree(published, tmp_path / "data")


def test_created_key_is_printed_once_and_stored_as_a_hash_only(data: Path) -> None:
    done = fanion("keys", "create", "env_01hx", "--data", data, "--kind", "client", "--dialect", "feather")
    raw = done.stdout.strip()
    assert re.fullmatch(r"pk_[A-Za-z0-9]{40}", raw)
    assert raw not in done.stderr
    record = record_of(data, raw)
    assert record is not None
    assert (record.kind, record.dialects, record.organisation) == ("client", ("feather",), "org_01hx")
    assert record.prefix == raw[:8]
    assert all(raw.encode() not in path.read_bytes() for path in data.rglob("*") if path.is_file())
    listed = fanion("keys", "list", "--data", data).stdout
    assert record.id in listed
    assert raw[:8] in listed
    assert raw not in listed


def test_revoked_key_stays_revoked_and_publish_says_so(data: Path) -> None:
    record = record_of(data, "sk_demo_server")
    assert record is not None
    done = fanion("keys", "revoke", record.id, "--data", data)
    assert done.stdout == f"key {record.id} of environment env_01hx is revoked; generation 2\n"
    assert record_of(data, "sk_demo_server") is None
    done = fanion("keys", "revoke", record.id, "--data", data)
    assert (done.returncode, done.stderr) == (1, f"fanion: key {record.id} is revoked already\n")
    done = fanion("publish", DEMO, "--data", data)
    assert f"key {record.id} was revoked and stays so" in done.stderr
    assert record_of(data, "sk_demo_server") is None
    line = next(
        line for line in fanion("keys", "list", "--data", data).stdout.splitlines() if record.id in line
    )
    assert "revoked" in line


def test_rollback_goes_back_once_there_is_something_to_go_back_to(data: Path) -> None:
    done = fanion("rollback", "--data", data)
    assert (done.returncode, done.stdout) == (1, "")
    assert "there is no previous generation" in done.stderr
    assert fanion("publish", DEMO, "--data", data).returncode == 0
    assert fanion("rollback", "--data", data).stdout.startswith("generation 3 serves")


def test_definitions_with_a_defect_leave_the_store_as_it_was(data: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("fanion: 1\norganisations: {o: {projects: {p: {flags: {f: {type: odd}}}}}}\n")
    done = fanion("publish", wrong, "--data", data)
    assert done.returncode == 1
    assert "nothing was stored" in done.stderr
    assert str(wrong) in done.stderr
    with Store.open(data) as store:
        assert store.generation() == 1


def test_environment_is_removed_by_name_only(data: Path) -> None:
    done = fanion("publish", "--remove", "env_01hy", "--data", data)
    assert done.returncode == 1
    assert "the store doesn't hold it" in done.stderr
    assert fanion("publish", "--remove", "env_01hx", "--data", data).returncode == 0
    with Store.open(data) as store:
        pinned = store.pin()
        assert "env_01hx" not in pinned.environments()
        pinned.release()


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("rollback", "--data", "{data}/none"), 1, "there is no such directory"),
        (("keys", "list", "--data", "{data}/shared"), 1, "there is no store here"),
        (("keys", "revoke", "key_none", "--data", "{data}"), 1, "there is no key with id key_none"),
        (("keys", "create", "env_none", "--data", "{data}"), 1, "there are: env_01hx"),
        (("keys", "create", "env_01hx", "--data", "{data}", "--expires", "soon"), 2, "neither like 30d nor"),
        (("keys", "create", "env_01hx", "--data", "{data}", "--expires", "2001-01-01"), 2, "is past"),
        (
            ("keys", "create", "env_01hx", "--data", "{data}", "--dialect", "soap"),
            2,
            "is not one of 'feather'",
        ),
        (
            ("keys", "create", "env_01hx", "--data", "{data}", "--scope", "admin"),
            2,
            "is not one of 'evaluate', 'events', 'results:read', 'sdk:read', 'sdk:write'",
        ),
        (
            ("keys", "create", "env_01hx", "--data", "{data}", "--dialect", "feather", "--scope", "sdk:read"),
            2,
            "'sdk:read' is no scope of feather; allowed: evaluate, events",
        ),
        (
            ("keys", "create", "env_01hx", "--data", "{data}", "--expires", "9999-12-31T23:59:59-05:00"),
            2,
            "nor 12h nor an ISO 8601 time before the year 10000",
        ),
        (("eval", "env_01hx", "my-flag", '{"a":' * 5_000, "--data", "{data}"), 1, "is nested too deeply"),
        (("journal", "cat", "--data", "{data}", "--dialect", "soap"), 2, "is not one of 'feather'"),
        (("keys", "list", "--data", "{data}", "--environment", "env_none"), 1, "there are: env_01hx"),
        (("lists", "show", "env_none", "--data", "{data}"), 1, "there are: env_01hx"),
        (("lists", "add", "env_01hx", "beta-users", "--data", "{data}"), 2, "name MEMBERS, or a --file"),
        (("eval", "env_01hx", "my-flag", '{"contexts":[{}]}', "--data", "{data}"), 1, "at `$.contexts[0]`"),
        (("serve", "--data", "{data}/store/use.lock"), 2, "is a file."),
        (("publish", "/dev/null", "--data", "{data}"), 1, "nothing was stored"),
        (("publish", "--data", "{data}"), 2, "name either the PATHS"),
        (("publish", "{data}/no.yaml", "--data", "{data}"), 1, "nothing was stored"),
        (("publish", str(DEMO), "--data", "{data}/store/use.lock"), 2, "is a file."),
        (("publish", str(DEMO), "--data", ""), 2, "'--data' (env var: 'FANION_DATA'): an empty path"),
        (("publish", "", "--data", "{data}"), 2, "an empty path"),
        (("check", ""), 2, "an empty path"),
        (("serve", "--data", "{data}", "--config", ""), 2, "an empty path"),
        (("lists", "add", "env_01hx", "beta-users", "--file", "", "--data", "{data}"), 2, "an empty path"),
        (("publish", str(DEMO), "--data", "{data}/store/use.lock/x"), 1, "can't be made: Not a directory"),
    ],
)
def test_mistake_is_told_in_one_message_without_a_traceback(
    data: Path, arguments: tuple[str, ...], status: int, said: str
) -> None:
    done = fanion(*(argument.replace("{data}", str(data)) for argument in arguments))
    assert done.returncode == status
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    "arguments", [("inspect",), ("inspect", "env_01hx", "new-checkout"), ("eval", "env_01hx", "new-checkout")]
)
def test_the_variable_names_the_data_directory_for_every_verb(
    data: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FANION_DATA", str(data))
    done = fanion(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("new-checkout" if len(arguments) > 1 else "env_01hx") in done.stdout


@pytest.mark.parametrize("verb", [("publish", str(DEMO)), ("keys", "list"), ("serve",), ("journal", "stats")])
def test_directory_whose_name_is_not_text_is_refused_where_a_variable_names_it(
    data: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FANION_DATA", f"{data}\udcff")
    done = fanion(*verb)
    assert done.returncode == 2
    assert "is not UTF-8" in done.stderr


@pytest.mark.parametrize("columns", [None, "40"])
def test_piped_output_is_whole_whatever_the_width(
    data: Path, monkeypatch: pytest.MonkeyPatch, columns: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    long_one = "org_acme/proj_marketplace/production"
    for arguments, row in (
        (("publish", DEMO), rf"│ {long_one} │ +1 │ +3 │ +2 │"),
        (
            ("keys", "list"),
            rf"│ {long_one} +│ server │ traffical_sk_d +│ traffical +│ never expires │ +│ demo Traffical +│",
        ),
        (("lists", "show"), r"│ env_01hx +│ stitchd/beta-users/user/include │ +1 │"),
        (("inspect",), rf"│ {long_one} +│ +[\d,]+ │"),
        (("inspect", "env_01hx"), r"redpennon: 7 keys: new-checkout, .*, banner-text"),
    ):
        done = fanion(*arguments, "--data", data)
        assert done.returncode == 0, done.stderr
        assert re.search(f"{row}$", done.stdout, re.MULTILINE), done.stdout


def test_answers_are_shown_as_whole_json(data: Path) -> None:
    def answers(verb: str, flag: str, *context: str) -> list[tuple[str, object]]:
        shown = fanion(verb, "--data", data, "env_01hx", flag, *context).stdout
        found = re.findall(r"^(feather|stitchd|redpennon)( outcome \d+)?: (.*)$", shown, re.MULTILINE)
        return [(dialect, json.loads(text)) for dialect, _, text in found]

    banner = {
        "value": "Free delivery this week",
        "variation": "on",
        "reason": "default_variation",
        "feature": "marketing-banner",
    }
    token = {"evaluation_trace": "rpe_v1:1c-jFlETwGKi..."}
    assert answers("eval", "banner-text") == [("redpennon", banner | {"evaluation_trace": None})]
    assert answers("eval", "banner-text", '{"id":"u"}') == [("redpennon", banner | token)]
    assert answers("inspect", "banner-text")[0] == ("redpennon", banner | token)
    assert ("feather", {"value": True, "reason": "DEFAULT"}) in answers(
        "eval", "new-checkout", '{"userId":"u"}'
    )
    assert {dialect for dialect, _ in answers("inspect", "new-checkout")} == {
        "feather",
        "stitchd",
        "redpennon",
    }


def test_damaged_store_is_told_and_not_died_of(data: Path) -> None:
    with (data / "store" / "data.mdb").open("r+b") as file:
        file.truncate(20_000)
    done = fanion("keys", "list", "--data", data)
    assert done.returncode == 1
    assert "cut off" in done.stderr


@pytest.mark.parametrize(
    ("kind", "dialects", "shape"),
    [
        ("server", (), r"sk_\w{40}"),
        ("client", ("feather", "stitchd"), r"pk_\w{40}"),
        ("edge", (), r"ek_\w{40}"),
        ("server", ("traffical",), r"traffical_sk_\w{40}"),
        ("server", ("redpennon",), r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ],
)
def test_raw_key_has_the_shape_that_its_clients_expect(
    kind: str, dialects: tuple[str, ...], shape: str
) -> None:
    make_raw = vocabulary().key_maker(dialects)
    made = {
        create_key(environment="e", organisation="o", kind=kind, dialects=dialects, make_raw=make_raw)[0]  # type: ignore[arg-type]
        for _ in range(20)
    }
    assert len(made) == 20
    assert all(re.fullmatch(shape, raw) for raw in made)


@pytest.mark.parametrize(("raw", "shown"), [("", ""), ("abcdefgh", "ab"), ("sk_" + "x" * 40, "sk_xxxxx")])
def test_shown_prefix_is_never_more_than_a_quarter(raw: str, shown: str) -> None:
    assert show_prefix(raw) == shown


@pytest.fixture
def behind(data: Path) -> float:
    """The last good time is a year before what the wall clock says; returns it."""
    now = read_clocks()
    good = now.wall - 365 * 86_400
    clock_path(data).parent.mkdir(exist_ok=True)
    clock_path(data).write_bytes(encode(begin(now._replace(wall=good), 0.0)))
    return max(good, BEGAN_S)


def test_wall_clock_that_jumped_ahead_makes_no_key_last_longer(data: Path, behind: float) -> None:
    raw = fanion("keys", "create", "env_01hx", "--data", data, "--expires", "1h").stdout.strip()
    record = record_of(data, raw)
    assert record is not None
    assert record.expires_at == pytest.approx(behind + 3_600, abs=60)


def test_rotated_signing_key_is_not_accepted_for_longer_by_a_wall_clock_that_jumped_ahead(
    data: Path, behind: float
) -> None:
    assert fanion("keys", "rotate-signing", "--data", data).returncode == 0
    with Store.open(data) as store:
        keys = decode_signing_keys(store.pin().meta(b"signing"))
    assert keys is not None
    assert keys.rotated_at == pytest.approx(behind, abs=60)


def test_trust_clock_says_what_was_distrusted_and_ends_it(data: Path, behind: float) -> None:
    refused = fanion("journal", "trust-clock", "--data", data)
    assert (refused.returncode, refused.stderr) == (1, f"fanion: {data}: there is no journal\n")
    (data / "journal").mkdir()
    done = fanion("journal", "trust-clock", "--data", data)
    assert done.returncode == 0
    assert re.match(r"The wall clock is \d+ days ahead of the last good time", done.stdout)
    assert "From now on the time is 20" in done.stdout
    again = fanion("journal", "trust-clock", "--data", data)
    assert again.stdout.startswith("The wall clock was believed already.\n")


def given(data: Path, raw: bytes, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command(["keys", "create", "env_01hx", "--data", data, "--raw", *arguments], given=raw)


@pytest.mark.parametrize(
    ("raw", "kept"),
    [
        (b"sk_live_brought_along", "sk_live_brought_along"),
        (b"sk_live_brought_along\r\n", "sk_live_brought_along"),
        (b"ABCDEF00-0000-0000-0000-000000000000\n", "abcdef00-0000-0000-0000-000000000000"),
        (b"x" * 512, "x" * 512),
    ],
)
def test_key_that_is_brought_along_opens_and_is_printed_nowhere(data: Path, raw: bytes, kept: str) -> None:
    done = given(data, raw, "-")
    assert (done.returncode, done.stdout) == (0, "")
    assert raw.strip().decode() not in done.stderr
    assert record_of(data, kept) is not None
    again = given(data, raw, "-").stderr
    assert re.search(r"this key is stored already: key_[0-9a-f]+ of environment env_01hx; ", again)


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"short", b"x" * 513, b"two words here", b"line\nline\nline", b"\xff" * 9]
)
def test_what_no_header_can_carry_is_no_key(data: Path, raw: bytes) -> None:
    done = given(data, raw, "-")
    assert done.returncode == 2
    assert "printable ASCII characters without spaces" in done.stderr
    assert ("no key on standard input" in done.stderr) is (not raw.strip())


def test_raw_key_is_not_taken_from_the_command_line(data: Path) -> None:
    assert given(data, b"", "sk_live_secret").returncode == 2


def test_what_is_shown_of_a_key_tells_keys_apart_and_is_little() -> None:
    random = "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCd"
    for known in (
        "sk_",
        "pk_",
        "ek_",
        "traffical_sk_",
        "traffical_pk_",
        "sk_live_",
        "sdk_live_",
        "traffical_ek_",
    ):
        assert show_prefix(known + random) == known + random[:5]
        assert show_prefix(known + "secret") == known + "s"
    assert show_prefix(random) == random[:8]
    assert show_prefix("my_secret_key_1") == "my_"
    assert show_prefix("") == ""
