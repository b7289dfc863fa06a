"""Several workers train what one does; what they die of, and what stops them, costs no more than a few steps."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dying_workers
import pytest
import ray.cloudpickle
import torch
from click.testing import CliRunner
from dying_workers import second_worker_dies
from ranker_training import Told, ranker_config, train_in_process, weights_of

from pipeline.config import TrainingExecutionConfig
from pipeline.ray.session import ray_session
from pipeline.training_run import run_training
from stages.ranking.lists import RankerLists
from stages.settings.train_ranker import TrainRankerConfig
from stages.train_ranker import run_train_ranker
from stages.training.loop import TrainingReport
from stages.training.processes import Processes
from storage.locations import locate

# Workers cannot import these files: their functions travel as they are.
for module in (sys.modules[__name__], dying_workers):
    ray.cloudpickle.register_pickle_by_value(module)

TWO = TrainingExecutionConfig(workers=2, cpus_per_worker=1)


@pytest.fixture(scope="module")
def _ray(ray_address: str) -> Iterator[None]:
    """Asked often whether workers have ended."""
    with pytest.MonkeyPatch.context() as patch, ray_session(ray_address):
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        yield


def train_on_workers(*arguments: Any) -> None:
    """Ray Train takes long to import, and all processes of pytest read this file."""
    from pipeline.ray import training

    training.train_on_workers(*arguments)


def without_some(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """Some images cannot be used, so that workers have unequal parts of an update."""

    def refusing(lists: Any, sample: Any, epoch: int) -> Any:
        if sample.key[-1] in "257":
            raise ValueError("not this one")
        return prepare(lists, sample, epoch)

    return refusing


def slowly(config: TrainRankerConfig, processes: Processes, tell: Callable[[Any], None]) -> None:
    """So that there is time to stop it; in a process of its own."""
    RankerLists._prepare = without_some(RankerLists._prepare)  # type: ignore[method-assign]

    def tell_and_wait(event: Any) -> None:
        tell(event)
        if isinstance(event, TrainingReport):
            time.sleep(1)

    run_train_ranker(config, processes, tell_and_wait)


@pytest.mark.usefixtures("_ray")
def test_two_workers_train_what_one_does_and_one_goes_on_where_two_were_stopped(
    scene_shards: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RankerLists, "_prepare", without_some(RankerLists._prepare))
    settings: dict[str, Any] = {"epochs": 20, "checkpoint_every": 1000}
    alone = train_in_process(ranker_config(scene_shards, scores, tmp_path / "alone", **settings))
    config = ranker_config(scene_shards, scores, tmp_path / "changing", **settings)
    two = Told(stop_at=10)
    with pytest.raises(KeyboardInterrupt):
        train_on_workers(partial(slowly, config), TWO, locate(config.out), two)
    assert not (tmp_path / "changing/ray-train").exists()
    (state,) = (tmp_path / "changing/checkpoints").iterdir()
    stopped_at = int(state.name.split("-")[1].split(".")[0])
    assert 20 <= stopped_at < alone.summary().steps

    one = train_in_process(config)
    assert one.summary().started_at == stopped_at
    whole = curve(alone)
    assert curve(two) == pytest.approx({step: whole[step] for step in curve(two)}, abs=1e-3)
    assert curve(one) == pytest.approx({step: loss for step, loss in whole.items() if step > stopped_at}, abs=1e-3)
    assert one.summary().best.selected_by == pytest.approx(alone.summary().best.selected_by, abs=0.05)


def curve(told: Told) -> dict[int, float]:
    """Loss by step."""
    return {report.step: report.loss for report in told.reports()}


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_workers_that_die_are_replaced_and_go_on_from_the_last_checkpoint(
    scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    config = ranker_config(scene_shards, scores, tmp_path / "ranker", checkpoint_every=1)
    train_in_process(ranker_config(scene_shards, scores, tmp_path / "alone"))
    told = Told()
    train_on_workers(partial(dying_once, config, tmp_path / "died"), TWO, locate(config.out), told)
    assert (tmp_path / "died").exists()
    assert told.summary().started_at in (2, 3)
    whole, parts = weights_of(tmp_path / "alone"), weights_of(tmp_path / "ranker")
    assert all(torch.allclose(whole[name], parts[name], atol=1e-3) for name in whole)


def dying_once(config: TrainRankerConfig, marker: Path, processes: Processes, tell: Callable[[Any], None]) -> None:
    """The second worker dies in its fourth batch, as if it had been killed."""
    from stages.ranking.lists import RankerLists

    def is_first_time() -> bool:
        is_first = not marker.exists()
        marker.touch()
        return is_first

    with second_worker_dies(RankerLists, 3, processes, is_first_time):
        run_train_ranker(config, processes, tell)


@pytest.mark.slow
@pytest.mark.usefixtures("_ray")
def test_what_is_wrong_with_the_users_settings_comes_back_as_it_was_said(
    scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    config = ranker_config(scene_shards, scores, tmp_path / "ranker", batch_size=3)
    with pytest.raises(ValueError, match=r"^batch_size: expected a multiple of 2 workers times accumulate 1, got 3$"):
        train_on_workers(partial(run_train_ranker, config), TWO, locate(config.out), Told())


@pytest.mark.usefixtures("_ray")
def test_more_workers_than_there_are_cores_for_are_refused(tmp_path: Path) -> None:
    many = TrainingExecutionConfig(workers=1000, cpus_per_worker=2)
    with pytest.raises(ValueError, match=r"workers: 1000 with 2 cores each; Ray has \d+ cores"):
        train_on_workers(do_nothing, many, locate(tmp_path), print)


def do_nothing(processes: Processes, tell: Callable[[Any], None]) -> None:
    pass


def test_one_worker_trains_in_this_process(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    told = Told()
    config = ranker_config(scene_shards, scores, tmp_path / "ranker", epochs=1)
    run_training(partial(run_train_ranker, config), TrainingExecutionConfig(), locate(config.out), told)
    assert told.summary().steps == 3


def test_several_workers_in_one_process_are_refused(tmp_path: Path) -> None:
    execution = TrainingExecutionConfig(executor="in-process", workers=2)
    with pytest.raises(ValueError, match="workers: expected 1 with executor in-process, got 2"):
        run_training(do_nothing, execution, locate(tmp_path), print)


def test_the_command_trains_tells_and_names_the_next_one(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    from pipeline.commands.train_ranker import train_ranker

    arguments = ["--shards", str(scene_shards), "--scores", str(scores), "--out", str(tmp_path / "ranker")]
    small = ["--width", "16", "--depth", "1", "--heads", "2", "--epochs", "2", "--warmup-epochs", "1"]
    result = CliRunner().invoke(train_ranker, [*arguments, *small, "--batch-size", "4", "--split", "shard"])
    assert result.exit_code == 0, result.output
    assert "in mask: kendall" in result.output
    assert "Next: ltrp-pipeline evaluate-ranker" in result.output
    events = (tmp_path / "ranker/events.jsonl").read_text().splitlines()
    assert sum('"event": "validation"' in line for line in events) == 2
    assert list((tmp_path / "ranker/tensorboard").iterdir())
    again = CliRunner().invoke(train_ranker, [*arguments, *small, "--batch-size", "4", "--split", "shard"])
    assert "is already finished" in again.output
