"""A trained model of a task on disk: task.safetensors, and task.json, which comes last."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import safetensors.torch
from safetensors import SafetensorError

from stages.tasks.architecture import EncoderConfig
from stages.tasks.runs import TaskRun
from stages.tasks.table import TASKS, TaskName
from stages.tasks.task import Classes, TaskModel, TaskOptions
from storage.locations import Location

MODEL_FILE = "task.json"
WEIGHTS_FILE = "task.safetensors"


@dataclasses.dataclass(frozen=True)
class SavedTask:
    """What is known of a trained model."""

    task: TaskName
    run: TaskRun
    selector: str
    """What its scores are called in tables."""
    encoder: EncoderConfig
    classes: Classes
    options: TaskOptions
    recipe: dict[str, Any]
    """All settings that the models of one comparison have in common."""
    training_seconds: float | None
    """Of all steps, at the rate of those of the last start."""


def save_task(place: Location, model: TaskModel, saved: SavedTask) -> None:
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    place.write(WEIGHTS_FILE, safetensors.torch.save(weights))
    place.write(MODEL_FILE, (json.dumps(dataclasses.asdict(saved), indent=1) + "\n").encode())


def load_task(place: Location) -> tuple[SavedTask, TaskModel]:
    """Raises FileNotFoundError, or ValueError naming the file, what was expected and what came."""
    if not place.exists(MODEL_FILE):
        raise FileNotFoundError(f"{place.url}: no model of a task there: expected a folder with {MODEL_FILE}")
    where = f"{place.url}/{MODEL_FILE}"
    try:
        saved = _decode(json.loads(place.read(MODEL_FILE)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{where}: expected what train-task writes: {error}") from None
    model = TASKS[saved.task].model(saved.encoder.build(), saved.classes, saved.options)
    where = f"{place.url}/{WEIGHTS_FILE}"
    try:
        weights = safetensors.torch.load(place.read(WEIGHTS_FILE))
    except SafetensorError as error:
        raise ValueError(f"{where}: expected safetensors: {error}") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{where}: expected the weights of the model in {MODEL_FILE}: {error}") from None
    return saved, model.eval()


def _decode(found: dict[str, Any]) -> SavedTask:
    if found["task"] not in TASKS:
        raise ValueError(f"task: expected one of {', '.join(TASKS)}, came {found['task']!r}")
    classes, options = found["classes"], found["options"]
    return SavedTask(
        **{
            **found,
            "run": TaskRun(**found["run"]),
            "encoder": EncoderConfig(**found["encoder"]),
            "classes": Classes(tuple(classes["ids"]), tuple(classes["names"])),
            "options": TaskOptions(**{**options, "ignore_classes": tuple(options["ignore_classes"])}),
        }
    )
