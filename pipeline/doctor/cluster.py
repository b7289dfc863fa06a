"""Ray: whether it is there, the memory that its processes share, and a cluster that is running. It is not started."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from pipeline.doctor.check import Check
from pipeline.ray.address import ADDRESS_VARIABLE, resolve_address
from storage.text import printable

FAMILY = "ray"
SECONDS = 2.0
MIB = 2**20
SHARED = Path("/dev/shm")


def check_ray() -> Iterator[Check]:
    """Importing it takes a second or two."""
    try:
        from pipeline.ray.cluster import can_connect
        from pipeline.ray.session import OBJECT_STORE_BYTES, clusters_here
    except ImportError as error:
        advice = "pip install 'ray[train]'; until then: --executor in-process"
        yield Check(FAMILY, "import", "problem", " ".join(str(error).split()), advice)
        return
    yield Check(FAMILY, "import", "ok", "it can be imported")

    def known() -> list[str]:
        try:
            return sorted(clusters_here())
        except ConnectionError:  # none was ever started
            return []

    if SHARED.is_dir():
        yield check_shared(shutil.disk_usage(SHARED).free, OBJECT_STORE_BYTES)
    address = resolve_address(None, os.environ.get(ADDRESS_VARIABLE, ""))
    if address == "local":
        yield check_here([each for each in known() if can_connect(each, SECONDS) is None])
    else:
        asked = known() if address == "auto" else [address]
        yield check_asked(address, [str(can_connect(each, SECONDS) or "") for each in asked])


def check_shared(free: int, needed: int) -> Check:
    """Bytes of /dev/shm, and those that an instance of our own takes."""
    found = f"{free / MIB:.0f} MiB free in {SHARED}"
    if free < needed:
        advice = f"docker run --shm-size={2 * needed // MIB}m, or in Kubernetes a medium: Memory volume at {SHARED}"
        return Check(FAMILY, "shared memory", "warning", f"{found}, Ray takes {needed / MIB:.0f}", advice)
    return Check(FAMILY, "shared memory", "ok", found)


def check_here(answering: list[str]) -> Check:
    """Clusters of this machine, where none was asked for."""
    if answering:
        found = f"one answers at {', '.join(answering)}"
        return Check(
            FAMILY, "cluster", "ok", found, "--ray-address auto uses it; else an instance of our own is started"
        )
    return Check(FAMILY, "cluster", "ok", "none: a run starts an instance of its own")


def check_asked(address: str, errors: list[str]) -> Check:
    """That of RAY_ADDRESS; an error, or "", for each place where it may be."""
    where = printable(address)
    if "" in errors:
        return Check(FAMILY, "cluster", "ok", f"{ADDRESS_VARIABLE}={where} answers")
    found = f"{ADDRESS_VARIABLE}={where} does not answer: {'; '.join(errors) or 'none is known'}"
    return Check(FAMILY, "cluster", "problem", found, f"start it, set another address, or unset {ADDRESS_VARIABLE}")
