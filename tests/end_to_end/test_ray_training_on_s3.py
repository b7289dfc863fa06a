"""Two workers of Ray Train with everything in a bucket: checkpoints are written there, and gone on from."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from pipeline.cli import main
from storage.locations import Location, locate

TWO = {"workers": 2, "cpus_per_worker": 1, "device": "cpu"}
ALONE = {"executor": "in-process", "device": "cpu"}
MAE: dict[str, Any] = {
    "image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2,
    "decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2,
    "steps": 6, "batch_size": 4, "warmup_steps": 1, "checkpoint_every": 2,
}  # fmt: skip
RANKER: dict[str, Any] = {
    "width": 16, "depth": 1, "heads": 2, "epochs": 3, "warmup_epochs": 1, "batch_size": 4, "checkpoint_every": 1,
    "split": "shard", "validation": 0.25,
}  # fmt: skip


class Killed(BaseException):
    """Stands for a SIGKILL: nothing in the program catches it."""


def call(command: str, **options: Any) -> str:
    arguments = [command]
    for name, value in options.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def upload(folder: Path, place: Location) -> str:
    for path in locate(folder).walk():
        place.write(path, locate(folder).read(path))
    return place.url


def weights_in(place: Location) -> dict[str, torch.Tensor]:
    from io import BytesIO

    from safetensors.torch import load

    (name,) = (name for name in place.names() if name.endswith((".safetensors", ".pt")))
    data = place.read(name)
    if name.endswith(".pt"):
        loaded: dict[str, torch.Tensor] = torch.load(BytesIO(data), weights_only=True)
        return loaded
    return load(data)


@pytest.fixture
def place(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Location:
    """An empty folder of a bucket; no pipeline.yaml here."""
    monkeypatch.chdir(tmp_path)
    return locate(f"{s3_bucket}/{uuid.uuid4().hex}")


@pytest.mark.slow
@pytest.mark.parametrize("command", ["pretrain-mae", "train-ranker"])
def test_two_workers_train_in_a_bucket_what_one_does_and_go_on_from_its_checkpoints(
    command: str, place: Location, scene_shards: Path, scores: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = upload(scene_shards, place.child("tars"))
    options: dict[str, Any] = {"shards": shards, **MAE}
    if command == "train-ranker":
        options = {"shards": shards, "scores": upload(scores, place.child("scores")), **RANKER}
    call(command, out=f"{place.url}/alone", **options, **ALONE)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        stop_after(2, patch)
        call(command, out=f"{place.url}/two", **options, **ALONE)
    assert place.names("two/checkpoints")
    assert "going on" in (told := call(command, out=f"{place.url}/two", **options, **TWO)) or "resuming" in told
    assert place.names("two/checkpoints") == []
    assert [path for path in place.walk("two") if "ray" in path] == [], "Ray Train's own notes are gone"
    alone, two = weights_in(place.child("alone")), weights_in(place.child("two"))
    assert alone.keys() == two.keys()
    for name, weight in alone.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-4)


def stop_after(saves: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training in this process dies after so many checkpoints."""
    from storage import checkpoints

    saved: list[Callable[..., None]] = []

    def save_and_die(*arguments: Any, **settings: Any) -> None:
        checkpoints.save_checkpoint(*arguments, **settings)
        saved.append(save_and_die)
        if len(saved) == saves:
            raise Killed

    monkeypatch.setattr("stages.training.run.save_checkpoint", save_and_die)
