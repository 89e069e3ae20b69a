"""Workers that make room for new ones: one leaves while another serves, and never all at one moment."""

from __future__ import annotations

from fanion.process.turns import LOOKS, STAYS_S, WAIT_S, Turn
from fanion.telemetry.heartbeats import Heartbeat, Heartbeats, Standing

OLD = Standing(7, ("another store lies there",), leaving=True)
READY = Standing(8, ())
STAYS = Standing(8, ("event ids are being read",))


def rows_of(*standings: Standing | None) -> list[Heartbeat]:
    """None: its process isn't there yet."""
    rows = Heartbeats(len(standings)).rows
    for row, standing in zip(rows, standings, strict=True):
        if standing is None:
            row.clear(Standing())
        else:
            row.beat()
            row.say(standing)
    return rows


def leaves(rows: list[Heartbeat], own: int) -> bool:
    turn = Turn(rows, rows[own])
    return [turn.has_come() for _ in range(LOOKS)][-1]


def test_whoever_sees_another_one_ready_leaves() -> None:
    assert leaves(rows_of(OLD, READY), 0)
    assert leaves(rows_of(READY, OLD), 1)
    assert leaves(rows_of(OLD, None, READY), 0)


def test_where_none_is_ready_the_first_one_leaves() -> None:
    rows = rows_of(OLD, OLD, OLD)
    assert [leaves(rows, own) for own in range(3)] == [True, False, False]


def test_nobody_leaves_while_one_is_about_to_come() -> None:
    assert not leaves(rows_of(OLD, None), 0)
    assert not leaves(rows_of(None, OLD), 1)


def test_one_that_stays_is_waited_for_a_moment_to_be_ready_also_by_several() -> None:
    """It may wait for those that leave: for what their rings hold."""
    now = [0.0]
    rows = rows_of(OLD, STAYS, OLD)
    turns = [Turn(rows, rows[own], lambda: now[0]) for own in (0, 2)]
    assert not any(turn.has_come() for turn in turns * 10)
    now[0] = STAYS_S
    assert [[turn.has_come() for _ in range(LOOKS)][-1] for turn in turns] == [True, True]


def test_one_that_ended_again_is_waited_for_anew() -> None:
    now = [0.0]
    rows = rows_of(STAYS, OLD)
    turn = Turn(rows, rows[1], lambda: now[0])
    assert not turn.has_come()
    rows[0].clear(Standing())
    now[0] = STAYS_S
    assert not turn.has_come()
    rows[0].beat()
    rows[0].say(STAYS)
    assert not any(turn.has_come() for _ in range(10))
    now[0] = 2 * STAYS_S
    assert [turn.has_come() for _ in range(LOOKS)] == [False, True]


def test_one_that_is_alone_leaves() -> None:
    assert leaves(rows_of(OLD), 0)
    row = rows_of(OLD)[0]
    turn = Turn((), row)
    assert [turn.has_come() for _ in range(LOOKS)][-1]


def test_one_that_says_that_it_is_ready_may_listen_a_moment_later() -> None:
    rows = rows_of(None, OLD)
    turn = Turn(rows, rows[1])
    assert not turn.has_come()
    rows[0].beat()
    rows[0].say(READY)
    assert [turn.has_come() for _ in range(2)] == [False, True]


def test_none_waits_for_ever() -> None:
    now = [0.0]
    rows = rows_of(None, OLD)
    turn = Turn(rows, rows[1], lambda: now[0])
    assert not any(turn.has_come() for _ in range(10))
    now[0] = WAIT_S
    assert turn.has_come()
