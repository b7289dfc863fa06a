"""`train-task`: downstream models that see kept patches alone (LTRP, CVPR 2024, section 4)."""

from __future__ import annotations

import dataclasses
import json
from functools import partial
from typing import Any

import torch

from ranker.selection import kept_count
from stages.compute.flops import PASSES, count_flops
from stages.images.augmentation import ImageAugmentation
from stages.report import Message, Summary, Tell
from stages.samples.controlled import with_control
from stages.samples.rank_source import open_source
from stages.samples.ranked import RankSource, StoredRanks, refuse_other_grid, selector_name
from stages.samples.ranked_now import RankedNow
from stages.samples.scored_by import scored_by, scorer
from stages.settings.train_task import TrainTaskConfig
from stages.tables import SELECTORS, TASKS
from stages.tasks.architecture import begin_encoder
from stages.tasks.batches import TaskBatch, TaskBatches, task_objective
from stages.tasks.class_lists import (
    ClassList,
    KnownClasses,
    digest,
    match_lists,
    merge_lists,
    named_by_file,
    read_class_lists,
)
from stages.tasks.classes_file import classes_for_plan, read_classes
from stages.tasks.encoders.teacher import Teacher
from stages.tasks.excluded_classes import excluded_lines, read_excluded
from stages.tasks.fresh_batches import FreshBatches
from stages.tasks.judgeable import classes_to_learn, refuse_unjudgeable
from stages.tasks.kept_views import KeptViews
from stages.tasks.model_grid import model_grid
from stages.tasks.models import MODEL_FILE, WEIGHTS_FILE, SavedTask, save_task
from stages.tasks.parameter_groups import parameter_groups
from stages.tasks.recipes import TaskRecipe
from stages.tasks.runs import TaskRun
from stages.tasks.settings import FRESH_VIEWS, stored_views, task_settings
from stages.tasks.survey import read_class_names
from stages.tasks.task import Classes
from stages.tasks.truths import TruthReader
from stages.training.outlook import Outlook
from stages.training.processes import Processes
from stages.training.recipe import Recipe, chosen_precision
from stages.training.run import Done, Ingredients, TrainingStage, train
from storage.dense_scores import open_dense
from storage.json_files import read_json_object
from storage.locations import locate
from storage.shard_checksum import checksum
from storage.shard_index import ShardEntry, expand_shards

CLASSES_FILE = "classes.json"
SETTINGS_FILE = "training.json"
REPORT_EVERY = 10


@dataclasses.dataclass(frozen=True)
class TrainTaskSummary(Summary):
    """What `run_train_task` did."""


def prepare_task(config: TrainTaskConfig, tell: Tell) -> Classes:
    """Reads the truth of every image that will be trained or judged on, once, and notes the classes in `config.out`.

    Raises ValueError naming the sample when one has no truth, a wrong one, a class that is not known, or no scores;
    the line of `config.exclude_classes` that is no class; and shards in which there is nothing to learn or to judge.
    """

    def say(text: str) -> None:
        tell(Message(text))

    task, place = TASKS[config.task], locate(config.out)
    config.dropping()  # refuses what does not fit
    source = open_source(config)
    grid = model_grid(config, source)
    options, recipe = config.options(grid.image_size), config.recipe()
    ImageAugmentation(grid.image_size, recipe.auto_augment, recipe.color_jitter)  # refuses what it does not know
    teacher = Teacher(config.teacher, grid) if config.teacher else None
    if config.layer_decay not in (None, 1.0) and not (config.init or config.teacher):
        say(f"layer_decay {config.layer_decay:g} has no effect on an encoder from scratch, whose blocks learn alike.")
    given = expand_shards(config.shards)
    shards = source.join(given)
    evaluation = join_evaluation(config, source)
    lists, eval_lists = (read_class_lists(task, each) for each in (given, evaluation[1] if evaluation else []))
    names = read_class_names(config.class_names) if config.class_names else None
    if names:
        named_by_file(lists, ClassList(str(config.class_names), names))  # refuses numbers of several meanings
    merged = merge_lists(lists)
    for note in merged.notes:
        say(note)
    known = {
        "task": config.task,
        "ignore_classes": config.ignore_classes,
        "mask_values": config.mask_values,
        "class_names": names,
        "index_names": digest(lists, eval_lists),
        "exclude_classes": excluded_lines(config.exclude_classes) if config.exclude_classes else None,
        "shards": checksum(shards),
        "eval_shards": checksum(evaluation[1]) if evaluation else None,
    }
    known = json.loads(json.dumps(known))  # as it is read again
    noted = read_json_object(place, CLASSES_FILE) if place.exists(CLASSES_FILE) else {}
    is_known, threads = noted.get("of") == known, config.decode_threads
    if is_known:
        classes = read_classes(place, CLASSES_FILE)
    else:
        say(f"reading the truth of {sum(shard.nsamples or 0 for shard in shards)} samples")
        truths = TruthReader(task, options, merged.numbers)
        classes = classes_to_learn(truths, source, shards, names or merged.names, threads, say)
    if teacher:
        teacher.refuse_other_classes(classes)
    # A mistake there is not to show after hours of training.
    excluded = read_excluded(config.exclude_classes, classes) if config.exclude_classes else frozenset()
    if evaluation:
        own = dict(zip(classes.ids, classes.names, strict=True))
        training = KnownClasses("the shards to train on", own, merged.names, options.ignore_classes)
        matched = match_lists(eval_lists, training)
        for note in matched.notes:
            say(note)
        if not is_known:
            judged = TruthReader(task, options, matched.numbers)
            refuse_unjudgeable(judged, *evaluation, classes, excluded, threads, say)
    if not is_known:
        noted = {"of": known, **dataclasses.asdict(classes)}
        place.write(CLASSES_FILE, (json.dumps(noted, indent=1) + "\n").encode())
    return classes


def join_evaluation(config: TrainTaskConfig, trained_on: RankSource) -> tuple[RankSource, list[ShardEntry]] | None:
    """What the models are judged on, if anything. Raises ValueError when it does not fit what they are trained on."""
    if not config.eval_shards and config.eval_ranks is None:
        return None
    if not config.eval_shards or (config.eval_ranks is None and config.ranker is None):
        missing = "eval_ranks" if config.eval_shards else "eval_shards"
        raise ValueError(f"{missing}: expected both eval_shards and eval_ranks, or neither")
    source = trained_on
    if config.eval_ranks is not None:
        source = StoredRanks(with_control(open_dense(config.eval_ranks), config.control))
        refuse_other_grid(source, trained_on.grid, f"the training's {trained_on.content} {trained_on.url}")
    return source, source.join(expand_shards(config.eval_shards))


def run_train_task(config: TrainTaskConfig, run: TaskRun, processes: Processes, tell: Tell) -> None:
    """Trains one model into its folder in `config.out`, for the classes that `prepare_task` noted there.

    As `stages.training.run.train`. Raises ValueError for settings that do not fit each other or differ from those of an
    earlier run there, for tars that have changed since they were ranked, and for a loss that is not finite.
    """
    stage = TrainTask(config, run, processes)
    train(stage, processes, tell, report_every=REPORT_EVERY, save_every=config.checkpoint_every)


class TrainTask(TrainingStage[TaskBatch]):
    what = "model"
    settings_file = SETTINGS_FILE
    finished_file = MODEL_FILE
    weights_file = WEIGHTS_FILE

    def __init__(self, config: TrainTaskConfig, run: TaskRun, processes: Processes, *, planned: bool = False) -> None:
        """`planned`: it will not be trained; classes that `prepare_task` has not noted yet are made up."""
        self._config, self._run, self._processes = config, run, processes
        self.place = locate(config.out).child(run.name)
        self._source = source = open_source(config, processes.device)
        begun = read_json_object(self.place, SETTINGS_FILE) if self.place.exists(SETTINGS_FILE) else None
        self._grid = model_grid(config, source, begun)
        given = expand_shards(config.shards)
        self._shards = source.join(given)
        self._lists = merge_lists(read_class_lists(TASKS[config.task], given))
        self._n_images = sum(shard.nsamples or 0 for shard in self._shards)
        self._classes = (classes_for_plan if planned else read_classes)(locate(config.out), CLASSES_FILE)
        self._options = config.options(self._grid.image_size)
        recipe = config.recipe()
        optimisation = Recipe.of_epochs(
            recipe,
            self._n_images,
            processes=processes.count,
            accumulate=config.accumulate,
            precision=chosen_precision(config.precision, processes.device),
        )
        self._recipe = dataclasses.replace(optimisation, betas=(0.9, recipe.beta2), ema_decay=recipe.ema_decay)
        torch.manual_seed(run.seed)
        dropping, self._teacher = config.dropping(), None
        if dropping and config.teacher:
            self._teacher = teacher = Teacher(config.teacher, self._grid)
            self._architecture, encoder = teacher.pupil(dropping, recipe.drop_path)
            start: str | None = teacher.sha256
        else:
            self._architecture, encoder, start = begin_encoder(
                self._grid,
                size=config.size,
                init=config.init,
                drop_path=recipe.drop_path,
                final_norm=recipe.final_norm,
                dropping=dropping,
            )
        self._model = TASKS[config.task].model(encoder, self._classes, self._options)
        self._common = task_settings(
            config.task,
            recipe,
            self._options,
            stored_views(source.settings) if isinstance(source, StoredRanks) else FRESH_VIEWS,
            self._shards,
            start,
            self._architecture,
            self._classes,
            self._recipe.precision,
            flip=config.flip,
        )
        if self._teacher:
            self._common["teacher"] = start
        own = {**scored_by(source), "select": run.select, "keep_ratio": run.keep_ratio}
        self._select_version = SELECTORS[run.select].noted_version
        self.settings = {**self._common, **own, "seed": run.seed, "select.version": self._select_version}

    def outlook(self) -> Outlook:
        """Of the model alone, without a teacher, or a ranker of fresh views."""
        size, n_patches = self._grid.image_size, self._grid.n_patches
        kept = torch.arange(kept_count(n_patches, self._run.keep_ratio))[None]
        return Outlook(self._recipe, PASSES * count_flops(self._model.eval(), torch.zeros(1, 3, size, size), kept))

    def prepare(self) -> Ingredients[TaskBatch]:
        config, recipe = self._config, self._config.recipe()
        kept, n_patches = kept_count(self._grid.n_patches, self._run.keep_ratio), self._grid.n_patches
        device = self._processes.device
        teacher = self._teacher.to(device) if self._teacher else None
        is_pretrained = config.init or config.teacher
        return Ingredients(
            model=self._model,
            objective=partial(task_objective, device=device, teacher=teacher),
            batches=self._batches(recipe, kept),
            recipe=self._recipe,
            groups=parameter_groups(self._model, recipe.weight_decay, recipe.layer_decay if is_pretrained else 1.0),
            opening=(
                f"{self._n_images} images to train on; {kept} of {n_patches} patches kept ({self._run.select}); "
                f"{len(self._classes)} classes; {self._recipe.steps} steps of {self._recipe.batch_size} in "
                f"{self._recipe.precision}"
            ),
        )

    def _batches(self, recipe: TaskRecipe, kept: int) -> TaskBatches | FreshBatches:
        config, run, source, grid = self._config, self._run, self._source, self._grid
        given = (TASKS[config.task], self._options, self._classes)
        drawn: dict[str, Any] = {
            "flip": config.flip,
            "seed": run.seed,
            "threads": config.decode_threads,
            "numbers": self._lists.numbers,
        }
        if isinstance(source, RankedNow):
            return FreshBatches(*given, source, self._shards, grid, run.select, kept, recipe, **drawn)
        n_views = self._n_images * source.settings["views"]
        views = KeptViews(grid, run.select, kept, seed=run.seed, n_views=n_views)
        return TaskBatches(*given, views, source.store, self._shards, grid, mixup=recipe.mixup, **drawn)

    def finish(self, done: Done) -> TrainTaskSummary:
        saved = SavedTask(
            self._config.task,
            self._run,
            self._config.selector or selector_name(self._source),
            self._architecture,
            self._classes,
            self._options,
            self._common,
            done.seconds,
            self._select_version,
            tuple(sorted(self._lists.names.items())),
            scorer(self._source) if SELECTORS[self._run.select].uses_scores else None,
        )
        save_task(self.place, self._model, saved)
        return TrainTaskSummary(self.place.url, done.started_at, done.steps, left_out=done.left_out)

    def found(self) -> TrainTaskSummary:
        return TrainTaskSummary(self.place.url, self._recipe.steps, self._recipe.steps)
