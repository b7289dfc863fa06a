"""A trained model of a task on disk: task.safetensors, and task.json, which comes last."""

from __future__ import annotations

import dataclasses
from textwrap import shorten
from typing import Any

from ranker.named_tensors import refuse_misfits, shapes_of
from stages.settings.choices import TaskName
from stages.tables import TASKS
from stages.tasks.architecture import EncoderConfig
from stages.tasks.class_lists import KnownClasses
from stages.tasks.described_weights import DescribedWeights
from stages.tasks.runs import TaskRun
from stages.tasks.task import Classes, TaskModel, TaskOptions
from storage.locations import Location
from storage.patch_store import Settings

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
    scorer: Settings | None = None
    """What made the scores that chose its patches; None where none did, and in models of earlier versions."""

    def known_classes(self, where: str) -> KnownClasses:
        """As other shards are matched with them."""
        names = dict(zip(self.classes.ids, self.classes.names, strict=True))
        index_names = None if self.index_names is None else dict(self.index_names)
        return KnownClasses(where, names, index_names, self.options.ignore_classes)


ON_DISK = DescribedWeights(
    MODEL_FILE, WEIGHTS_FILE, "model of a task", "train-task", deciding=("task", "encoder", "classes", "options")
)


def save_task(place: Location, model: TaskModel, saved: SavedTask) -> None:
    description = dataclasses.asdict(saved)
    if saved.encoder.dropping is None:
        del description["encoder"]["dropping"]  # as in earlier versions, which had none
    ON_DISK.save(place, model, description)


def load_task(place: Location) -> tuple[SavedTask, TaskModel]:
    """Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got."""
    saved, weights = ON_DISK.load(place, SavedTask)
    config_url, weights_url = f"{place.url}/{MODEL_FILE}", f"{place.url}/{WEIGHTS_FILE}"

    def build() -> TaskModel:
        try:
            return TASKS[saved.task].model(saved.encoder.build(), saved.classes, saved.options)
        except (ValueError, RuntimeError) as error:  # of numbers that do not fit each other
            raise ValueError(f"{config_url}: expected what train-task writes: {_line(error)}") from None

    refuse_misfits(shapes_of(build), weights, weights_url)
    model = build()
    model.load_state_dict(weights)
    return saved, model.eval()


def _line(error: Exception) -> str:
    return shorten(str(error), 300, placeholder=" …")
