"""Programs under benchmarks/ are run by people, now and then: each still starts, and says what it takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

PROGRAMS = sorted(path for path in ROOT.glob("benchmarks/*") if path.suffix == ".py" or (path / "__main__.py").exists())


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS, ids=[program.stem for program in PROGRAMS])
def test_every_benchmark_says_how_to_run_it(program: Path) -> None:
    ran = subprocess.run([sys.executable, program, "--help"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert f"usage: {program.name}" in ran.stdout
    assert f"python benchmarks/{program.name}" in ran.stdout, "an example"
