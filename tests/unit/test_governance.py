"""Governance: the order of its reasons, what each costs, and rates to the figure over processes."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fanion._core.shared import LimiterTable
from fanion.auth.active_users import ActiveUsers
from fanion.auth.governance import ALLOWED, Defaults, Governance, Terms, Verdict
from fanion.auth.limiter import RATE_PER_S_MIN, Limiter, scope_hash, take_share
from fanion.model.definition import Limits
from fanion.model.organisation import Organisation, OrganisationLimits, parse_organisation

SPAWN = multiprocessing.get_context("spawn")
SECOND_NS = 1_000_000_000
CAPS = {"free": 2, "basic": 3, "enterprise": None}
START_NS = 100 * SECOND_NS


@pytest.fixture
def governance(tmp_path: Path) -> Governance:
    return Governance(
        Limiter.open(tmp_path, 1024).take, ActiveUsers.open(tmp_path).admit, Defaults(batch_events=7)
    )


def terms(organisation: Organisation) -> Terms:
    return Terms(organisation, CAPS, "api")


def organisation(**fields: Any) -> Organisation:
    limits = {name: fields.pop(name) for name in OrganisationLimits.__struct_fields__ if name in fields}
    return Organisation(**{"id": "acme", **fields}, limits=OrganisationLimits(**limits))


def test_limits_are_those_of_the_definitions() -> None:
    assert OrganisationLimits.__struct_fields__ == Limits.__struct_fields__


def test_bundle_without_an_organisation_is_limited_by_nothing(governance: Governance) -> None:
    known = terms(parse_organisation(None))
    assert all(governance.evaluation(known, f"user-{number}") is ALLOWED for number in range(500))


def test_document_may_hold_more_than_this_server_knows() -> None:
    document = b'{"id":"acme","name":"Acme","plan":"basic","limits":{"burst":3,"later":1},"later":{}}'
    assert parse_organisation(document) == organisation(plan="basic", burst=3)
    with pytest.raises(msgspec.ValidationError):
        parse_organisation(b'{"suspended":1}')


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"suspended": True, "plan": "basic", "subscription_active": False}, Verdict.SUSPENDED),
        ({"plan": "basic", "subscription_active": False}, Verdict.INACTIVE),
        ({"plan": "free", "subscription_active": False}, Verdict.ALLOWED),
        ({"plan": "basic"}, Verdict.ALLOWED),
    ],
)
def test_closed_organisations_are_refused_everything_and_counted_nowhere(
    tmp_path: Path, governance: Governance, fields: dict[str, Any], verdict: Verdict
) -> None:
    known = terms(organisation(**fields))
    assert governance.evaluation(known, "a").verdict is verdict
    assert governance.batch(known, "a", 1_000_000).verdict in (verdict, Verdict.BATCH_KEYS)
    assert governance.events(known, 1).verdict is verdict
    assert ActiveUsers.open(tmp_path).count("acme") == (verdict is Verdict.ALLOWED)


def test_machines_let_through_a_rate_together(tmp_path: Path) -> None:
    """`limiter.machines`: what comes at once and what comes after, each a share."""
    folders = [tmp_path / name for name in "abc"]
    for folder in folders:
        folder.mkdir()
    limiters = [Limiter.open(folder, 1024, machines=3) for folder in folders]
    scope = scope_hash("organisation")
    assert sum(limiter.take(scope, 0.01, 30) == 0 for limiter in limiters for _ in range(20)) == 30
    whole = Limiter.open(tmp_path, 1024)
    assert sum(whole.take(scope, 0.01, 30) == 0 for _ in range(40)) == 30
    waits = [each.take(scope, 0.01, 30) for each in (whole, *limiters)]
    assert waits[1:] == pytest.approx([3 * waits[0]] * 3, rel=0.1)


def test_a_share_is_never_nothing() -> None:
    asked: list[tuple[int, float, int, int]] = []

    def take(scope: int, rate_per_s: float, burst: int, cost: int = 1) -> float:
        asked.append((scope, rate_per_s, burst, cost))
        return 2.5

    share = take_share(take, 4)
    assert share(7, 10.0, 8) == share(7, 10.0, 9, 2) == share(7, RATE_PER_S_MIN, 1) == 2.5
    assert asked == [(7, 2.5, 2, 1), (7, 2.5, 3, 2), (7, RATE_PER_S_MIN, 1, 1)]


def test_servers_own_rate_holds_where_the_organisation_says_nothing(tmp_path: Path) -> None:
    defaults = Defaults(rate_per_s=0.01, burst=2)
    governance = Governance(Limiter.open(tmp_path, 1024).take, ActiveUsers.open(tmp_path).admit, defaults)
    silent, own = terms(organisation()), terms(organisation(id="other", burst=3))
    assert [governance.events(silent, 1).verdict for _ in range(3)] == [Verdict.ALLOWED] * 2 + [Verdict.RATE]
    assert [governance.events(own, 1).verdict for _ in range(4)] == [Verdict.ALLOWED] * 3 + [Verdict.RATE]


def test_plan_caps_users_and_the_organisation_overrides_it(governance: Governance) -> None:
    free, raised = terms(organisation(plan="free")), terms(organisation(plan="free", monthly_active_users=3))
    verdicts = [governance.evaluation(free, user).verdict for user in ("a", "b", "c", "a")]
    assert verdicts == [Verdict.ALLOWED, Verdict.ALLOWED, Verdict.ACTIVE_USERS, Verdict.ALLOWED]
    assert governance.evaluation(raised, "c") is ALLOWED
    assert governance.evaluation(raised, "d").verdict is Verdict.ACTIVE_USERS
    assert governance.events(free, 1) is ALLOWED
    nobody = terms(organisation(id="other", monthly_active_users=0))
    assert governance.evaluation(nobody, "a").verdict is Verdict.ACTIVE_USERS


def test_refused_for_the_rate_is_counted_as_a_user_and_says_when(
    governance: Governance, tmp_path: Path
) -> None:
    known = terms(organisation(plan="free", rate_per_s=0.01, burst=1))
    assert governance.evaluation(known, "a") is ALLOWED
    refused = governance.evaluation(known, "b")
    assert refused.verdict is Verdict.RATE
    assert 90 < refused.wait_s <= 100
    assert governance.evaluation(known, "c").verdict is Verdict.ACTIVE_USERS
    assert ActiveUsers.open(tmp_path).count("acme") == 2


def test_rate_is_shared_by_equal_scopes_only(governance: Governance) -> None:
    slow = organisation(rate_per_s=0.01, burst=1)
    one, same = terms(slow), terms(slow)
    other = Terms(slow, CAPS, "other api")
    assert governance.events(one, 1) is ALLOWED
    assert governance.events(same, 1).verdict is Verdict.RATE
    assert governance.events(other, 1) is ALLOWED


@pytest.mark.parametrize(("rate_per_s", "passed"), [(0.5, 1), (1, 1), (2.5, 3), (7, 7)])
def test_a_rate_without_a_burst_lets_a_second_of_it_through_at_once(
    tmp_path: Path, rate_per_s: float, passed: int
) -> None:
    users = ActiveUsers.open(tmp_path)
    for defaults, own in ((Defaults(), {"rate_per_s": rate_per_s}), (Defaults(rate_per_s=rate_per_s), {})):
        took: list[tuple[float, int]] = []

        def take(scope: int, rate: float, burst: int, took: list[tuple[float, int]] = took) -> float:
            took.append((rate, burst))
            return 0.0

        asked = Governance(take, users.admit, defaults)
        asked.events(terms(organisation(**own)), 1)
        assert took == [(rate_per_s, passed)]
    assert Defaults(burst=9).burst == 9


def test_batches_end_at_their_bound_and_cost_the_rate_one(governance: Governance) -> None:
    known = terms(organisation(batch_keys=5, rate_per_s=0.01, burst=4))
    assert governance.batch(known, "a", 5) is ALLOWED
    assert governance.batch(known, "a", 6) == (Verdict.BATCH_KEYS, 0.0, 5)
    assert governance.events(known, 7) is ALLOWED
    assert governance.events(known, 8) == (Verdict.BATCH_EVENTS, 0.0, 7)
    assert governance.events(known, 8).verdict is Verdict.RATE


def take_in_child(
    path: str, steps: list[tuple[int, int]], start: object, results: multiprocessing.Queue[int]
) -> None:
    table, scope = LimiterTable(path, 1024), scope_hash("api", "acme")
    start.wait()  # type: ignore[attr-defined]
    allowed = 0
    for now_ns, tries in steps:
        allowed += sum(table.take(scope, 50.0, 50, now_ns=now_ns) == 0.0 for _ in range(tries))
    results.put(allowed)


@pytest.mark.parametrize(
    ("steps", "least", "most"),
    [
        ([(START_NS, 500)], 50, 53),
        ([(START_NS + number * SECOND_NS // 500, 1) for number in range(5_000)], 539, 561),
    ],
    ids=["a thousand at once", "a thousand a second for ten seconds"],
)
def test_two_workers_let_through_what_the_rate_says(
    tmp_path: Path, steps: list[tuple[int, int]], least: int, most: int
) -> None:
    path = str(tmp_path / "limiter")
    LimiterTable(path, 1024).close()
    results: multiprocessing.Queue[int] = SPAWN.Queue()
    start = SPAWN.Barrier(2)
    children = [SPAWN.Process(target=take_in_child, args=(path, steps, start, results)) for _ in range(2)]
    for child in children:
        child.start()
    allowed = sum(results.get(timeout=60) for _ in children)
    for child in children:
        child.join()
    assert least <= allowed <= most
