"""`python -m bench` without its runs: what became of each target is said, and a failed run is named.

A regression here lets a missed target pass unseen.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bench.engines.environments import ENGINES, HERE
from bench.report import page, session, text
from bench.report.runs import RUNS, Run
from bench.report.session import Figure, Session
from bench.report.targets import MOST, TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.what)
def bench_each_target_is_met_at_its_bound_and_missed_beyond_it(target: Target) -> None:
    name = target.figures.replace("?", "a").replace("*", "x")
    (line,) = lines_of(Session(), target)
    assert "| not measured |" in line
    if target.bound is None:
        (line,) = lines_of(Session({name: Figure("us", [2.0])}), target)
        assert line.endswith("| none | 2 us | |")
        return
    worse = 1 if target.sense == MOST else -1
    for value, said in (target.bound, "met"), (target.bound + worse, "**missed**"):
        (line,) = lines_of(Session({name: Figure("us", [value])}), target)
        assert line.endswith(f"| {said} |")


def lines_of(held: Session, target: Target) -> list[str]:
    lines = text.report(held, {"cores": "2"}, "python -m bench").splitlines()
    begins = f"| {target.what} | {'none' if target.bound is None else target.sense} "
    return [line for line in lines if line.startswith(begins)]


def bench_the_worst_of_a_pattern_counts() -> None:
    target = next(target for target in TARGETS if target.figures == "exposures/*/recorded today")
    named = {
        f"exposures/{name}/recorded today": Figure("us", [value]) for name, value in (("a", 0.2), ("b", 0.9))
    }
    found = target.found(named)
    assert found is not None
    assert found[0] == "exposures/b/recorded today"
    assert not target.is_met(found[1])


def bench_a_run_that_fails_or_lacks_something_is_said(tmp_path: Path) -> None:
    runs = [
        Run("fails", ("bench.nobody",), ()),
        Run("lacks", ("bench.rows",), (), ("no-such-program-anywhere", "bench.rows")),
        Run("lacks too", ("bench.nobody",), (), ("bench.nobody",)),
    ]
    held = session.hold(runs, 1, quick=False)
    said = text.report(held, {}, "python -m bench")
    assert "- fails, round 1: exit 1" in said
    assert "- lacks: needs no-such-program-anywhere\n- lacks too: needs bench.nobody\n" in said
    pytest.importorskip("markdown_it")
    pytest.importorskip("matplotlib")
    figures = {
        "curves/flags/10": Figure("us", [1.0, 2.0]),
        "durable/80%/p99": Figure("ms", [3.0]),
        "steady/evaluation/80%/rate": Figure("requests/s", [900.0]),  # no latency, so no plot of its own
        "keys/100/made": Figure("ms", [0.5]),
        "interfaces/pinned/one flag/fanion rsgi/rate": Figure("requests/s", [9_000.0]),
        "interfaces/pinned/one flag/fanion rsgi/cpu": Figure("us", [60.0, 70.0]),
    }
    written = page.write(tmp_path, figures, said)
    drawn = ["report.html", "served.svg", "throughput.svg", "cpu.svg", "durable.svg", "curves.svg"]
    assert [path.name for path in written] == drawn
    assert all(path.stat().st_size > 500 for path in written)


def bench_a_run_that_hangs_ends_with_what_it_started(tmp_path: Path) -> None:
    """A server that it leaves would be beside every run that follows."""
    started = tmp_path / "pid"
    starting = f"import subprocess; subprocess.run(['sh', '-c', 'echo $$ >{started}; exec sleep 60'])"
    run = Run("hangs", ("timeit", "-n", "1", "-r", "1", starting), (), limit_s=10.0)
    held = session.hold([run], 1, quick=False)
    assert held.ran[0].failed == "not ended after 10.0 s"
    stat = Path(f"/proc/{started.read_text().strip()}/stat")
    until = time.monotonic() + 100
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until, "what it started runs on"
        time.sleep(0.01)


SAYS = "from bench.figures import say; say('a', 1.5, 'us')"


def bench_what_a_run_said_before_it_failed_stands() -> None:
    run = Run("fails late", ("timeit", "-n", "1", "-r", "1", f"{SAYS}; raise SystemExit('late')"), ())
    held = session.hold([run], 1, quick=False)
    assert held.figures["a"].values == [1.5]
    assert held.ran[0].failed.startswith("exit 1")


def bench_an_interrupted_session_keeps_what_was_found() -> None:
    """By SIGTERM too, which CI's own limits send; and by kill, since each run is kept as it ends."""
    says = Run("says", ("timeit", "-n", "1", "-r", "1", SAYS), ())
    ends = Run(
        "ends",
        ("timeit", "-n", "1", "-r", "1", "import os, time; os.kill(os.getppid(), 15); time.sleep(60)"),
        (),
    )
    kept: list[list[str]] = []
    held = session.hold([says, ends], 2, quick=False, keep=lambda held: kept.append([*held.figures]))
    assert kept == [["a"]]
    assert held.figures["a"].values == [1.5]
    assert held.ended_early == "interrupted in ends, round 1"
    assert "**Ended early: interrupted in ends, round 1.**" in text.report(held, {}, "python -m bench")


def bench_no_run_begins_after_the_time_is_over() -> None:
    held = session.hold([Run("late", ("timeit",), ())], 1, quick=False, minutes=0)
    assert held.ran == []
    assert held.ended_early == "after 0 minutes, before late, round 1"


def bench_every_engine_has_its_script_and_pins_its_versions() -> None:
    for engine in ENGINES.values():
        ending, mark = (".mjs", "@") if engine.is_node else (".py", "==")
        assert (HERE / f"ask_{engine.name.replace('-', '_')}{ending}").exists()
        assert all(mark in package[1:] for package in engine.packages)
    assert len({run.name for run in RUNS}) == len(RUNS)
