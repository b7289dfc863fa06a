"""A cluster on this machine (Ray's own `cluster_utils`) that can be lost and replaced, in part or whole."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import ray._private.services
from ray.cluster_utils import Cluster

NODE = {"object_store_memory": 80 * 2**20, "include_dashboard": False}
QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 1000,
    "health_check_timeout_ms": 10000,  # on a machine that is overloaded those that live take seconds to say so
    "health_check_failure_threshold": 3,
}
MOST_SECONDS_TO_START = 300.0


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


def free_ports() -> dict[str, int]:
    """For a node's helpers: who is not told them waits 15 seconds for each helper to choose, and then dies."""
    names = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port")
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


def patience() -> Any:
    """Ray gives a node 30 seconds to say that it is there, which beside other work may be too few."""
    get_node: Callable[..., Any] = ray._private.services.get_node

    def wait_for_node(*arguments: Any, **options: Any) -> Any:
        give_up = time.monotonic() + MOST_SECONDS_TO_START
        while True:
            try:
                return get_node(*arguments, **options)
            except RuntimeError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(0.5)

    return patch.object(ray._private.services, "get_node", wait_for_node)
