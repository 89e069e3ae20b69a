"""What a native judge can't be described by, and what is drawn for at a time."""

from __future__ import annotations

import pytest

from fanion._core.draws import choose_each
from fanion._core.item_judge import ItemJudge
from fanion._core.judge_table import ANY, NO_LIMIT, OBJECT
from fanion._core.membership import Answers
from fanion.dialects.wire.judging import Type
from fanion.engine.evaluator import open_environment
from tests.unit.traffical_standins import bundle_bytes


def judge_of(name: str) -> ItemJudge:
    types: list[Type] = [
        (kind, 0, 0, 0, 0, NO_LIMIT, NO_LIMIT, (), -1, shape) for kind, shape in ((OBJECT, 0), (ANY, -1))
    ]
    return ItemJudge(
        "items",
        types,
        [([(name, 1, 0)], "", 1, 0, False, [])],
        [("", [0])],
        2,
        notes=1,
        fixed=0,
        open=False,
        whole=False,
        text_first=False,
        quotes_moments=False,
        bounds=(8, 8, 16, 64, 64),
        decode=str,
    )


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "\x7f"])
def test_a_member_whose_name_is_written_in_other_ways_is_no_field(name: str) -> None:
    with pytest.raises(ValueError, match="other ways"):
        judge_of(name)


@pytest.mark.parametrize("written", ['"grün"', '"gr\\u00fcn"', '"gr\\u00FCn" '])
@pytest.mark.parametrize("before", ["", " ", '"zz":1,'])
def test_a_name_is_known_however_it_is_written(written: str, before: str) -> None:
    body = f'{{"items":[{{{before}{written}:1}},{{"other":1}}]}}'.encode()
    judge = judge_of("grün")
    for _ in range(2):  # the second time it is expected
        found = judge.judge(body)
        assert found is not None
        assert found[0] == "fine"
        assert found[1] not in ("fine", "unsure")


@pytest.mark.parametrize(
    "names", [(b"a", b"b"), (b"a", b'b"', b"c"), (b"a", b"b", b"\xc3\xbc"), (b"a", b"", b"c")]
)
def test_pairs_are_read_by_three_plain_names(names: tuple[bytes, ...]) -> None:
    with pytest.raises(ValueError, match=r"three texts|written"):
        Answers(b"[]", names, (b"no", b"yes"), 10, False)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [0, 9])
def test_draws_are_by_one_to_eight_members(count: int) -> None:
    bundle = open_environment("production", bundle_bytes())
    names = tuple(f"m{number}" for number in range(count))
    columns: list[list[object]] = [[] for _ in range(count + 1)]
    with pytest.raises(ValueError, match="1 to 8"):
        choose_each(bundle, {}, names, columns, b"", lambda *_: b"", 100)
    assert choose_each(bundle, {}, ("m",), [[], []], b"\0\0", lambda *_: b"", 100) == b"null,null"
