"""A cluster on this machine (Ray's own `cluster_utils`) that can be lost and replaced, in part or whole."""

from __future__ import annotations

import contextlib
import random
from typing import Any

from patience import free_ports, patience
from ray.cluster_utils import Cluster

NODE = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10000,  # on a machine that is overloaded those that live take seconds to say so
    "health_check_failure_threshold": 3,
}


class Nodes:
    """A head on which nothing runs, and `count` nodes of one core each."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lost: list[Any] = []
        self._start()

    def _start(self) -> None:
        head = {"num_cpus": 0, "_system_config": QUICK_TO_NOTICE, **NODE}
        with patience():
            self._cluster = Cluster(initialize_head=True, head_node_args=head | free_ports())
        self.replace()

    @property
    def address(self) -> str:
        return self._cluster.address

    def replace(self) -> None:
        """As many nodes as there were at first."""
        while len(self._cluster.worker_nodes) < self._count:
            with patience():
                self._cluster.add_node(num_cpus=1, **NODE, **free_ports())

    def lose(self, count: int, draw: random.Random) -> None:
        for node in draw.sample(sorted(self._cluster.worker_nodes, key=lambda node: node.node_id), count):
            self._cluster.remove_node(node, allow_graceful=False)

    def lose_head(self) -> None:
        """Its nodes and what runs there go on for a while, unaware."""
        self._lost += self._cluster.worker_nodes
        self._cluster.remove_node(self._cluster.head_node, allow_graceful=False)
        self._start()

    def end(self) -> None:
        self._cluster.shutdown()
        for node in self._lost:
            with contextlib.suppress(AssertionError, ProcessLookupError):
                node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
