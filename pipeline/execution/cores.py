"""How many threads a process computes with where nobody says."""

from __future__ import annotations

import os

THREADS_VARIABLE = "OMP_NUM_THREADS"


def usable_cores() -> int:
    """That this process may be scheduled on, which may be fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usual_threads() -> int:
    """What OMP_NUM_THREADS says, if that is a number from 1; else one for each usable core. Beside other work several
    threads are many times slower than one: they wait for each other."""
    said = os.environ.get(THREADS_VARIABLE, "").split(",")[0].strip()
    return int(said) if said.isdecimal() and int(said) > 0 else usable_cores()
