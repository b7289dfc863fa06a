"""What a Ray cluster has, and whether it is still there."""

from __future__ import annotations

import dataclasses
import math
import socket
import time
from collections.abc import Callable, Collection, Mapping

import ray

PROBE_SECONDS = 1.0
HEAD_SECONDS = 30.0
"""Ray itself gives up after 60 seconds without its head, and then ends the process without a word of ours."""
ACTOR_BYTES = 2e9
"""What an actor on a CPU is to find: with an MAE of ViT-B it takes 1.4e9 (docs/measured.md)."""


@dataclasses.dataclass(frozen=True)
class Share:
    """What each actor has of its node."""

    cpus: float
    gpus: float
    device: str

    def fits(self, resources: Mapping[str, float]) -> int:
        """How many actors find room in `resources`, in Ray's terms."""
        rooms = [
            math.floor(resources.get(kind, 0.0) / need + 1e-6)  # Ray counts in ten-thousandths: 1 / (1 / 3) is 3
            for kind, need in (("CPU", self.cpus), ("GPU", self.gpus))
            if need
        ]
        return min(rooms)

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cpus:g} CPU{gpus}"


def choose_share(device: str, cpus: float | None, gpus: float | None, actors: int | None) -> Share:
    """The given figures, or for what is None: with GPUs one core and one GPU, else one core, or as many as leave each
    actor `ACTOR_BYTES` of every node's memory: many actors of one thread are faster than few of several
    (docs/measured.md). On a single node `actors` share its cores."""
    if device == "cuda":
        return Share(cpus or 1.0, gpus or 1.0, device)
    nodes = list(alive_nodes().values())
    largest = max([1.0, *(node.get("CPU", 0.0) for node in nodes)])
    if cpus is None and actors is not None and len(nodes) == 1:
        cpus = max(1.0, largest // actors)
    needed = [math.ceil(node["CPU"] * ACTOR_BYTES / node["memory"]) for node in nodes if {"CPU", "memory"} <= set(node)]
    return Share(cpus or min(largest, max([1.0, *needed])), 0.0, device)


def alive_nodes() -> dict[str, dict[str, float]]:
    """The resources of each node by its id."""
    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def room_for(share: Share, without: Collection[str] = ()) -> int:
    """How many actors the cluster has room for when nothing else runs there; `without` these nodes."""
    return sum(share.fits(resources) for node, resources in alive_nodes().items() if node not in without)


def what_is_missing(share: Share) -> str:
    """Why an actor cannot be placed at the moment."""
    nodes = alive_nodes()
    if not any(share.fits(resources) for resources in nodes.values()):
        largest = max(nodes.values(), key=lambda each: (each.get("GPU", 0), each.get("CPU", 0)), default={})
        return f"none of {len(nodes)} nodes has as much, the largest has {_amounts(largest)}"
    return f"free in the cluster are {_amounts(ray.available_resources())}, perhaps on several nodes"


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(f"{resources.get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))


class HeadWatch:
    """Whether anybody answers at the head's address, asked without Ray: its own calls block for a minute when the head
    is gone, and then end the process."""

    def __init__(self, address: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.address = address
        self._clock = clock
        self._asked = self.heard = clock()

    def answers(self) -> bool:
        """Asked at most every `PROBE_SECONDS`, for as long."""
        if self._clock() - self._asked >= PROBE_SECONDS:
            self._asked = self._clock()
            if can_connect(self.address, PROBE_SECONDS) is None:
                self.heard = self._asked
        return self.heard == self._asked

    def is_lost(self) -> bool:
        """Whether it has not answered for `HEAD_SECONDS`."""
        return not self.answers() and self._clock() - self.heard > HEAD_SECONDS


def can_connect(address: str, seconds: float) -> OSError | None:
    """None if somebody listens at HOST:PORT, else why not."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
    except OSError as error:
        return error
    return None
