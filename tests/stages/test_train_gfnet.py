"""`train-gfnet` in one process: its three steps, what it notes, refuses and goes on from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from glances import gfnet_config, train_gfnet
from ranked_tars import write_tar
from task_runs import painted

from stages.glancing.files import load_glance
from stages.glancing.learning import STEPS, Step
from stages.methods.gfnet import Gfnet
from stages.methods.load_method import load_method
from stages.settings.rank import RankConfig
from stages.train_gfnet import FOLDERS, TrainGfnetSummary
from storage.dense_scores import PatchGrid
from storage.locations import locate


@pytest.fixture(scope="module")
def tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine pictures of four colours, one of which cannot be used."""
    folder = tmp_path_factory.mktemp("painted")
    write_tar(folder, "a", [f"k{n}" for n in range(6)], painted(range(16)))
    write_tar(folder, "b", [f"k{n}" for n in range(6, 9)], painted(range(16)))
    return folder / "tars"


@pytest.fixture(scope="module")
def trained(tars: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_gfnet(gfnet_config(tars, folder, eval_shards=[str(tars / "b.tar")]))
    return folder


@pytest.fixture(autouse=True)
def _report_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.train_gfnet.REPORT_EVERY", 1)


def weights_in(folder: Path) -> dict[str, torch.Tensor]:
    return load_glance(locate(folder))[1].state_dict()


def test_each_step_begins_where_the_one_before_ended(trained: Path) -> None:
    first, second, last = (weights_in(trained / folder) for folder in ("backbones", "policy", ""))

    def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
        return {name.partition(".")[0] for name in before if not torch.equal(before[name], after[name])}

    assert changed(first, second) == {"policy"}
    assert changed(second, last) == {"glance", "focus", "classifier"}


def test_colours_are_learnt(tars: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"epochs": 12, "base_learning_rate": 0.5, "min_scale": 0.9, "looks": 1}
    reports = train_gfnet(gfnet_config(tars, tmp_path, **settings), STEPS[:1])[0].reports()
    accuracy = [report.metrics["accuracy after all looks"] for report in reports]
    assert sum(accuracy[:2]) / 2 < 0.5
    assert sum(accuracy[-8:]) / 8 > 0.8


@pytest.mark.parametrize("step", STEPS)
def test_an_interrupted_step_goes_on_as_if_it_had_not_been(
    step: Step, tars: Path, trained: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / FOLDERS[step]).glob("*"):
        if path.name in {"gfnet.json", "gfnet.safetensors", "training.json"}:
            path.unlink()
    config = gfnet_config(tars, tmp_path, eval_shards=[str(tars / "b.tar")])
    with pytest.raises(KeyboardInterrupt):
        train_gfnet(config, (step,), stop_at=1)
    (told,) = train_gfnet(config, (step,))
    assert told.reports()[0].step == 2
    weights = Path(FOLDERS[step]) / "gfnet.safetensors"
    assert (tmp_path / weights).read_bytes() == (trained / weights).read_bytes()


def test_a_finished_training_is_left_alone_and_told_of(tars: Path, trained: Path) -> None:
    before = {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()}
    told = train_gfnet(gfnet_config(tars, trained, eval_shards=[str(tars / "b.tar")]))
    assert not any(each.reports() for each in told)
    (summary,) = (event for event in told[-1].events if isinstance(event, TrainGfnetSummary))
    saved, _ = load_glance(locate(trained))
    assert summary.accuracy == saved.accuracy
    assert saved.accuracy is not None
    assert len(saved.accuracy) == 3
    assert all(part * 3 == pytest.approx(round(part * 3)) for part in saved.accuracy), "of three pictures"
    assert {path: path.read_bytes() for path in trained.rglob("*") if path.is_file()} == before
    names = {str(path.relative_to(trained)) for path in before}
    of_step = ("gfnet.json", "gfnet.safetensors", "training.json")
    assert names == {
        "gfnet-classes.json",
        *of_step,
        *(f"{s}/{name}" for s in ("backbones", "policy") for name in of_step),
    }


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 3}, "epochs: 2 in the folder, 3 now"),
        ({"looks": 3}, "gfnet.looks: 2 in the folder, 3 now"),
        ({"seed": 1}, "seed: 0 in the folder, 1 now"),
        ({"base_learning_rate": 1.0}, r"base_learning_rate: 0.004 in the folder, 1.0 now"),
    ],
)
def test_other_settings_for_the_same_folder_are_refused(
    settings: dict[str, Any], message: str, tars: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        train_gfnet(gfnet_config(tars, tmp_path), STEPS[:1], stop_at=1)
    with pytest.raises(ValueError, match=message):
        train_gfnet(gfnet_config(tars, tmp_path, **settings), STEPS[:1])


def test_what_cannot_be_trained_or_judged_is_refused_before_anything_is_computed(tars: Path, tmp_path: Path) -> None:
    def refused(message: str, data: Path = tars, **settings: Any) -> None:
        with pytest.raises(ValueError, match=message) as raised:
            train_gfnet(gfnet_config(data, tmp_path / "out", **settings))
        assert "\n" not in str(raised.value)

    refused("glance window: expected a multiple of the patch size 8, got 20", window=20)
    refused("backbone test_vit: expected a convolutional network of timm", backbone="test_vit")
    write_tar(tmp_path / "one", "a", ["k0", "k4"], painted(range(16)))
    refused("expected images of at least two classes to tell apart, got 1", tmp_path / "one/tars")
    write_tar(tmp_path / "wordless", "a", ["k0", "k1"], lambda key, fields: {"png": fields["png"]})
    refused(r"a\.tar: k0: expected a class in the field cls", tmp_path / "wordless/tars")
    write_tar(tmp_path / "more", "a", ["k0"], lambda key, fields: {**fields, "cls": b"77"})
    refused("class 77: expected one of 4", eval_shards=[str(tmp_path / "more/tars")])
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("*.safetensors"))


def loaded(model: Path) -> Gfnet:
    method = load_method("gfnet", RankConfig(shards=["a"], out="b", method="gfnet", model=str(model)))
    assert isinstance(method, Gfnet)
    return method


def test_scores_are_the_order_of_its_looks(trained: Path) -> None:
    """Asked of policy and networks step by step, beside what the method gives."""
    method = loaded(trained)
    assert method.grid == PatchGrid(48, 8)
    images = torch.randint(0, 256, (3, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    scores = method.score(images, [])
    network, pixels = method.network, method.normalised(images)
    with torch.no_grad():
        seen, state, shown = network.see_whole(pixels), None, torch.zeros(3, 36, dtype=torch.bool)
        for number in range(2):
            location, _, state = network.policy(seen.map, state)
            location = (location * 3).round() / 3  # a window of 3 patches has 4 places in 6
            seen = network.see_window(pixels, location, seen)
            for image, (row, column) in enumerate((location * 3).round().long().tolist()):
                here = [(row + y) * 6 + column + x for y in range(3) for x in range(3)]
                new = [patch for patch in here if not shown[image, patch]]
                assert ((scores[image, new] > 2 - number) & (scores[image, new] <= 3 - number)).all()
                shown[image, here] = True
        assert (scores[~shown] < 1).all()
    assert (scores[shown] > 1).all()


def test_a_model_of_another_kind_is_refused(trained: Path, tars: Path, tmp_path: Path) -> None:
    for model, message in ((tars, "no model of train-gfnet there"), (tmp_path, "no model of train-gfnet there")):
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            loaded(model)
    with pytest.raises(ValueError, match="--method gfnet: expected --model, a folder of train-gfnet"):
        load_method("gfnet", RankConfig(shards=["a"], out="b", method="gfnet"))
    assert (
        loaded(trained).settings["model.looks"] == json.loads((trained / "gfnet.json").read_text())["config"]["looks"]
    )
