"""Main memory: the machine's, and what the container grants."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pipeline.doctor.check import Check
from pipeline.doctor.container import granted_bytes, used_bytes

FAMILY = "memory"
GIB = 2**30
LEAST, COMFORTABLE = 1 * GIB, 4 * GIB
"""Bytes free: below the first even a small model does not run; a worker with a large one takes up to the second."""


def check_memory() -> Iterator[Check]:
    """What is free, of the machine's or the container's, whichever is less."""
    total, free = _machine()
    limit = granted_bytes()
    yield check_free(total, free if limit is None else min(free, limit - used_bytes()), limit)


def check_free(total: int, free: int, limit: int | None) -> Check:
    """Bytes."""
    granted = "" if limit is None or limit >= total else f", of which the container grants {limit / GIB:.1f}"
    found = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free{granted}"
    if free < LEAST:
        return Check(FAMILY, "free", "problem", found, "end other programs, or raise the container's limit")
    if free < COMFORTABLE:
        return Check(FAMILY, "free", "warning", found, "use few actors (--actors 1) and small batches")
    return Check(FAMILY, "free", "ok", found)


def _machine() -> tuple[int, int]:
    """Bytes there are, and bytes that can be had."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
        return total, 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):
        return total, page * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else total
