"""A trained model of a task on disk: task.safetensors, and task.json, which comes last."""

from __future__ import annotations

import dataclasses
import json
from textwrap import shorten
from typing import Any

import safetensors.torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError

from stages.tasks.architecture import EncoderConfig
from stages.tasks.class_lists import KnownClasses
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
    select_version: int | None = None
    """`stages.selectors.VERSIONS` when it was trained; None for the first."""
    index_names: tuple[tuple[int, str], ...] | None = None
    """Numbers and names of the classes in the index of the training shards; empty where it has no names, None where
    that is not known."""

    def known_classes(self, where: str) -> KnownClasses:
        """As other shards are matched with them."""
        names = dict(zip(self.classes.ids, self.classes.names, strict=True))
        index_names = None if self.index_names is None else dict(self.index_names)
        return KnownClasses(where, names, index_names, self.options.ignore_classes)


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
        saved = TypeAdapter(SavedTask).validate_json(place.read(MODEL_FILE))
        model = TASKS[saved.task].model(saved.encoder.build(), saved.classes, saved.options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ValueError(f"{where}: expected what train-task writes: {field}: {first['msg']}") from None
    except ValueError as error:
        raise ValueError(f"{where}: expected what train-task writes: {_line(error)}") from None
    where = f"{place.url}/{WEIGHTS_FILE}"
    try:
        weights = safetensors.torch.load(place.read(WEIGHTS_FILE))
    except SafetensorError as error:
        raise ValueError(f"{where}: expected safetensors: {_line(error)}") from None
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"{where}: expected the weights of the model in {MODEL_FILE}: {_line(error)}") from None
    return saved, model.eval()


def _line(error: Exception) -> str:
    return shorten(str(error), 300, placeholder=" …")
