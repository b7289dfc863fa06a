"""`train-gfnet`: Glance and Focus, in three steps (Wang et al., NeurIPS 2020).

Each step is a training of its own, into a folder of its own, from the weights that the one before ended with. The
published steps use SGD; here it is AdamW with a cosine schedule, as everywhere.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from functools import partial

import torch

from ranker.digest import weights_digest
from stages.compute.flops import PASSES, count_flops
from stages.glancing.accuracy import judge_looks
from stages.glancing.batches import GlanceBatch, GlanceBatches, find_classes, glance_objective
from stages.glancing.files import MODEL_FILE, WEIGHTS_FILE, SavedGlance, load_glance, save_glance
from stages.glancing.learning import STEPS, GlanceTraining, Step
from stages.glancing.network import GlanceAndFocus, build_backbone
from stages.report import Message, Summary, Tell
from stages.samples.stream import measured
from stages.settings.train_gfnet import TrainGfnetConfig
from stages.tables import TASKS
from stages.tasks.class_lists import (
    ClassList,
    KnownClasses,
    Matched,
    digest,
    match_lists,
    merge_lists,
    read_class_lists,
)
from stages.tasks.classes_file import classes_for_plan, read_classes
from stages.tasks.survey import choose_classes, refuse_unknown
from stages.tasks.task import Classes, TaskOptions
from stages.tasks.truths import TruthReader
from stages.training.outlook import Outlook
from stages.training.processes import Processes
from stages.training.recipe import Recipe, chosen_precision
from stages.training.run import Done, Ingredients, TrainingStage, train
from storage.json_files import read_json_object
from storage.locations import Location, locate
from storage.settings import Settings
from storage.shard_checksum import checksum
from storage.shard_index import expand_shards

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean other networks."""
CLASSES_FILE = "gfnet-classes.json"
SETTINGS_FILE = "training.json"
REPORT_EVERY = 10
FOLDERS: dict[Step, str] = {"backbones": "backbones", "policy": "policy", "finetune": ""}
"""In `out`, of each step; the last one's is `out` itself."""


@dataclasses.dataclass(frozen=True)
class TrainGfnetSummary(Summary):
    """What `run_train_gfnet` did in one step."""

    accuracy: tuple[float, ...] | None = None
    """As in `stages.glancing.files.SavedGlance`."""


def prepare_gfnet(config: TrainGfnetConfig, tell: Tell) -> None:
    """Reads the class of every image that will be trained or judged on, once, and notes the classes in `config.out`.

    Raises ValueError for settings that do not fit each other, for a sample without a class or with one that is not
    known, and where there is nothing to tell apart.
    """
    with torch.device("meta"):
        GlanceAndFocus(config.architecture(), 2)  # refuses what does not fit
    task, place, shards = TASKS["classify"], locate(config.out), expand_shards(config.shards)
    lists = read_class_lists(task, shards)
    merged = merge_lists(lists)
    for note in merged.notes:
        tell(Message(note))
    eval_shards = expand_shards(config.eval_shards) if config.eval_shards else []
    known = {
        "shards": checksum(measured(shards)),
        "eval_shards": checksum(measured(eval_shards)),
        "index_names": digest(lists, read_class_lists(task, eval_shards)),
    }
    if place.exists(CLASSES_FILE) and read_json_object(place, CLASSES_FILE).get("of") == known:
        return
    tell(Message(f"reading the classes of {len(shards)} shards"))
    options = TaskOptions(image_size=config.image_size)
    found = find_classes(TruthReader(task, options, merged.numbers), shards)
    if len(found) < 2:
        raise ValueError(f"{shards[0].url}: expected images of at least two classes to tell apart, got {len(found)}")
    classes = choose_classes(found, merged.names)
    if eval_shards:
        matched = _match(read_class_lists(task, eval_shards), classes, merged.names)
        refuse_unknown(find_classes(TruthReader(task, options, matched.numbers), eval_shards), classes)
    place.write(CLASSES_FILE, (json.dumps({"of": known, **dataclasses.asdict(classes)}, indent=1) + "\n").encode())


def _match(lists: dict[str, ClassList], classes: Classes, index_names: Mapping[int, str]) -> Matched:
    """The classes of evaluation shards with those of the training."""
    own = dict(zip(classes.ids, classes.names, strict=True))
    return match_lists(lists, KnownClasses("the shards to train on", own, index_names))


def run_train_gfnet(config: TrainGfnetConfig, step: Step, processes: Processes, tell: Tell) -> None:
    """Trains one of the `STEPS`, for the classes that `prepare_gfnet` noted; those before it are finished.

    As `stages.training.run.train`. Raises ValueError for settings that do not fit each other or differ from those of an
    earlier run there, and for a loss that is not finite.
    """
    train(
        TrainGfnet(config, step, processes),
        processes,
        tell,
        report_every=REPORT_EVERY,
        save_every=config.checkpoint_every,
    )


def folder_of(config: TrainGfnetConfig, step: Step) -> Location:
    """Where a step trains."""
    return locate(config.out).child(FOLDERS[step])


class TrainGfnet(TrainingStage[GlanceBatch]):
    what = "GFNet"
    settings_file = SETTINGS_FILE
    finished_file = MODEL_FILE
    weights_file = WEIGHTS_FILE
    is_next: bool
    """Whether what it begins from is there; False only where it is `planned`."""

    def __init__(self, config: TrainGfnetConfig, step: Step, processes: Processes, *, planned: bool = False) -> None:
        """`planned`: it will not be trained; what is not there yet, classes or networks, is made up."""
        self._config, self._step, self._processes = config, step, processes
        self.place = folder_of(config, step)
        self._classes = (classes_for_plan if planned else read_classes)(locate(config.out), CLASSES_FILE)
        self._shards = measured(expand_shards(config.shards))
        self._n_images = sum(shard.nsamples or 0 for shard in self._shards)
        self._recipe = Recipe.of_epochs(
            config.recipe(step),
            self._n_images,
            processes=processes.count,
            accumulate=config.accumulate,
            precision=chosen_precision(config.precision, processes.device),
        )
        torch.manual_seed(config.seed)
        self.is_next = not planned or self._has_start()
        self._network, start = self._begun() if self.is_next else (self._new(), None)
        self.settings = self._settings(start)

    def _begun(self) -> tuple[GlanceAndFocus, str | None]:
        """The networks as this step finds them, and the checksum of their weights where they are not new."""
        before = STEPS.index(self._step) - 1
        if before >= 0:
            _, network = load_glance(folder_of(self._config, STEPS[before]))
            return network, weights_digest(network.state_dict())
        network = self._new()
        if not self._config.pretrained:
            return network, None
        network.glance, network.focus = (
            build_backbone(self._config.backbone, len(self._classes), pretrained=True) for _ in range(2)
        )
        return network, weights_digest(network.state_dict())

    def _new(self) -> GlanceAndFocus:
        return GlanceAndFocus(self._config.architecture(), len(self._classes))

    def _has_start(self) -> bool:
        """Whether what this step begins from is there: networks of the step before; for the first one, its classes."""
        before = STEPS.index(self._step) - 1
        if before >= 0:
            return folder_of(self._config, STEPS[before]).exists(MODEL_FILE)
        return locate(self._config.out).exists(CLASSES_FILE)

    def _settings(self, start: str | None) -> Settings:
        config = self._config
        return {
            "method": METHOD_VERSION,
            "step": self._step,
            "init": start,
            **{f"gfnet.{name}": value for name, value in dataclasses.asdict(self._network.config).items()},
            **dataclasses.asdict(config.recipe(self._step)),
            "accumulate": config.accumulate,  # of networks with batch norm it decides
            "min_scale": config.min_scale,
            "seed": config.seed,
            "precision": self._recipe.precision,
            "classes": [list(self._classes.ids), list(self._classes.names)],
            "shards": len(self._shards),
            "shards.samples": self._n_images,
            "shards.sha256": checksum(self._shards),
        }

    def _truths(self) -> TruthReader:
        task = TASKS["classify"]
        lists = merge_lists(read_class_lists(task, self._shards))
        return TruthReader(task, TaskOptions(image_size=self._config.image_size), lists.numbers)

    def outlook(self) -> Outlook:
        """The policy's step learns next to nothing backward: it counts as a forward pass."""
        size = self._config.image_size
        model = GlanceTraining(self._network, self._step).eval()
        image, classes = torch.zeros(1, 3, size, size), torch.zeros(1, dtype=torch.int64)
        return Outlook(self._recipe, (1 if self._step == "policy" else PASSES) * count_flops(model, image, classes))

    def prepare(self) -> Ingredients[GlanceBatch]:
        config = self._config
        return Ingredients(
            model=GlanceTraining(self._network, self._step),
            objective=partial(glance_objective, device=self._processes.device),
            batches=GlanceBatches(
                self._shards,
                self._truths(),
                self._classes,
                image_size=config.image_size,
                min_scale=config.min_scale,
                seed=config.seed,
                threads=config.decode_threads,
            ),
            recipe=self._recipe,
            opening=(
                f"step {STEPS.index(self._step) + 1} of {len(STEPS)}, {self._step}: {self._n_images} images of "
                f"{len(self._classes)} classes; {self._recipe.steps} steps of {self._recipe.batch_size} in "
                f"{self._recipe.precision}"
            ),
        )

    def finish(self, done: Done) -> TrainGfnetSummary:
        network = self._network.eval()
        accuracy = self._judged(network) if self._step == STEPS[-1] and self._config.eval_shards else None
        save_glance(self.place, network, SavedGlance(network.config, self._classes, self.settings, accuracy))
        return TrainGfnetSummary(self.place.url, done.started_at, done.steps, accuracy, left_out=done.left_out)

    def _judged(self, network: GlanceAndFocus) -> tuple[float, ...]:
        task, shards = TASKS["classify"], expand_shards(self._config.eval_shards)
        merged = merge_lists(read_class_lists(task, self._shards))
        matched = _match(read_class_lists(task, shards), self._classes, merged.names)
        truths = TruthReader(task, TaskOptions(image_size=self._config.image_size), matched.numbers)
        return judge_looks(network, truths, self._classes, shards, self._processes.device)

    def found(self) -> TrainGfnetSummary:
        saved, _ = load_glance(self.place)
        return TrainGfnetSummary(self.place.url, self._recipe.steps, self._recipe.steps, saved.accuracy)
