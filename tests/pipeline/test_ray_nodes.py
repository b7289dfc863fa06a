"""Several nodes that come and go: nothing is lost, nobody is waited for without need, every wait has an end."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import clusters
import pytest
import ray
import ray.cloudpickle
from clusters import SMALL, Execution, ObedientStage, entries, lose, two_nodes, until
from ray.cluster_utils import Cluster

from pipeline.execution.events import (
    ShardDone,
    ShardFailed,
    ShardInterrupted,
    ShardProgress,
    ShardStarted,
    Waiting,
    WorkerLeft,
    WorkerLost,
    WorkerReady,
)
from pipeline.execution.schedule import MAX_INTERRUPTIONS
from pipeline.ray import cluster as ray_cluster
from pipeline.ray import executor as ray_executor
from pipeline.ray import hiring
from pipeline.ray.cluster import HeadWatch
from pipeline.ray.executor import RayExecutor
from pipeline.ray.session import ray_session

# Workers cannot import it: its classes travel as they are.
ray.cloudpickle.register_pickle_by_value(sys.modules[clusters.__name__])


@pytest.fixture(scope="module", autouse=True)
def _connected(cluster: Cluster) -> Iterator[None]:
    """Once for all executors of this file."""
    with ray_session(cluster.address) as address, pytest.MonkeyPatch.context() as patch:
        patch.setattr(ray_executor, "ray_session", lambda _: nullcontext(address))
        yield


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hiring, "ROOM_SECONDS", 0.2)
    monkeypatch.setattr(ray_executor, "POLL_SECONDS", 0.1)


@pytest.fixture
def nodes(cluster: Cluster) -> list[Any]:
    """Two of one core each; tests may take nodes away and add others."""
    return two_nodes(cluster)


@pytest.fixture
def executor(cluster: Cluster, nodes: list[Any]) -> Iterator[RayExecutor]:
    with RayExecutor(cluster.address, cpus=1, patience=60, stall=60) as connected:
        yield connected


def node_of(ready: WorkerReady, nodes: list[Any]) -> Any:
    (node,) = [node for node in nodes if node.node_id[:8] in ready.place]
    return node


def done(execution: Execution) -> list[str]:
    return sorted(event.receipt.shard for event in execution.of(ShardDone))


def process_of(ready: WorkerReady) -> int:
    return int(ready.place.split()[1])


def test_workers_are_where_there_is_room_and_a_lost_nodes_shard_goes_to_another_without_counting_as_an_attempt(
    cluster: Cluster, nodes: list[Any], executor: RayExecutor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["held-a", "held-b", "quick-a", "quick-b"]
    execution = Execution(executor, ObedientStage(tmp_path), entries(*names), max_attempts=1)
    until(lambda: len(execution.of(ShardStarted)) == 2)
    ready = {event.worker: node_of(event, nodes) for event in execution.of(WorkerReady)}
    assert set(ready.values()) == set(nodes)
    first = execution.of(ShardStarted)[0]
    lose(cluster, ready[first.worker])
    until(lambda: execution.of(ShardInterrupted))
    (tmp_path / "go").touch()
    execution.ended()
    assert done(execution) == names
    (interrupted,) = execution.of(ShardInterrupted)
    assert (interrupted.shard, interrupted.worker, interrupted.times) == (first.shard, first.worker, 1)
    assert "its node was lost" in interrupted.reason
    assert [event.worker for event in execution.of(WorkerLost)] == [first.worker]
    assert "raylet" not in capfd.readouterr().out  # of which Ray prints pages


def test_when_all_nodes_are_lost_it_says_what_it_waits_for_and_goes_on_when_others_join(
    cluster: Cluster, nodes: list[Any], executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hiring, "WAITING_SECONDS", 0.5)
    names = ["held-a", "held-b", "quick-a"]
    execution = Execution(executor, ObedientStage(tmp_path), entries(*names))
    until(lambda: len(execution.of(ShardStarted)) == 2)
    for node in nodes:
        lose(cluster, node)
    until(lambda: len(execution.of(ShardInterrupted)) == 2)
    until(lambda: any("a place for 1 of 1 actors" in event.what for event in execution.of(Waiting)))
    (tmp_path / "go").touch()
    nodes += [cluster.add_node(num_cpus=2, **SMALL)]
    execution.ended()
    assert done(execution) == names
    ready = execution.of(WorkerReady)
    assert {node_of(event, nodes) for event in ready[2:]} == {nodes[-1]}
    waited = [event.what for event in execution.of(Waiting)]
    needed = "a place for 1 of 1 actors, with 1 CPU each"
    missing = "none of 1 nodes has as much, the largest has 0 CPU, 0 GPU"
    assert any(needed in what and missing in what for what in waited)


def test_a_node_that_joins_is_put_to_work(
    cluster: Cluster, nodes: list[Any], executor: RayExecutor, tmp_path: Path
) -> None:
    execution = Execution(executor, ObedientStage(tmp_path), entries(*(f"held-{n}" for n in range(6))))
    until(lambda: len(execution.of(ShardStarted)) == 2)
    nodes += [cluster.add_node(num_cpus=1, **SMALL)]
    until(lambda: len(execution.of(ShardStarted)) == 3)
    assert node_of(execution.of(WorkerReady)[-1], nodes) is nodes[-1]
    (tmp_path / "go").touch()
    execution.ended()
    assert len(execution.of(ShardDone)) == 6


def test_actors_without_a_place_are_reported_and_do_not_hold_up_the_others(
    cluster: Cluster, nodes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hiring, "WAITING_SECONDS", 0.5)
    monkeypatch.setattr(hiring, "HOPE_SECONDS", 0.5)
    names = [f"held-{n}" for n in range(4)]
    with RayExecutor(cluster.address, actors=4, cpus=1) as four:
        execution = Execution(four, ObedientStage(tmp_path), entries(*names, "kills"), max_attempts=2)
        waits = "a place for 2 of 4 actors, with 1 CPU each: free in the cluster are 0 CPU"
        until(lambda: any(waits in event.what for event in execution.of(Waiting)))
        (tmp_path / "go").touch()
        execution.ended()
    assert done(execution) == names
    assert execution.of(ShardFailed)[-1].set_aside


def test_a_run_for_which_there_is_no_place_ends_with_what_it_needed(
    cluster: Cluster, nodes: list[Any], tmp_path: Path
) -> None:
    with RayExecutor(cluster.address, actors=2, cpus=16, patience=2) as large:
        execution = Execution(large, ObedientStage(tmp_path), entries("quick-a"))
        with pytest.raises(TimeoutError, match=r"no actor could be placed for 2 s, with 16 CPU each: none of 3 nodes"):
            execution.ended()


def test_a_worker_that_is_told_to_end_finishes_what_is_nearly_done_and_takes_no_more(
    executor: RayExecutor, tmp_path: Path
) -> None:
    stage = ObedientStage(tmp_path)
    execution = Execution(executor, stage, entries("slow-a", "slow-b", "slow-c", "slow-d"))
    until(lambda: any(event.samples > 5 for event in execution.of(ShardProgress)))
    told = execution.of(ShardStarted)[0]
    (ready,) = [event for event in execution.of(WorkerReady) if event.worker == told.worker]
    os.kill(process_of(ready), signal.SIGTERM)
    execution.ended()
    assert done(execution) == ["slow-a", "slow-b", "slow-c", "slow-d"]
    assert [event.worker for event in execution.of(WorkerLeft)] == [told.worker]
    assert stage.attempts(told.shard) == [process_of(ready)]
    assert [event.shard for event in execution.of(ShardStarted) if event.worker == told.worker] == [told.shard]
    assert not execution.of(ShardInterrupted)
    assert not execution.of(WorkerLost)
    assert len(execution.of(WorkerReady)) == 2  # none is hired where the end is near


def test_a_worker_that_is_told_to_end_gives_back_what_would_take_too_long_and_another_does_it(
    executor: RayExecutor, tmp_path: Path
) -> None:
    shards = entries("held-a", "held-b", nsamples=None)
    execution = Execution(executor, ObedientStage(tmp_path), shards, max_attempts=1)
    until(lambda: len(execution.of(ShardProgress)) == 2)
    told = execution.of(ShardStarted)[0]
    (ready,) = [event for event in execution.of(WorkerReady) if event.worker == told.worker]
    os.kill(process_of(ready), signal.SIGTERM)
    until(lambda: execution.of(WorkerLeft))
    (tmp_path / "go").touch()
    execution.ended()
    assert done(execution) == ["held-a", "held-b"]
    (interrupted,) = execution.of(ShardInterrupted)
    assert interrupted.shard == told.shard
    assert "told to end" in interrupted.reason
    assert not execution.of(ShardFailed)


def test_where_workers_were_told_to_end_and_their_nodes_stay_others_are_hired_after_a_while(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hiring, "ENDING_SECONDS", 1.0)
    execution = Execution(executor, ObedientStage(tmp_path), entries("held-a", "held-b", nsamples=None))
    until(lambda: len(execution.of(ShardProgress)) == 2)
    for ready in execution.of(WorkerReady):
        os.kill(process_of(ready), signal.SIGTERM)
    until(lambda: len(execution.of(WorkerLeft)) == 2)
    (tmp_path / "go").touch()
    execution.ended()
    assert done(execution) == ["held-a", "held-b"]


def test_of_gpus_actors_get_the_parts_that_were_asked_for(cluster: Cluster, nodes: list[Any], tmp_path: Path) -> None:
    nodes += [cluster.add_node(num_cpus=2, num_gpus=1, **SMALL)]  # Ray believes it
    with RayExecutor(cluster.address, gpus=0.5) as halves:
        assert halves.device() == "cuda"
        execution = Execution(halves, ObedientStage(tmp_path), entries("held-a", "held-b", "held-c"))
        until(lambda: len(execution.of(ShardStarted)) == 2)
        (tmp_path / "go").touch()
        execution.ended()
        lose(cluster, nodes[-1])
        until(lambda: not ray.cluster_resources().get("GPU"))  # later tests are to find none
    assert len(execution.of(ShardDone)) == 3
    ready = execution.of(WorkerReady)
    assert [node_of(event, nodes) for event in ready] == [nodes[-1]] * 2
    assert all(event.place.endswith("GPU 0, cuda") for event in ready)


def test_an_idle_worker_that_is_told_to_end_leaves(executor: RayExecutor, tmp_path: Path) -> None:
    execution = Execution(executor, ObedientStage(tmp_path), entries("held-a", "quick-b"))
    until(lambda: execution.of(ShardDone) and len(execution.of(WorkerReady)) == 2)
    busy = {event.worker for event in execution.of(ShardStarted) if event.shard == "held-a"}
    (idle,) = [event for event in execution.of(WorkerReady) if event.worker not in busy]
    os.kill(process_of(idle), signal.SIGTERM)
    until(lambda: [event.worker for event in execution.of(WorkerLeft)] == [idle.worker])
    (tmp_path / "go").touch()
    execution.ended()
    assert not execution.of(WorkerLost)


def test_a_shard_that_makes_no_progress_is_ended_and_set_aside_while_others_go_on(
    cluster: Cluster, nodes: list[Any], tmp_path: Path
) -> None:
    stage = ObedientStage(tmp_path)
    with RayExecutor(cluster.address, cpus=1, stall=2) as impatient:
        execution = Execution(impatient, stage, entries("hangs", "quick-a", "quick-b"), max_attempts=2)
        execution.ended()
    assert done(execution) == ["quick-a", "quick-b"]
    failures = execution.of(ShardFailed)
    assert [(event.shard, event.attempt, event.set_aside) for event in failures] == [
        ("hangs", 1, False),
        ("hangs", 2, True),
    ]
    assert "no progress for 2 s" in failures[-1].reason
    assert len(set(stage.attempts("hangs"))) == 2


def test_a_shard_that_kills_its_worker_every_time_is_set_aside_whatever_ray_would_retry(
    cluster: Cluster, nodes: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TASK_MAX_RETRIES", "-1")
    stage = ObedientStage(tmp_path)
    with RayExecutor(cluster.address, cpus=1) as executor:
        execution = Execution(executor, stage, entries("kills", "quick-a"))
        execution.ended()
    assert done(execution) == ["quick-a"]
    assert len(stage.attempts("kills")) == 3
    assert "its worker died" in execution.of(ShardFailed)[-1].reason


def test_a_run_whose_head_answers_no_more_ends_and_says_so(
    executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole of it, with a head that is killed, is in test_head_loss."""
    monkeypatch.setattr(ray_cluster, "HEAD_SECONDS", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as head:
        monkeypatch.setattr(executor, "_head", HeadWatch(f"127.0.0.1:{head.getsockname()[1]}"))
        execution = Execution(executor, ObedientStage(tmp_path), entries("held-a"))
        until(lambda: execution.of(ShardProgress))
    with pytest.raises(ConnectionError, match=r"the cluster's head has not answered for \d s; finished work is kept"):
        execution.ended()


def test_where_a_stage_cannot_be_set_up_others_go_on_and_it_is_tried_again(
    executor: RayExecutor, tmp_path: Path
) -> None:
    (tmp_path / "unfit").touch()
    names = [f"held-{n}" for n in range(4)]
    execution = Execution(executor, ObedientStage(tmp_path), entries(*names))
    until(lambda: len(execution.of(WorkerReady)) == 2)
    (tmp_path / "go").touch()
    execution.ended()
    assert done(execution) == names
    (lost,) = execution.of(WorkerLost)
    assert "/models/mae: no such file" in lost.reason
    assert "process" in lost.reason  # where
    assert len(execution.of(WorkerReady)) == 2


def test_what_was_committed_before_its_worker_was_lost_is_not_done_again(executor: RayExecutor, tmp_path: Path) -> None:
    stage = ObedientStage(tmp_path)
    execution = Execution(executor, stage, entries("hangs-a", "held-b"))
    until(lambda: len(execution.of(ShardProgress)) == 2)
    (tmp_path / "hangs-a.done").touch()  # as if it had ended before its answer was on its way
    (process,) = stage.attempts("hangs-a")
    os.kill(process, signal.SIGKILL)
    (tmp_path / "go").touch()
    execution.ended()
    assert done(execution) == ["hangs-a", "held-b"]
    assert stage.attempts("hangs-a") == [process]


def test_interruptions_have_a_bound_too(executor: RayExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.execution.schedule.MAX_INTERRUPTIONS", 2)
    assert MAX_INTERRUPTIONS > 2
    execution = Execution(executor, ObedientStage(tmp_path), entries("hangs", nsamples=None))

    def happened(event: type, times: int) -> None:
        until(lambda: len(execution.of(event)) >= times)

    for times in (1, 2):
        happened(WorkerReady, times)
        happened(ShardProgress, 1)
        happened(ShardStarted, times)
        assert len(execution.of(ShardStarted)) == times
        worker = execution.of(ShardStarted)[-1].worker
        (ready,) = [event for event in execution.of(WorkerReady) if event.worker == worker]
        os.kill(process_of(ready), signal.SIGTERM)
        happened(WorkerLeft, times)
        assert len(execution.of(WorkerLeft)) == times
    execution.ended()
    (failed,) = execution.of(ShardFailed)
    assert (failed.shard, failed.set_aside) == ("hangs", True)
    assert "interrupted 2 times" in failed.reason
