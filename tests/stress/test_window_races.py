"""The same ids at several workers at once, every interleaving of a reservation, and the sanitizers' view of it."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from fanion._core.window import IdWindow
from tests.rounds import rounds

ROOT = Path(__file__).parents[2]
ROUNDS = rounds(40, 200, "WINDOW_STRESS_ROUNDS")
PAIRS = int(os.environ.get("WINDOW_STRESS_PAIRS", "100000"))
BATCH = 100
COMPILER = shutil.which(os.environ.get("CC", "cc")) or ""
SPAWN = multiprocessing.get_context("spawn")
KEY = bytes(range(16))
needs_compiler = pytest.mark.skipif(not COMPILER, reason="needs a C compiler")


def build(name: str, to: Path, *options: str) -> Path:
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function"]
    source = ROOT / "tests" / "stress" / f"{name}.c"
    command = [
        COMPILER,
        "-std=c11",
        "-g",
        "-pthread",
        *options,
        *warnings,
        "-I",
        str(ROOT / "ext" / "include"),
    ]
    built = subprocess.run([*command, str(source), "-o", str(to / name)], capture_output=True, text=True)
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("the compiler has no sanitizer libraries")
    assert built.returncode == 0, built.stderr
    return to / name


@needs_compiler
@pytest.mark.heavy
def test_death_or_interruption_at_any_step_keeps_each_id_exactly_once(tmp_path: Path) -> None:
    run = subprocess.run([build("window_steps", tmp_path, "-O2")], capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (0, "1428000 schedules\n")


@needs_compiler
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_window_and_set_are_clean_and_exact_under(sanitizer: str, tmp_path: Path) -> None:
    options = ["-O1", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    run = subprocess.run(
        [build("window_stress", tmp_path, *options), str(ROUNDS)], capture_output=True, text=True
    )
    print(run.stdout, run.stderr)
    assert run.returncode == 0


def reserve_in_child(
    path: str, writer: int, seed: int, start: object, results: multiprocessing.Queue[tuple[int, bytes]]
) -> None:
    """Sends every id once, in an order that both workers have nearly in common; what was kept, by id."""
    window = IdWindow(path, 4 * PAIRS, KEY)
    window.attach(writer, 0)
    order = list(range(PAIRS))
    chosen = random.Random(seed)
    for first in range(0, PAIRS, BATCH):
        part = order[first : first + BATCH]
        chosen.shuffle(part)
        order[first : first + BATCH] = part
    kept = bytearray(PAIRS)
    start.wait()  # type: ignore[attr-defined]
    for sequence, first in enumerate(range(0, PAIRS, BATCH), 1):
        numbers = order[first : first + BATCH]
        ids: list[str | bytes | None] = [f"event-{number}" for number in numbers]
        if window.wants_growth:
            window.grow()
        while (reservation := window.reserve(b"e", ids, writer, sequence)) is None:
            window.grow()
        reservation.commit(sequence)
        window.settle(writer, sequence)
        for number, disposition in zip(numbers, reservation.dispositions, strict=True):
            kept[number] = disposition == 0
    results.put((writer, bytes(kept)))


def test_same_id_at_two_workers_at_once_is_kept_by_one(tmp_path: Path) -> None:
    path = str(tmp_path / "window")
    IdWindow(path, 4 * PAIRS, KEY).close()
    results: multiprocessing.Queue[tuple[int, bytes]] = SPAWN.Queue()
    start = SPAWN.Barrier(2)
    children = [
        SPAWN.Process(target=reserve_in_child, args=(path, writer, writer + 7, start, results))
        for writer in range(2)
    ]
    for child in children:
        child.start()
    kept = dict(results.get(timeout=100) for _ in children)
    for child in children:
        child.join()
    print([sum(by_writer) for by_writer in kept.values()], "kept by each")
    assert [one + other for one, other in zip(kept[0], kept[1], strict=True)] == [1] * PAIRS
