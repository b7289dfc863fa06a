"""Cores, what they can do, and how many threads compute."""

from __future__ import annotations

import os
from collections.abc import Iterator

from pipeline.doctor.check import Check
from pipeline.doctor.container import granted_cores
from pipeline.execution.cores import THREADS_VARIABLE, usable_cores

FAMILY = "processor"


def check_processor() -> Iterator[Check]:
    """The cores that there are, vector instructions and threads."""
    import torch

    usable, granted = usable_cores(), granted_cores()
    yield check_cores(os.cpu_count() or 1, usable, granted)
    features = torch.backends.cpu.get_cpu_capability()
    if features == "DEFAULT":
        advice = "torch computes without vector instructions here, which is slow: use another machine for large runs"
        yield Check(FAMILY, "instructions", "warning", "none that torch uses", advice)
    else:
        yield Check(FAMILY, "instructions", "ok", features)
    yield check_threads(os.environ.get(THREADS_VARIABLE), usable)


def check_cores(machine: int, usable: int, granted: float | None) -> Check:
    """`granted`: by the container; threads beyond that wait for each other."""
    found = f"{usable} of {machine} may be used"
    if granted is None or granted >= usable:
        return Check(FAMILY, "cores", "ok", found)
    advice = f"set {THREADS_VARIABLE}={max(1, int(granted))} and give --cpus-per-actor, or raise the container's limit"
    return Check(FAMILY, "cores", "warning", f"{found}, but the container grants the time of {granted:g}", advice)


def check_threads(value: str | None, usable: int) -> Check:
    """What OMP_NUM_THREADS says."""
    if value is None:
        return Check(FAMILY, THREADS_VARIABLE, "ok", "not set: as many threads as cores")
    first = value.split(",")[0].strip()
    if not first.isdecimal() or int(first) < 1:
        advice = f"unset {THREADS_VARIABLE}, or set it to a number"
        return Check(FAMILY, THREADS_VARIABLE, "warning", f"expected a number from 1, got {value[:40]!r}", advice)
    if int(first) > usable:
        found = f"{first}, more than the {usable} that may be used: they get into each other's way"
        return Check(FAMILY, THREADS_VARIABLE, "warning", found, f"unset {THREADS_VARIABLE}")
    return Check(FAMILY, THREADS_VARIABLE, "ok", first)
