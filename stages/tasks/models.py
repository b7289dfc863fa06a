"""A trained model of a task on disk: task.safetensors, and task.json, which comes last."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from textwrap import shorten
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ranker.digest import FIELD, file_checksums, refuse_other_files
from ranker.named_tensors import refuse_misfits
from ranker.tensor_files import decode_safetensors, encode_safetensors
from stages.settings.choices import TaskName
from stages.tables import TASKS
from stages.tasks.architecture import EncoderConfig
from stages.tasks.class_lists import KnownClasses
from stages.tasks.classes_file import refuse_odd_classes
from stages.tasks.runs import TaskRun
from stages.tasks.task import Classes, TaskModel, TaskOptions
from storage.json_files import read_json_object
from storage.locations import Location
from storage.recognition import refuse_what_lies

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
    """The version of its selector when it was trained; None for the first."""
    index_names: tuple[tuple[int, str], ...] | None = None
    """Numbers and names of the classes in the index of the training shards; empty where it has no names, None where
    that is not known."""

    def known_classes(self, where: str) -> KnownClasses:
        """As other shards are matched with them."""
        names = dict(zip(self.classes.ids, self.classes.names, strict=True))
        index_names = None if self.index_names is None else dict(self.index_names)
        return KnownClasses(where, names, index_names, self.options.ignore_classes)


def save_task(place: Location, model: TaskModel, saved: SavedTask) -> None:
    weights, description = encode_safetensors(model), dataclasses.asdict(saved)
    if saved.encoder.dropping is None:
        del description["encoder"]["dropping"]  # as in earlier versions, which had none
    place.write(WEIGHTS_FILE, weights)
    description[FIELD] = file_checksums(_deciding(description), weights)
    place.write(MODEL_FILE, (json.dumps(description, indent=1) + "\n").encode())


def load_task(place: Location) -> tuple[SavedTask, TaskModel]:
    """Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got."""
    if not place.exists(MODEL_FILE):
        refuse_what_lies(place, "model of a task", f"a folder with {MODEL_FILE}")
    config_url, weights_url = f"{place.url}/{MODEL_FILE}", f"{place.url}/{WEIGHTS_FILE}"
    description = read_json_object(place, MODEL_FILE)
    try:
        saved = TypeAdapter(SavedTask).validate_json(json.dumps(description), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ValueError(f"{config_url}: expected what train-task writes: {field}: {first['msg']}") from None
    refuse_odd_classes(saved.classes, config_url)
    if not place.exists(WEIGHTS_FILE):
        raise FileNotFoundError(f"{weights_url}: missing")
    data = place.read(WEIGHTS_FILE)
    noted = description.get(FIELD)
    refuse_other_files(noted, _deciding(description), data, config_url=config_url, weights_url=weights_url)
    weights = decode_safetensors(data, weights_url)

    def build() -> TaskModel:
        try:
            return TASKS[saved.task].model(saved.encoder.build(), saved.classes, saved.options)
        except (ValueError, RuntimeError) as error:  # of numbers that do not fit each other
            raise ValueError(f"{config_url}: expected what train-task writes: {_line(error)}") from None

    refuse_misfits(build, weights, weights_url)
    model = build()
    model.load_state_dict(weights)
    return saved, model.eval()


def _deciding(description: Mapping[str, Any]) -> dict[str, Any]:
    """What the predictions depend on beside the weights."""
    return {name: description.get(name) for name in ("task", "encoder", "classes", "options")}


def _line(error: Exception) -> str:
    return shorten(str(error), 300, placeholder=" …")
