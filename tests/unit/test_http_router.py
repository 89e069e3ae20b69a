"""What was found below a prefix before is found again, and no more is remembered than is allowed."""

from __future__ import annotations

from fanion.http.router import REMEMBERED_BYTES_MAX, REMEMBERED_MAX
from tests.unit.test_http_request import router

VARIABLES = b"/v1/variables/"


def test_a_path_below_a_prefix_leads_where_it_led_before() -> None:
    made = router()
    path = VARIABLES + b"a%2Fb"
    first = made.find(path, "POST", {})
    assert made.below == {path: first}
    assert made.find(path, "POST", {}) == first
    assert first[1] == b"a%2Fb"


def test_paths_of_nobody_and_exact_ones_are_not_remembered() -> None:
    made = router()
    for path in (VARIABLES, b"/v1/evaluate/bulk", b"/nobody", b"//v1/evaluate/bulk"):
        made.find(path, "POST", {})
    assert made.below == {}


def test_long_paths_are_not_remembered_and_many_make_room() -> None:
    made = router()
    for size, kept in ((REMEMBERED_BYTES_MAX, 1), (REMEMBERED_BYTES_MAX + 1, 0)):
        made.below.clear()
        assert made.find(VARIABLES.ljust(size, b"x"), "POST", {})[0] is not None
        assert len(made.below) == kept
    for number in range(2 * REMEMBERED_MAX + 7):
        made.find(VARIABLES + b"%d" % number, "POST", {})
        assert len(made.below) <= REMEMBERED_MAX
