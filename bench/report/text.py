"""A session in Markdown: the target table, engines, curves, and what failed or was left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.report.session import Figure, Session
from bench.report.targets import TARGETS


def number(value: float) -> str:
    """Three digits that count."""
    if value != 0 and abs(value) < 0.995:
        return f"{value:.2g}"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def shown(figure: Figure) -> str:
    """Median, and the spread where there is one."""
    low, high = min(figure.values), max(figure.values)
    spread = f" ({number(low)} to {number(high)})" if len(figure.values) > 1 else ""
    return f"{number(figure.median)} {figure.unit}{spread}"


def report(session: Session, machine: Mapping[str, str], command: str) -> str:
    return "\n".join(_lines(session, machine, command)) + "\n"


def _lines(session: Session, machine: Mapping[str, str], command: str) -> Iterator[str]:
    rounds = max((ran.round for ran in session.ran), default=-1) + 1
    loads = [ran.load for ran in session.ran]
    yield f"# `{command}`\n"
    yield f"{rounds} rounds; medians, and the least and the most of the rounds. " + "; ".join(
        f"{name}: {value}" for name, value in machine.items()
    )
    if session.ended_early:
        yield f"\n**Ended early: {session.ended_early}.**"
    if loads:
        yield f"\nThe machine's load at the begin of a run was {min(loads):.1f} to {max(loads):.1f}."
    if "--quick" in command:
        yield "\nEach run was as brief as it can be, in small worlds: **no figure shows that a target is met**."
    yield "\n## Targets\n\n| what | target | found | |\n|---|---|---|---|"
    for target in TARGETS:
        found = target.found(session.figures)
        if target.bound is None:
            yield f"| {target.what} | none | {shown(found[1]) if found else 'not measured'} | |"
            continue
        bound = f"{target.sense} {target.bound:,g}"
        if found is None:
            yield f"| {target.what} | {bound} | not measured | |"
        else:
            met = "met" if target.is_met(found[1]) else "**missed**"
            yield f"| {target.what} | {bound} {found[1].unit} | {shown(found[1])} | {met} |"
    yield from _table(session, "Engines, one flag, processor time", "engines/", "python/fanion.")
    yield from _table(session, "A request against sizes, in process", "curves/")
    yield from _table(session, "Against workers, over HTTP", "workers/")
    yield from _table(session, "Lists", "lists/")
    yield from _table(session, "Keys made and revoked", "keys/")
    yield from _table(session, "Steady rates", "steady/")
    yield from _table(session, "Interfaces", "interfaces/")
    yield from _table(session, "Beside the do-nothing app", "http/")
    failed = [f"- {ran.name}, round {ran.round + 1}: {ran.failed}" for ran in session.ran if ran.failed]
    failed += [f"- {name}: needs {needs}" for name, needs in session.left_out.items()]
    if failed:
        yield "\n## Failed or left out\n"
        yield from failed
    yield from _times(session)


def _times(session: Session) -> Iterator[str]:
    """Each run's command, and the seconds that it took in each round."""
    took: dict[str, list[float]] = {}
    for ran in session.ran:
        took.setdefault(f"{ran.name} | `python {' '.join(ran.command)}`", []).append(ran.took_s)
    whole = sum(ran.took_s for ran in session.ran)
    yield f"\n## Commands, and how long they took: {whole / 60:.0f} minutes in all\n"
    yield "| what | command | s |\n|---|---|---|"
    for name, seconds in took.items():
        yield f"| {name} | {', '.join(f'{one:.0f}' for one in seconds)} |"


def _table(session: Session, title: str, *begins: str) -> Iterator[str]:
    rows = [name for name in session.figures if name.startswith(begins)]
    if not rows:
        return
    yield f"\n## {title}\n\n| what | found |\n|---|---|"
    for name in rows:
        label = name if len(begins) > 1 else name.removeprefix(begins[0])
        yield f"| {label.removeprefix('engines/').removeprefix('python/')} | {shown(session.figures[name])} |"
