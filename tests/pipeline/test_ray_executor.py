"""Actors: every shard is done once, whatever workers die of; nothing of the user's, and nothing after the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray
import ray.cloudpickle
from ranking_runs import rank_config, rank_in_process
from scoring import files_of, score_config, score_in_process

from pipeline.execution.events import Event, ShardDone, ShardFailed, ShardStarted, WorkerLost, WorkerReady
from pipeline.execution.schedule import Schedule
from pipeline.ray.executor import RayExecutor
from stages.stage import Receipt
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import ShardEntry

# Workers cannot import this file: its classes travel as they are.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


class WritingStage:
    """Writes a file named for each shard; does as shards whose names begin with a word of mischief say."""

    name = "writing"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def setup(self, device: str, threads: int) -> None:
        assert device == "cpu"

    def process(self, shard: ShardEntry) -> Iterator[int | Receipt]:
        attempts = self.folder / f"{shard.name}.attempts"
        with open(attempts, "a") as file:
            file.write(f"{os.getpid()}\n")
        yield 1
        first = len(attempts.read_text().splitlines()) == 1
        if shard.name.startswith("raises") or (first and shard.name.startswith("once-raises")):
            raise ValueError(f"{shard.name} is no good")
        if shard.name.startswith("kills") or (first and shard.name.startswith("once-kills")):
            os._exit(1)
        (self.folder / shard.name).write_text("done")
        yield Receipt(shard.name, 1, 1, {})

    def committed(self, shard: ShardEntry) -> Receipt | None:
        return None


class BrokenStage(WritingStage):
    def setup(self, device: str, threads: int) -> None:
        raise RuntimeError("the weights are not there")


@pytest.fixture(scope="module")
def executor(ray_address: str) -> Iterator[RayExecutor]:
    """Two workers of one core."""
    with RayExecutor(ray_address, actors=2, cpus=1, patience=60) as running:
        yield running


def run(executor: RayExecutor, stage: WritingStage, names: list[str]) -> list[Event]:
    shards = [ShardEntry(f"/nowhere/{name}.tar") for name in names]
    return list(executor.run(stage, Schedule(shards)))


def pids(folder: Path, shard: str) -> list[str]:
    return (folder / f"{shard}.attempts").read_text().splitlines()


def test_every_shard_is_done_once(executor: RayExecutor, tmp_path: Path) -> None:
    names = [f"shard-{number}" for number in range(8)]
    events = run(executor, WritingStage(tmp_path), names)
    done = Counter(event.receipt.shard for event in events if isinstance(event, ShardDone))
    assert done == Counter(names)
    assert any(isinstance(event, WorkerReady) for event in events)
    assert all((tmp_path / name).exists() for name in names)


def test_a_shard_that_fails_is_tried_elsewhere_and_then_set_aside_while_others_go_on(
    executor: RayExecutor, tmp_path: Path
) -> None:
    names = ["raises", "once-raises", *(f"shard-{number}" for number in range(4))]
    events = run(executor, WritingStage(tmp_path), names)
    failures = [event for event in events if isinstance(event, ShardFailed)]
    assert {event.receipt.shard for event in events if isinstance(event, ShardDone)} == set(names) - {"raises"}
    assert [(event.attempt, event.set_aside) for event in failures if event.shard == "raises"] == [
        (1, False),
        (2, False),
        (3, True),
    ]
    assert failures[-1].reason == "raises is no good"
    assert len(set(pids(tmp_path, "once-raises"))) == 2


def test_a_worker_that_dies_is_replaced_and_what_kills_every_worker_is_set_aside(
    executor: RayExecutor, tmp_path: Path
) -> None:
    names = ["kills", "once-kills", "shard-0", "shard-1"]
    events = run(executor, WritingStage(tmp_path), names)
    assert {event.receipt.shard for event in events if isinstance(event, ShardDone)} == set(names) - {"kills"}
    assert sum(isinstance(event, WorkerLost) for event in events) == 4
    (last,) = [event for event in events if isinstance(event, ShardFailed) and event.set_aside]
    assert (last.shard, last.attempt) == ("kills", 3)
    assert "its worker died" in last.reason
    assert len(pids(tmp_path, "kills")) == 3


def test_workers_that_cannot_be_set_up_end_the_run_with_the_reason(executor: RayExecutor, tmp_path: Path) -> None:
    with pytest.raises(ChildProcessError, match=r"no worker can be set up: .*the weights are not there"):
        run(executor, BrokenStage(tmp_path), ["shard-0"])


def test_a_run_that_is_left_early_ends_its_workers(executor: RayExecutor, tmp_path: Path) -> None:
    events = executor.run(WritingStage(tmp_path), Schedule([ShardEntry(f"/nowhere/shard-{n}.tar") for n in range(9)]))
    assert any(isinstance(event, ShardStarted) for event in events)
    events.close()  # type: ignore[attr-defined]
    for _ in range(100):
        if ray.available_resources().get("CPU") == ray.cluster_resources()["CPU"]:
            return
        time.sleep(0.1)
    pytest.fail("the workers' cores did not become free")


def test_actors_rank_as_one_process_does(
    executor: RayExecutor, scene_shards: Path, small_ranker: Path, tmp_path: Path
) -> None:
    rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "in-process"))
    _, outcome = rank_in_process(rank_config(scene_shards, small_ranker, tmp_path / "actors"), executor)
    assert (outcome.done, outcome.scored, outcome.failures) == (4, 15, [])
    assert files_of(tmp_path / "actors") == files_of(tmp_path / "in-process")


@pytest.mark.parametrize("options", [{"device": "cuda"}, {"gpus": 0.5}], ids=str)
def test_a_gpu_that_this_machine_lacks_is_refused_before_ray_is_started(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(
        "pipeline.ray.executor.ray_session", lambda _: pytest.fail("an own instance would wait for what never comes")
    )
    with pytest.raises(ValueError, match="no GPU found on this machine"), RayExecutor("local", **options):
        pass


def test_more_cores_than_this_machine_has_are_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.ray.executor.ray_session", lambda _: nullcontext("127.0.0.1:1"))
    monkeypatch.setattr("pipeline.ray.cluster.alive_nodes", lambda: {"this": {"CPU": 2.0}})
    refusal = "no room on this machine for an actor with 3 CPU: none of 1 nodes has as much, the largest has 2 CPU"
    with RayExecutor("local", cpus=3, device="cpu") as executor, pytest.raises(ValueError, match=refusal):
        executor.run(WritingStage(tmp_path), Schedule([ShardEntry("/nowhere/shard-0.tar")]))


def test_a_cluster_that_is_not_there_is_one_message_at_once() -> None:
    with pytest.raises(ConnectionError, match=r"Ray at 127\.0\.0\.1:1: .*nobody answers"), RayExecutor("127.0.0.1:1"):
        pass


@pytest.mark.slow
def test_a_users_own_packages_of_our_names_change_nothing_and_nothing_is_left_behind(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    for name in ("storage/__init__.py", "stages/__init__.py", "ranker/__init__.py", "pipeline.py", "torch.py"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text("raise SystemExit('the wrong one was imported')\n")
    script = Path(sys.executable).with_name("ltrp-pipeline")
    if not script.exists():
        pytest.skip("the package is not installed beside this Python")
    before = set(Path("/tmp").glob("ltrp-ray-*"))
    arguments = ["score", "--shards", "../tars", "--mae", small_mae, "--out", "scores", "--mask-ratio", "0.75"]
    options = ["--precision", "fp32", "--cpus-per-actor", "1"]
    result = subprocess.run(
        [script, *map(str, arguments), *options],
        cwd=here,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    score_in_process(score_config(scene_shards, small_mae, tmp_path / "in-process"))
    assert files_of(here / "scores") == files_of(tmp_path / "in-process")
    assert PatchStore.open(str(here / "scores"), CONTENT).books.done() == {f"scenes-00000{n}" for n in range(4)}
    assert set(Path("/tmp").glob("ltrp-ray-*")) <= before
    assert not processes_that_mention(str(here))


def processes_that_mention(text: str) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.name != str(os.getpid()) and text in os.readlink(process / "cwd"):
                found.append(process.name)
        except OSError:
            continue  # gone, or not ours
    return found
