"""The families of checks, in the order in which they are told."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

from pipeline.doctor.check import Check

FAMILIES = {
    "software": "pipeline.doctor.software:check_software",
    "processor": "pipeline.doctor.processor:check_processor",
    "accelerator": "pipeline.doctor.accelerator:check_accelerator",
    "memory": "pipeline.doctor.memory:check_memory",
    "disk": "pipeline.doctor.disk:check_disk",
    "ray": "pipeline.doctor.cluster:check_ray",
    "buckets": "pipeline.doctor.buckets:check_buckets",
}


def check_all() -> Iterator[Check]:
    """Each check in turn. A family that fails is a problem of its own, and the others are looked at."""
    for family, place in FAMILIES.items():
        module, _, name = place.partition(":")
        try:
            checks: Callable[[], Iterator[Check]] = getattr(importlib.import_module(module), name)
            yield from checks()
        except Exception as error:  # a broken package may raise anything
            told = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            yield Check(family, "all", "problem", told, "put right what is named there")
