"""The way of every training through its folder: begun or gone on with, told of, saved, finished, cleaned up.

A stage that trains says what its model is made of; what is done with it stands here, once for all of them.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor, nn

from stages.report import Message, Report, Summary, Tell
from stages.training.loop import Training
from stages.training.outlook import Outlook
from stages.training.processes import Processes
from stages.training.recipe import Recipe
from storage.checkpoints import delete_checkpoints, load_checkpoint, newest_step, save_checkpoint
from storage.locations import Location
from storage.patch_store import Settings
from storage.training_folder import CHECKPOINTS_FOLDER, FOLDERS, begin_or_compare, compare, remove_empty_folders


class ImageBatch(Protocol):
    """Samples, an image each."""

    @property
    def images(self) -> Tensor:
        """(B, …)"""


Batch = TypeVar("Batch", bound=ImageBatch)
Batch_co = TypeVar("Batch_co", bound=ImageBatch, covariant=True)
Objective = Callable[[Batch], Mapping[str, Tensor]]


class Batches(Protocol[Batch_co]):
    """What a model is trained on."""

    @property
    def left_out(self) -> Mapping[str, str]:
        """Why samples could not be used so far, by key."""

    def batches(self, size: int, start: int, *, part: int, parts: int) -> Generator[Batch_co, None, None]:
        """As `stages.samples.stream.SampleStream.batches`."""


@dataclass(frozen=True, kw_only=True)
class Ingredients(Generic[Batch]):
    """What goes into one training."""

    model: nn.Module
    objective: Callable[[nn.Module], Objective[Batch]]
    """Of the model, or of a wrapper that gathers gradients from other processes, on the device of this one."""
    batches: Batches[Batch]
    recipe: Recipe
    groups: list[dict[str, Any]] | None = None
    """As in `stages.training.loop.Training`."""
    opening: str | None = None
    """What people are told at the beginning."""
    after_step: Callable[[int], Report | None] = field(default=lambda step: None)
    """Is called with the number of steps done, in each process, once more when a training goes on; may look at the
    model."""


@dataclass(frozen=True)
class Done:
    """What a training has done: nothing was left to do if `started_at` is `steps`."""

    started_at: int
    steps: int
    seconds: float | None
    """Of all steps, at the rate of those of the last start; None without any."""
    left_out: dict[str, str]
    """Why samples could not be used, by key, in all processes."""


class TrainingStage(ABC, Generic[Batch]):
    """A stage that trains one model into a folder."""

    place: Location
    what: str
    """The model, for people: "ranker"."""
    settings_file: str
    settings: Settings
    """All that decides the model, and nothing else: no paths, devices or numbers of processes."""
    finished_file: str
    """Is written last: where it stands, the training is finished."""
    weights_file: str
    """Is written before it."""
    scratch: tuple[str, ...] = ()
    """Files in the folder that are needed until then."""

    @abstractmethod
    def outlook(self) -> Outlook:
        """Writes nothing. Raises ValueError as `prepare`."""

    @abstractmethod
    def prepare(self) -> Ingredients[Batch]:
        """Not called when the model is finished. Raises ValueError for what cannot be trained."""

    @abstractmethod
    def finish(self, done: Done) -> Summary:
        """Writes the trained model; called in the first process alone."""

    @abstractmethod
    def found(self) -> Summary:
        """Of a model that was finished before."""


def train(stage: TrainingStage[Batch], processes: Processes, tell: Tell, *, report_every: int, save_every: int) -> None:
    """Trains what is not trained yet, and at last tells a `Summary`.

    Goes on from the last checkpoint, whatever the number of processes; does nothing if the model is finished. Is called
    in each of `processes`; the first one writes and tells. KeyboardInterrupt passes through once a checkpoint is
    saved. Raises ValueError when the folder was begun with other settings, or has lost its weights, and as
    `stage.prepare` and `Training.run` do.
    """
    place, leads = stage.place, processes.rank == 0
    if _is_finished(stage):
        if leads:
            _clean_up(stage)
        tell(Message(f"{place.url}: the {stage.what} is already finished"))
        tell(stage.found())
        return

    given = stage.prepare()
    if leads:
        begin_or_compare(place, stage.settings_file, stage.finished_file, stage.settings)
    recipe, checkpoints = given.recipe, place.child(CHECKPOINTS_FOLDER)
    model = given.model.to(processes.device)
    objective = given.objective(processes.share_gradients(model))
    divisors = partial(_divisors, processes)
    training = Training(model, objective, recipe, processes.device, processes.average, given.groups, divisors)
    if found := load_checkpoint(checkpoints):
        training.restore(found[1])
        tell(Message(f"{place.url}: resuming after step {training.step} of {recipe.steps}"))
    started_at, since = training.step, time.monotonic()
    if given.opening:
        tell(Message(given.opening))
    if 2 * recipe.warmup_steps > recipe.steps > 1:
        rising = f"{recipe.warmup_steps} of {recipe.steps} steps"
        tell(Message(f"the learning rate rises in {rising}: a shorter warm-up may train better"))

    def after_step(step: int) -> None:
        if report := given.after_step(step):
            tell(report)

    after_step(started_at)  # an interruption may have come between the end of an epoch and its validation
    batches = given.batches.batches(
        recipe.batch_size // (processes.count * recipe.accumulate),
        training.step * recipe.accumulate,
        part=processes.rank,
        parts=processes.count,
    )
    with closing(batches):
        training.run(
            batches,
            report=tell,
            report_every=report_every,
            save=partial(save_checkpoint, checkpoints) if leads else lambda step, state: None,
            save_every=save_every,
            after_step=after_step,
        )
    left_out = {key: reason for part in processes.gather(dict(given.batches.left_out)) for key, reason in part.items()}
    training.take_average()
    if leads:
        steps = training.step - started_at
        seconds = (time.monotonic() - since) * training.step / steps if steps else None
        summary = stage.finish(Done(started_at, recipe.steps, seconds, left_out))
        _clean_up(stage)
        tell(summary)


def _divisors(processes: Processes, batches: Sequence[ImageBatch]) -> list[float | Tensor]:
    """As `Training` takes them: each sample of an update counts alike, however many each process and micro-batch has
    of it."""
    sizes = [len(batch.images) for batch in batches]
    mean = processes.mean_size(sum(sizes))
    return [mean / size for size in sizes]


def steps_done(stage: TrainingStage[Any], steps: int) -> int:
    """How many of its `steps` need not be done again. Writes nothing; raises ValueError when the folder was begun with
    other settings, or has lost its weights."""
    return steps if _is_finished(stage) else newest_step(stage.place.child(CHECKPOINTS_FOLDER))


def _is_finished(stage: TrainingStage[Any]) -> bool:
    """Raises ValueError as `compare` does, and where a finished model's weights are gone: whatever comes next would
    miss them."""
    place = stage.place
    compare(place, stage.settings_file, stage.finished_file, stage.settings)
    if not place.exists(stage.finished_file):
        return False
    if not place.exists(stage.weights_file):
        raise ValueError(
            f"{place.url}/{stage.weights_file}: missing: expected the weights of the {stage.what}, which by "
            f"{stage.finished_file} is finished: put them back, or delete {stage.finished_file} to train it anew"
        )
    return True


def _clean_up(stage: TrainingStage[Any]) -> None:
    """What was needed on the way; a kill at the very end may have left it too."""
    delete_checkpoints(stage.place.child(CHECKPOINTS_FOLDER))
    for path in stage.scratch:
        stage.place.delete(path)
    for name in FOLDERS:
        remove_empty_folders(stage.place.child(name))
