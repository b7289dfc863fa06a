"""Trained models of tasks on disk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from checksums import forget_checksums
from torch import Tensor

from stages.settings.choices import TaskName
from stages.tables import TASKS
from stages.tasks.architecture import EncoderConfig
from stages.tasks.models import MODEL_FILE, WEIGHTS_FILE, SavedTask, load_task, save_task
from stages.tasks.runs import TaskRun
from stages.tasks.task import Classes, TaskModel, TaskOptions
from storage.locations import Location, locate

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
KEPT = torch.tensor([[0, 3, 4, 9], [1, 2, 7, 15]])
ENCODER = EncoderConfig(image_size=32, patch_size=8, width=32, depth=2, heads=2, drop_path=0.5)


def saved_task(task: TaskName = "classify", **changes: Any) -> SavedTask:
    saved = SavedTask(
        task=task,
        run=TaskRun("topk+cluster", 0.25, 3),
        selector="ltrp",
        encoder=ENCODER,
        classes=Classes((0, 2, 7), ("cat", "guide dog", "größer")),
        options=TaskOptions(image_size=32, label_smoothing=0.1, multilabel_loss="bce", ignore_classes=(4, 9)),
        recipe={"epochs": 20, "clip_norm": None, "init": "abc", "ignore_classes": [4, 9]},
        training_seconds=12.5,
    )
    return dataclasses.replace(saved, **changes)


def model_of(saved: SavedTask, seed: int = 0) -> TaskModel:
    """Every weight is moved, so that none is without effect."""
    torch.manual_seed(seed)
    model = TASKS[saved.task].model(saved.encoder.build(), saved.classes, saved.options)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return model.eval()


@torch.no_grad()
def predictions(model: TaskModel) -> list[Tensor]:
    found = model(IMAGES, KEPT)
    return [found] if isinstance(found, Tensor) else [values for each in found for values in each.values()]


def save(place: Location, saved: SavedTask) -> TaskModel:
    model = model_of(saved)
    save_task(place, model, saved)
    return model


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("task", TASKS)
def test_what_was_saved_is_loaded_and_predicts_the_same(task: TaskName, tmp_path: Path) -> None:
    """Ready to predict: in training, stochastic depth would leave blocks out."""
    saved = saved_task(task)
    model = save(locate(tmp_path), saved)
    found, loaded = load_task(locate(tmp_path))
    assert found == saved
    assert not loaded.training
    assert same(predictions(loaded), predictions(model))
    assert not same(predictions(model_of(saved, seed=1)), predictions(model))
    assert (tmp_path / MODEL_FILE).read_text().endswith("}\n")


def test_a_model_is_kept_in_any_kind_of_place(location: Location) -> None:
    model = save(location, saved_task())
    assert same(predictions(load_task(location)[1]), predictions(model))


@pytest.mark.parametrize(
    "changes",
    [
        {"training_seconds": None},
        {"run": TaskRun("full", 1.0, 0), "selector": "full", "recipe": {}},
        {"options": TaskOptions(image_size=32)},
        {"encoder": EncoderConfig(image_size=32, patch_size=16, timm="test_vit")},
    ],
)
def test_all_that_is_known_of_a_model_comes_back(changes: dict[str, Any], tmp_path: Path) -> None:
    saved = saved_task(**changes)
    save_task(locate(tmp_path), TASKS["classify"].model(saved.encoder.build(), saved.classes, saved.options), saved)
    assert load_task(locate(tmp_path))[0] == saved


def test_a_loaded_model_can_be_trained_on_with_the_loss_of_its_options(tmp_path: Path) -> None:
    saved = saved_task("multilabel")
    model = save(locate(tmp_path), saved)
    targets = {"classes": torch.tensor([[1.0, 0, 0], [0, 1, 1]])}
    expected = model(IMAGES, KEPT, targets)["loss"]
    assert torch.equal(load_task(locate(tmp_path))[1](IMAGES, KEPT, targets)["loss"], expected)
    asymmetric = dataclasses.replace(saved.options, multilabel_loss="asymmetric")
    save_task(locate(tmp_path), model, dataclasses.replace(saved, options=asymmetric))
    assert not torch.equal(load_task(locate(tmp_path))[1](IMAGES, KEPT, targets)["loss"], expected)


def test_without_a_model_the_folder_is_named(tmp_path: Path) -> None:
    message = r"nothing: no model of a task there: expected a folder with task\.json"
    with pytest.raises(FileNotFoundError, match=message):
        load_task(locate(tmp_path / "nothing"))


def test_the_description_comes_last_so_that_half_a_model_is_none(tmp_path: Path, monkeypatch) -> None:
    written: list[str] = []
    write = Location.write

    def noted(place: Location, name: str, data: bytes) -> None:
        written.append(name)
        write(place, name, data)

    monkeypatch.setattr(Location, "write", noted)
    save(locate(tmp_path), saved_task())
    assert written == [WEIGHTS_FILE, MODEL_FILE]


def refused(place: Path, message: str, error: type[Exception] = ValueError) -> None:
    with pytest.raises(error, match=message) as raised:
        load_task(locate(place))
    assert "\n" not in str(raised.value)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    save(locate(tmp_path), saved_task())
    (tmp_path / WEIGHTS_FILE).unlink()
    refused(tmp_path, r"task\.safetensors", FileNotFoundError)


def changed(*path: str, to: Any) -> Callable[[bytes], bytes]:
    """One value of the description replaced, or taken away for `...`."""

    def change(data: bytes) -> bytes:
        whole = found = json.loads(data)
        for name in path[:-1]:
            found = found[name]
        if to is ...:
            del found[path[-1]]
        else:
            found[path[-1]] = to
        return json.dumps(whole).encode()

    return change


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[:100],
        lambda data: b"\xff" + data,
        lambda data: b"[]",
        lambda data: b"null",
        lambda data: b"{}",
        changed("task", to="sing"),
        changed("task", to=["classify"]),
        changed("run", to=...),
        changed("run", to=None),
        changed("run", "seed", to="three"),
        changed("run", "select", to="best"),
        changed("encoder", "width", to=...),
        changed("encoder", "width", to="wide"),
        changed("encoder", "image_size", to=...),
        changed("classes", "ids", to=["a", "b", "c"]),
        changed("classes", "names", to=None),
        changed("options", "ignore_classes", to=None),
        changed("options", "multilabel_loss", to="other"),
        changed("run", "seed", to=True),
        changed("run", "seed", to="3"),
        changed("encoder", "depth", to=10**7),
        changed("encoder", "width", to=10**9),
        changed("encoder", "heads", to=5),
        changed("encoder", "heads", to=-2),
        changed("encoder", "image_size", to=32.5),
        changed("encoder", "drop_path", to=2.0),
        lambda data: b"[" * 100_000,
    ],
)
def test_a_description_that_is_damaged_is_refused_in_one_line(damage, tmp_path: Path) -> None:
    save(locate(tmp_path), saved_task())
    path = tmp_path / MODEL_FILE
    path.write_bytes(damage(path.read_bytes()))
    refused(tmp_path, r"task\.json: (expected (what train-task writes: |a JSON object, got )|not as it was written: )")


def test_a_name_for_each_class_is_wanted(tmp_path: Path) -> None:
    save(locate(tmp_path), saved_task())
    path = tmp_path / MODEL_FILE
    path.write_bytes(changed("classes", "names", to=["cat", "dog"])(path.read_bytes()))
    refused(tmp_path, r"task\.json: classes: expected a name for each id, got 3 ids and 2 names")


def test_a_model_of_an_earlier_version_has_no_checksums_and_is_read(tmp_path: Path) -> None:
    model = save(locate(tmp_path), saved_task())
    forget_checksums(tmp_path / MODEL_FILE)
    assert same(predictions(load_task(locate(tmp_path))[1]), predictions(model))


def test_heads_that_were_edited_are_refused_though_the_weights_do_not_show_them(tmp_path: Path) -> None:
    save(locate(tmp_path), saved_task())
    path = tmp_path / MODEL_FILE
    path.write_bytes(changed("encoder", "heads", to=4)(path.read_bytes()))
    refused(tmp_path, r"task\.json: not as it was written: expected SHA-256 ")


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:1000], lambda data: b"no tensors" + data])
def test_weights_that_are_damaged_are_refused_in_one_line(damage, tmp_path: Path) -> None:
    save(locate(tmp_path), saved_task())
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(damage(path.read_bytes()))
    refused(tmp_path, r"task\.safetensors: not as it was written: expected SHA-256 ")
    forget_checksums(tmp_path / MODEL_FILE)
    refused(tmp_path, r"task\.safetensors: expected a whole safetensors file: ")


@pytest.mark.parametrize(
    "other",
    [
        {"task": "segment"},
        {"classes": Classes((0, 1), ("cat", "dog"))},
        {"encoder": dataclasses.replace(ENCODER, depth=1)},
        {"encoder": dataclasses.replace(ENCODER, width=64)},
    ],
)
def test_weights_of_another_model_are_refused_in_one_line(other: dict[str, Any], tmp_path: Path) -> None:
    save(locate(tmp_path), saved_task())
    weights = model_of(saved_task(**other)).state_dict()
    (tmp_path / WEIGHTS_FILE).write_bytes(safetensors.torch.save(weights))
    refused(tmp_path, r"task\.safetensors: not as it was written: expected SHA-256 ")
    forget_checksums(tmp_path / MODEL_FILE)
    refused(tmp_path, r"task\.safetensors: not the weights of its architecture: ")
