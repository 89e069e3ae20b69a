"""Ring and writer under ThreadSanitizer and under AddressSanitizer with UBSan: real threads, a failing disk."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.rounds import rounds

ROOT = Path(__file__).parents[2]
RECORDS = rounds(20_000, 200_000, "JOURNAL_STRESS_RECORDS")
COMPILER = shutil.which(os.environ.get("CC", "cc")) or ""


@pytest.mark.skipif(not COMPILER, reason="needs a C compiler")
@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
@pytest.mark.parametrize("crc", ["by-instruction", pytest.param("by-table", marks=pytest.mark.heavy)])
def test_ring_and_writer_are_clean_under(sanitizer: str, crc: str, tmp_path: Path) -> None:
    program = tmp_path / "journal_stress"
    options = ["-std=c11", "-O1", "-g", "-pthread", f"-fsanitize={sanitizer}", "-fno-sanitize-recover=all"]
    warnings = ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-tsan"]
    if crc == "by-table":
        options.append("-DFANION_CRC32C_BY_TABLE=1")
    source = ROOT / "tests" / "stress" / "journal_stress.c"
    build = [
        COMPILER,
        *options,
        *warnings,
        "-I",
        str(ROOT / "ext" / "include"),
        str(source),
        "-o",
        str(program),
    ]
    built = subprocess.run(build, capture_output=True, text=True)
    if "cannot find" in built.stderr and "san" in built.stderr:
        pytest.skip("the compiler has no sanitizer libraries")
    assert built.returncode == 0, built.stderr
    seed = str(random.randrange(1, 1 << 30))
    (tmp_path / "log").mkdir()
    run = subprocess.run([program, seed, str(RECORDS), tmp_path / "log"], capture_output=True, text=True)
    print(run.stdout, run.stderr)
    assert run.returncode == 0
