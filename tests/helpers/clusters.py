"""Ray clusters of several nodes on this machine, and a stage whose shards do as their names say."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from pipeline.execution.events import Event
from pipeline.execution.schedule import Schedule
from pipeline.ray.executor import RayExecutor
from stages.stage import Receipt, ShardStage
from storage.shard_index import ShardEntry

QUICK_TO_NOTICE = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 300,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 3,
}
SMALL: dict[str, Any] = {"object_store_memory": 80 * 2**20, "include_dashboard": False}


@contextmanager
def small_cluster() -> Iterator[Cluster]:
    """A head on which nothing runs. `cluster.add_node(num_cpus=1, **SMALL)` lets a node join."""
    head = {"num_cpus": 0, "include_log_monitor": False, "_system_config": QUICK_TO_NOTICE, **SMALL}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def two_nodes(cluster: Cluster) -> list[Any]:
    """Its nodes, of one core each: what an earlier test lost is replaced, what it added is taken away."""
    joined = list(cluster.worker_nodes)
    for node in [node for node in joined if node.get_resource_and_label_spec().num_cpus != 1] + joined[2:]:
        if node in cluster.worker_nodes:
            lose(cluster, node)
    while len(cluster.worker_nodes) < 2:
        cluster.add_node(num_cpus=1, **SMALL)
    return list(cluster.worker_nodes)


def lose(cluster: Cluster, node: Any) -> None:
    """Without notice, as when a machine is taken away."""
    cluster.remove_node(node, allow_graceful=False)


class ObedientStage:
    """Each shard notes its attempts in `folder`, then does what stands before the first dash of its name.

    "quick" is done at once, "slow" in 60 steps of 0.03 s, "held" as soon as there is a file `go` in the folder, "hangs"
    never, "kills" ends its process.
    """

    name = "obedient"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, device: str, threads: int) -> None:
        """Whoever finds a file `unfit` takes it away, and cannot be set up."""
        try:
            (self.folder / "unfit").unlink()
        except FileNotFoundError:
            return
        raise FileNotFoundError("/models/mae: no such file")

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        with open(self.folder / f"{shard.name}.attempts", "a") as file:
            file.write(f"{os.getpid()}\n")
        what = shard.name.partition("-")[0]
        samples = 60
        if what == "kills":
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "slow":
            for number in range(samples):
                time.sleep(0.03)
                yield number
        elif what in ("held", "hangs"):
            yield 1
            while what == "hangs" or not (self.folder / "go").exists():
                time.sleep(0.05)
                yield 1
        (self.folder / f"{shard.name}.done").touch()
        yield Receipt(shard.name, samples, samples, {})

    def committed(self, shard: ShardEntry) -> Receipt | None:
        return Receipt(shard.name, 60, 60, {}) if (self.folder / f"{shard.name}.done").exists() else None

    def attempts(self, shard: str) -> list[int]:
        """Process of each attempt."""
        path = self.folder / f"{shard}.attempts"
        return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def entries(*names: str, nsamples: int | None = 60) -> list[ShardEntry]:
    return [ShardEntry(f"/tars/{name}.tar", nsamples) for name in names]


class Execution:
    """A run in a thread of its own, whose events can be looked at while it goes on."""

    def __init__(self, executor: RayExecutor, stage: ShardStage, shards: list[ShardEntry], **schedule: Any) -> None:
        self.events: list[Event] = []
        self.error: BaseException | None = None
        self._running = executor.run(stage, Schedule(shards, **schedule))
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            for event in self._running:
                self.events.append(event)
        except BaseException as error:
            self.error = error

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    def ended(self, seconds: float = 60) -> list[Event]:
        """All its events, once it has come to its end. Raises what it raised."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"it does not end: {self.events[-5:]}"
        if self.error:
            raise self.error
        return self.events


def until(condition: Callable[[], Any], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
