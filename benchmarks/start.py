"""How long the command takes to say something: help, version and completion, each as a multiple of `python -c pass`.

    python benchmarks/start.py

The two are started in turn and their processor time is compared, so that other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys

from pipeline.commands import COMMANDS

ROUNDS = 5
GOAL = 25.0
PROGRAM = [sys.executable, "-m", "pipeline"]
COMPLETION = {"_LTRP_PIPELINE_COMPLETE": "bash_complete", "COMP_WORDS": "ltrp-pipeline score --ma", "COMP_CWORD": "2"}
STARTS: dict[str, tuple[list[str], dict[str, str]]] = {
    "--version": ([*PROGRAM, "--version"], {}),
    "--help": ([*PROGRAM, "--help"], {}),
    **{f"{name} --help": ([*PROGRAM, name, "--help"], {}) for name in COMMANDS},
    "completion": (PROGRAM, COMPLETION),
}


def processor_seconds(command: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, stdout=subprocess.DEVNULL, env=os.environ | environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ratio(command: list[str], environment: dict[str, str]) -> float:
    """The median over rounds, after one that compiles what is imported."""
    processor_seconds(command, environment)
    pairs = [
        (processor_seconds(command, environment), processor_seconds([sys.executable, "-c", "pass"], {}))
        for _ in range(ROUNDS)
    ]
    return statistics.median(ours for ours, _ in pairs) / statistics.median(empty for _, empty in pairs)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    for name, (command, environment) in STARTS.items():
        found = ratio(command, environment)
        print(f"{name:<20}{found:6.1f} times python -c pass {'' if found <= GOAL else f'(goal: {GOAL:g})'}")
