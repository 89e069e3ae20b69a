"""`fanion publish` says what it takes away of what is served, and asks before more than a quarter goes."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fanion.cli.publish import command
from fanion.errors import DefinitionError
from fanion.model.api_key import KeyRecord, hash_key
from fanion.store.store import Store

EIGHT = "abcdefgh"


def world(
    flags: Sequence[str] = EIGHT,
    keys: Sequence[str] = (),
    dialects: str = "[feather, stitchd]",
    more: str = "",
) -> str:
    made = ", ".join(f"{key}: {{type: boolean, default_value: true}}" for key in flags)
    opens = ", ".join(f"{{key: 'sha256:{hash_key(key.encode()).hex()}', name: {key}}}" for key in keys)
    environments = f"production: {{id: e1, dialects: {dialects}, keys: [{opens}]}}{more}"
    project = f"{{environments: {{{environments}}}, flags: {{{made}}}}}"
    return f"{{fanion: 1, organisations: {{o: {{projects: {{p: {project}}}}}}}}}"


def publish(
    tmp_path: Path, text: str, *arguments: str, file: str = "defs/w.yaml", given: str = "defs"
) -> Result:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(text)
    line = [str(tmp_path / given), "--data", str(tmp_path / "data"), *arguments]
    return CliRunner().invoke(command, line)


def warnings(result: Result) -> list[str]:
    """All but those of environments without a key."""
    return [line for line in result.stderr.splitlines() if " has no key, so nobody can ask it" not in line]


def refusal(result: Result) -> str:
    assert isinstance(result.exception, DefinitionError), (result.exception, result.output)
    return str(result.exception)


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        (world(), world("a"), "environment e1: 7 of 8 flags would go: b, c, d, e, f, g, h;"),
        (world(), world("abcde"), "environment e1: 3 of 8 flags would go: f, g, h;"),
        (world(), world(()), "environment e1: 8 of 8 flags would go: a,"),
        (world(), world(dialects="[feather]"), "8 of 8 flags would go: a (stitchd), b (stitchd),"),
        (world(keys=("one", "two", "three")), world(keys=("one", "two")), " three; more than a quarter"),
        (world(keys=("one",)), world(keys=("two",)), "environment e1: 1 of 1 keys would go: key_"),
        (
            world(more=", staging: {id: e2}"),
            world(),
            "the definitions: 1 of 2 environments would go: e2; they are served as they were; more than",
        ),
    ],
)
def test_more_than_a_quarter_goes_only_when_confirmed(
    tmp_path: Path, before: str, after: str, found: str
) -> None:
    assert publish(tmp_path, before).exit_code == 0
    said = refusal(publish(tmp_path, after))
    assert found in said
    assert "--yes; nothing was stored" in said
    with Store.open(tmp_path / "data") as store:
        assert store.generation() == 1
    confirmed = publish(tmp_path, after, "--yes")
    assert confirmed.exit_code == 0
    assert "warning: " in confirmed.stderr
    assert publish(tmp_path, after).exit_code == ("staging" in before)  # what is served still has that one


def test_a_quarter_goes_with_a_warning(tmp_path: Path) -> None:
    publish(tmp_path, world(keys=("one", "two", "three", "four")))
    done = publish(tmp_path, world("abcdef", keys=("one", "two", "three")))
    assert done.exit_code == 0
    assert "warning: environment e1: 2 of 8 flags would go: g, h" in done.stderr
    assert "1 of 4 keys would go: key_" in done.stderr


def test_what_stays_or_comes_is_not_mentioned(tmp_path: Path) -> None:
    publish(tmp_path, world())
    again = publish(tmp_path, world("abcdefghijk", keys=("one",), more=", staging: {id: e2}"))
    assert (again.exit_code, warnings(again)) == (0, [])


def test_key_that_was_revoked_or_has_ended_is_not_missed(tmp_path: Path) -> None:
    publish(tmp_path, world(keys=("one", "two")).replace("name: one", "expires: '2020-01-01'"))
    with Store.open(tmp_path / "data", write=True) as store:
        store.revoke_key(next(key.record.id for key in store.stored_keys() if key.record.name == "two"))
    done = publish(tmp_path, world())
    assert (done.exit_code, warnings(done)) == (0, [])


def test_environment_of_files_that_were_not_given_is_not_missed(tmp_path: Path) -> None:
    publish(tmp_path, world(more=", staging: {id: e2}"))
    other = world().replace("id: e1", "id: e9")
    done = publish(tmp_path, other, file="other/x.yaml", given="other")
    assert (done.exit_code, warnings(done)) == (0, [])


def test_file_cut_at_a_line_end_that_names_a_raw_key_is_known_again(tmp_path: Path) -> None:
    raw = world(more=", staging: {id: e2, keys: [{key: raw_key_of_mine}]}")
    assert publish(tmp_path, raw).exit_code == 0
    assert "1 of 2 environments would go: e2" in refusal(publish(tmp_path, world()))


def test_environment_that_no_key_opens_is_named(tmp_path: Path) -> None:
    said = "warning: environment e1 has no key, so nobody can ask it; `fanion keys create e1` makes one"
    assert said in publish(tmp_path, world()).stderr
    expired = world(keys=("one",)).replace("name: one", "expires: '2020-01-01'")
    assert said in publish(tmp_path, expired).stderr
    assert said not in publish(tmp_path, world(keys=("two",)), "--yes").stderr
    with Store.open(tmp_path / "data", write=True) as store:
        store.add_key(hash_key(b"made"), KeyRecord("key_m", "e1", "o", "server"))
    assert said not in publish(tmp_path, world(), "--yes").stderr  # the one that was made by command is left


def with_list(tmp_path: Path, members: Sequence[str], *, end: str = "\n", packed: bool = False) -> str:
    """A world with a segment whose members stand in a file."""
    whole = ("\n".join(members) + end).encode()
    (tmp_path / "defs").mkdir(exist_ok=True)
    (tmp_path / "defs" / "beta.txt").write_bytes(gzip.compress(whole) if packed else whole)
    text = world()
    return text.removesuffix("}}}}}") + ", segments: {beta: {list: {include_file: beta.txt}}}}}}}}"


@pytest.mark.parametrize("packed", [False, True])
def test_a_list_file_that_lost_its_end_is_asked_about_and_one_that_grew_is_not(
    tmp_path: Path, packed: bool
) -> None:
    eight = [f"u{number}" for number in range(8)]
    assert publish(tmp_path, with_list(tmp_path, eight, packed=packed)).exit_code == 0
    assert warnings(publish(tmp_path, with_list(tmp_path, [*eight, "u9"], packed=packed))) == []
    short = publish(tmp_path, with_list(tmp_path, eight[:4], packed=packed))
    assert "5 of 9 members of " in refusal(short)
    some = publish(tmp_path, with_list(tmp_path, eight[:7], packed=packed))
    assert some.exit_code == 0
    assert "2 of 9 members of " in warnings(some)[0]
    assert publish(tmp_path, with_list(tmp_path, eight[:1], packed=packed), "--yes").exit_code == 0


def test_a_list_file_cut_inside_a_line_is_named(tmp_path: Path) -> None:
    result = publish(tmp_path, with_list(tmp_path, ["u1", "u2"], end=""))
    assert result.exit_code == 0
    assert "beta.txt: the last line has no line end; was the file cut off?" in warnings(result)[0]


def test_a_list_that_goes_with_its_segment_is_asked_about(tmp_path: Path) -> None:
    assert publish(tmp_path, with_list(tmp_path, ["u1"])).exit_code == 0
    assert "1 of 1 lists would go" in refusal(publish(tmp_path, world()))
