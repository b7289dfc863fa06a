"""Where work would run, as far as can be told without starting anything."""

from __future__ import annotations

import dataclasses
import os
from typing import Literal

from pipeline.config import ExecutionConfig, TrainingExecutionConfig
from pipeline.ray.address import ADDRESS_VARIABLE, resolve_address
from storage.text import counted


@dataclasses.dataclass(frozen=True)
class PlaceOfWork:
    """Processes, and what they compute on."""

    executor: Literal["ray", "in-process"]
    cluster: str | None
    """Of Ray: "local" for an instance of our own, "auto" for that of this machine, or an address."""
    workers: int | None
    """Processes that compute; None: as many as there is room for."""
    device: str
    """"cpu", "cuda"; on a cluster "auto" where its workers find out."""

    def __str__(self) -> str:
        if self.executor == "in-process":
            return f"in this process, on {self.device}"
        where = {"local": "an instance of our own", "auto": "the cluster of this machine"}.get(
            self.cluster or "", f"the cluster at {self.cluster}"
        )
        workers = "as many workers as there is room for" if self.workers is None else counted(self.workers, "worker")
        return f"on Ray, {where}: {workers}, on {'what they find' if self.device == 'auto' else self.device}"


def place_of_shards(config: ExecutionConfig) -> PlaceOfWork:
    """Of a stage that works shard by shard. Raises ValueError for a GPU that is not there."""
    if config.executor == "in-process":
        return PlaceOfWork("in-process", None, 1, _device(config.device, "local"))
    cluster = _cluster(config.ray_address)
    return PlaceOfWork("ray", cluster, config.actors, _device(config.device, cluster))


def place_of_training(config: TrainingExecutionConfig) -> PlaceOfWork:
    """Of a stage that trains. Raises ValueError as `place_of_shards`."""
    if config.chosen_executor == "in-process":
        return PlaceOfWork("in-process", None, 1, _device(config.device, "local"))
    cluster = _cluster(config.ray_address)
    return PlaceOfWork("ray", cluster, config.workers, _device(config.device, cluster))


def _cluster(address: str | None) -> str:
    return resolve_address(address, os.environ.get(ADDRESS_VARIABLE, ""))


def _device(device: str, cluster: str) -> str:
    from stages.compute.devices import resolve_device  # here, since it brings torch along

    return resolve_device(device) if cluster == "local" else device
