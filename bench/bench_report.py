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
    worse = 1 if target.sense == MOST else -1
    for value, said in (target.bound, "met"), (target.bound + worse, "**missed**"):
        (line,) = lines_of(Session({name: Figure("us", [value])}), target)
        assert line.endswith(f"| {said} |")
    (line,) = lines_of(Session(), target)
    assert "| not measured |" in line


def lines_of(held: Session, target: Target) -> list[str]:
    lines = text.report(held, {"cores": "2"}, "python -m bench").splitlines()
    return [line for line in lines if line.startswith(f"| {target.what} | {target.sense} ")]


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
        Run("lacks", ("bench.rows",), (), ("no-such-program-anywhere",)),
    ]
    held = session.hold(runs, 1, quick=False)
    said = text.report(held, {}, "python -m bench")
    assert "- fails, round 1: exit 1" in said
    assert "- lacks: needs no-such-program-anywhere" in said
    pytest.importorskip("markdown_it")
    pytest.importorskip("matplotlib")
    figures = {
        "curves/flags/10": Figure("us", [1.0, 2.0]),
        "durable/80%/p99": Figure("ms", [3.0]),
        "steady/evaluation/80%/rate": Figure("requests/s", [900.0]),  # no latency, so no plot of its own
    }
    written = page.write(tmp_path, figures, said)
    assert [path.name for path in written] == ["report.html", "durable.svg", "curves.svg"]
    assert all(path.stat().st_size > 500 for path in written)


def bench_a_run_that_hangs_ends_with_what_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that it leaves would be beside every run that follows."""
    monkeypatch.setattr(session, "RUN_MAX_S", 3.0)
    started = tmp_path / "pid"
    starting = f"import subprocess; subprocess.run(['sh', '-c', 'echo $$ >{started}; exec sleep 60'])"
    held = session.hold([Run("hangs", ("timeit", "-n", "1", "-r", "1", starting), ())], 1, quick=False)
    assert held.ran[0].failed == "not ended after 3.0 s"
    stat = Path(f"/proc/{started.read_text().strip()}/stat")
    until = time.monotonic() + 20
    while stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until, "what it started runs on"
        time.sleep(0.01)


def bench_every_engine_has_its_script_and_pins_its_versions() -> None:
    for engine in ENGINES.values():
        ending, mark = (".mjs", "@") if engine.is_node else (".py", "==")
        assert (HERE / f"ask_{engine.name.replace('-', '_')}{ending}").exists()
        assert all(mark in package[1:] for package in engine.packages)
    assert len({run.name for run in RUNS}) == len(RUNS)
