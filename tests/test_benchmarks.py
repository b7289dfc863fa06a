"""Programs under benchmarks/ are run by people, now and then: each still starts, and says what it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

FILES = sorted(ROOT.glob("benchmarks/*.py"))
PROGRAMS = [path for path in FILES if '__name__ == "__main__"' in path.read_text(encoding="utf-8")]
PROGRAMS += [main.parent for main in sorted(ROOT.glob("benchmarks/*/__main__.py"))]


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=[program.stem for program in PROGRAMS])
def test_every_benchmark_says_how_to_run_it(program: Path) -> None:
    ran = subprocess.run([sys.executable, program, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"usage: {program.name}" in ran.stdout
    assert f"python benchmarks/{program.name}" in ran.stdout, "an example"


def test_what_is_no_program_is_imported_by_one() -> None:
    programs = "".join(path.read_text(encoding="utf-8") for path in FILES if path in PROGRAMS)
    assert PROGRAMS
    assert [path.stem for path in FILES if path not in PROGRAMS and f"from {path.stem} import" not in programs] == []
