"""Nodes of Ray that may take minutes to start, beside whatever else a machine does.

Ray waits 30 seconds for a node to say that it is there; and a node waits 15 for each of its helpers to write down the
port that it listens on, and then dies. Here ports are chosen and written down beforehand.
"""

from __future__ import annotations

import contextlib
import inspect
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from ray._private import services

MOST_SECONDS_TO_START = 300.0
PORTS = ("metrics_agent_port", "metrics_export_port", "runtime_env_agent_port", "dashboard_agent_listen_port")


def free_ports() -> dict[str, int]:
    """For a node's helpers, as arguments of `Cluster.add_node`."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        return {name: each.getsockname()[1] for name, each in zip(PORTS, sockets, strict=True)}


@contextlib.contextmanager
def patience() -> Iterator[None]:
    """While nodes are started in this process, with `free_ports`."""
    get_node, start_raylet = services.get_node, services.start_raylet
    signature = inspect.signature(start_raylet)

    def wait_for_node(*arguments: Any, **options: Any) -> Any:
        give_up = time.monotonic() + MOST_SECONDS_TO_START
        while True:
            try:
                return get_node(*arguments, **options)
            except RuntimeError:
                if time.monotonic() > give_up:
                    raise
            time.sleep(0.5)

    def start_with_ports(*arguments: Any, **options: Any) -> Any:
        given = signature.bind(*arguments, **options).arguments
        for name in PORTS:
            Path(given["session_dir"], f"{name}_{given['node_id']}").write_text(str(given[name]))
        return start_raylet(*arguments, **options)

    with patch.multiple(services, get_node=wait_for_node, start_raylet=start_with_ports):
        yield
