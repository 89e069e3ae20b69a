"""The judge of a batch's items under AddressSanitizer with UBSan, on bodies behind which nothing stands."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from tests.rounds import rounds
from tests.stress.test_window_races import build, needs_compiler

ROUNDS = rounds(50_000, 2_000_000, "JUDGE_STRESS_ROUNDS")


@needs_compiler
def test_no_body_is_read_beyond_its_end(tmp_path: Path) -> None:
    options = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    program = build("judge_stress", tmp_path, *options)
    seed = str(random.randrange(1, 1 << 30))
    run = subprocess.run([program, seed, str(ROUNDS)], capture_output=True, text=True)
    print(seed, run.stdout, run.stderr)
    assert run.returncode == 0
