"""Every command with every path in an object store: shards, models, stores, checkpoints, reports and pictures."""

from __future__ import annotations

import io
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from pipeline.cli import main
from stages.tasks.throughput import measure
from storage import checkpoints
from storage.locations import Location, locate

MAE: dict[str, Any] = {
    "image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2,
    "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2,
    "steps": 6, "batch_size": 4, "warmup_steps": 1, "checkpoint_every": 2,
}  # fmt: skip
RANKER: dict[str, Any] = {
    "width": 16, "depth": 1, "heads": 2, "epochs": 3, "warmup_epochs": 1, "batch_size": 4, "checkpoint_every": 1,
    "split": "shard", "validation": 0.25,
}  # fmt: skip
TASK: dict[str, Any] = {
    "epochs": 2, "warmup_epochs": 1, "batch_size": 4, "keep_ratio": "0.25,1", "select": "topk", "checkpoint_every": 2,
}  # fmt: skip


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


@pytest.fixture(autouse=True)
def _quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here, and no time spent on exact speeds and narrow intervals."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("stages.ranking.quality.RESAMPLES", 100)
    monkeypatch.setattr("stages.tasks.throughput.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("stages.evaluate_task.measure", partial(measure, seconds=0.0))
    monkeypatch.setattr("stages.evaluate_task.selector_cost", lambda *_, **__: (1e6, 1e-3))


@pytest.fixture
def place(s3_bucket: str) -> Location:
    return locate(f"{s3_bucket}/{uuid.uuid4().hex}")


def call(*command: Any, exit_code: int = 0, **options: Any) -> str:
    arguments = [*map(str, command)]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == exit_code, result.output
    return result.output


def call_killed(monkeypatch: pytest.MonkeyPatch, *command: Any, **options: Any) -> None:
    """The command dies after its second checkpoint."""
    saved = []

    def save_and_die(*arguments: Any, **settings: Any) -> None:
        checkpoints.save_checkpoint(*arguments, **settings)
        saved.append(arguments)
        if len(saved) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr("stages.training.run.save_checkpoint", save_and_die)
        with pytest.raises(Killed):
            call(*command, **options)


def assert_pictures(place: Location, *paths: str) -> None:
    for path in paths:
        assert Image.open(io.BytesIO(place.read(path))).format == "PNG", path


def pretrain_and_score(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage one: shard, pretrain-mae (killed and run again), score, status, verify, and repair of what was damaged."""
    at = f"{place.url}/{{}}".format
    call("shard", scenes=16, scene_size=40, shard_size=4, name="scenes", out=at("shards"))

    pretraining: dict[str, Any] = {"shards": at("shards"), "out": at("mae"), **MAE}
    call_killed(monkeypatch, "pretrain-mae", **pretraining)
    assert place.names("mae/checkpoints")
    assert "resuming after step 4 of 6" in call("pretrain-mae", **pretraining)
    assert place.names("mae/checkpoints") == []
    assert_pictures(place, "mae/reconstructions.png")

    scoring: dict[str, Any] = {
        "shards": at("shards"), "mae": at("mae"), "out": at("scores"), "mask_ratio": 0.75, "precision": "fp32",
        "executor": "in-process",
    }  # fmt: skip
    assert "4 of 4 shards are done (4 in this run)" in call("score", **scoring)
    assert "done    4" in call("status", at("scores"))
    call("verify", at("scores"))
    whole = {path: place.read(path) for path in place.walk("scores")}
    damaged = "scores/shards/scenes-000001/score/c/0/0/0/0"
    place.write(damaged, whole[damaged][:-1] + b"?")
    place.delete("scores/shards/scenes-000002/visible/zarr.json")
    assert "2 of 4 shards are whole, 2 damaged, 0 missing" in call("verify", at("scores"), exit_code=1)
    assert "4 of 4 shards are done (2 in this run)" in call("score", **scoring)
    again = {path: place.read(path) for path in place.walk("scores")}
    assert {path: data for path, data in again.items() if path in whole} == whole
    added = again.keys() - whole.keys()
    assert all(path.startswith("scores/books/events/") for path in added)
    assert len(added) == 1, "of the second run"
    call("verify", at("scores"))


def test_images_become_scores_with_every_path_in_a_bucket(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrain_and_score(place, monkeypatch)


@pytest.mark.slow
def test_the_whole_pipeline_with_every_path_in_a_bucket(place: Location, monkeypatch: pytest.MonkeyPatch) -> None:
    at = f"{place.url}/{{}}".format
    pretrain_and_score(place, monkeypatch)
    training: dict[str, Any] = {
        "shards": at("shards"),
        "scores": at("scores"),
        "out": at("ranker"),
        "device": "cpu",
        **RANKER,
    }
    call_killed(monkeypatch, "train-ranker", **training)
    assert place.names("ranker/checkpoints")
    assert "resuming after step" in call("train-ranker", **training)
    assert "is already finished" in call("train-ranker", **training)
    evaluated: dict[str, Any] = {
        "shards": at("shards"),
        "scores": at("scores"),
        "ranker": at("ranker"),
        "device": "cpu",
    }
    call("evaluate-ranker", out=at("evaluation"), **evaluated)
    ranking: dict[str, Any] = {
        "shards": at("shards"),
        "ranker": at("ranker"),
        "precision": "fp32",
        "executor": "in-process",
    }
    assert "4 of 4 shards are done" in call("rank", out=at("ranks"), **ranking)
    call("verify", at("ranks"))
    call("coverage", shards=at("shards"), ranks=at("ranks"), out=at("coverage"), keep_ratio=0.25, select="topk")

    data = {"shards": at("shards"), "ranks": at("ranks")}
    tasks: dict[str, Any] = {**data, "init": at("mae"), "out": at("tasks"), "device": "cpu", **TASK}
    call_killed(monkeypatch, "train-task", "classify", **tasks)
    assert "resuming after step" in call(
        "train-task", "classify", eval_shards=at("shards"), eval_ranks=at("ranks"), **tasks
    )
    assert place.names("tasks/topk-0.25-seed0/checkpoints") == []
    judged: dict[str, Any] = {**data, "model": at("tasks/topk-0.25-seed0"), "device": "cpu"}
    call("evaluate-task", out=at("judged"), keep_ratio=0.5, **judged)
    call("compare", at("tasks"), at("judged"), out=at("compared"))
    assert_pictures(place, "evaluation/agreement.png", "coverage/coverage.png", "compared/classify.png")
    for table in ("coverage/coverage.md", "tasks/classify.md", "compared/classify.md"):
        assert place.read(table).startswith(b"#") or b"|" in place.read(table)
    assert place.names("ranks/books/events")
    assert place.names("ranker/events")
    assert list(Path().iterdir()) == [], "nothing is on this machine"
