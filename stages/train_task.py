"""`train-task`: downstream models that see kept patches alone (LTRP, CVPR 2024, section 4)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from ranker.selection import kept_count
from stages.samples.ranked import checksum, join_ranks, refuse_other_grid, selector_name
from stages.selectors import VERSIONS
from stages.tasks.architecture import EncoderConfig, begin_encoder
from stages.tasks.batches import TaskBatches, task_objective
from stages.tasks.class_lists import (
    ClassList,
    KnownClasses,
    digest,
    match_lists,
    merge_lists,
    named_by_file,
    read_class_lists,
)
from stages.tasks.judgeable import classes_to_learn, refuse_unjudgeable
from stages.tasks.kept_views import KeptViews
from stages.tasks.mask_values import MASK_VALUES, MaskValues, parse_mask_values
from stages.tasks.models import MODEL_FILE, SavedTask, save_task
from stages.tasks.parameter_groups import parameter_groups
from stages.tasks.runs import KeepRatios, Seeds, Selects, TaskRun
from stages.tasks.survey import read_class_names, read_excluded, read_lines
from stages.tasks.table import TASKS, TaskName
from stages.tasks.task import Classes, TaskOptions
from stages.tasks.truths import TruthReader
from stages.training.loop import Precision, Recipe, Training, TrainingReport, fastest_precision
from stages.training.processes import Processes
from stages.training.warmup import fitting_warmup
from storage.checkpoints import delete_checkpoints, load_checkpoint, save_checkpoint
from storage.dense_scores import open_dense, patch_grid
from storage.locations import Location, locate
from storage.patch_store import PatchStore, Settings, fingerprint
from storage.shard_index import ShardEntry, expand_shards
from storage.training_folder import begin_or_compare

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean another model."""
ENCODER_SETTINGS = ("image_size", "patch_size", "timm", "width", "depth", "heads", "drop_path")
"""Fields of its architecture that settings name; all others are the recipe's."""
ASYMMETRIC_SETTINGS = {"asymmetric_loss.weight": "detached"}
"""Of trainings with that loss: those that were begun without it had gradients through its weight."""
CLASSES_FILE = "classes.json"
SETTINGS_FILE = "training.json"
REPORT_EVERY = 10


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskRecipe:
    """What a preset decides."""

    epochs: int
    warmup_epochs: float
    batch_size: int
    base_learning_rate: float
    weight_decay: float
    layer_decay: float
    """Of a pretrained encoder; without one all layers learn alike."""
    drop_path: float
    label_smoothing: float
    mixup: float
    """0 for tasks that cannot mix images."""
    clip_norm: float | None
    # Of later versions; earlier ones trained with what is the default here, and settings do not name that.
    beta2: float = 0.95
    """AdamW's second; its first is 0.9."""
    final_norm: bool = True
    """Of the encoder, as in `stages.tasks.architecture.EncoderConfig`."""
    head_std: float = 0.02
    """Of the first weights of the linear head of classify and multilabel."""

    def settings(self) -> Settings:
        """All that it decides, so that a folder that was begun before there was a field compares equal where its
        default is meant."""
        return {
            field.name: value
            for field in dataclasses.fields(self)
            if (value := getattr(self, field.name)) != field.default
        }


PRESETS: dict[str, TaskRecipe] = {
    "small-data": TaskRecipe(
        epochs=20,
        warmup_epochs=2,
        batch_size=32,
        base_learning_rate=8e-3,
        weight_decay=0.05,
        layer_decay=0.75,
        drop_path=0.0,
        label_smoothing=0.1,
        mixup=0.0,
        clip_norm=1.0,
    ),
    "fine-tuning": TaskRecipe(
        epochs=100,
        warmup_epochs=5,
        batch_size=1024,
        base_learning_rate=5e-4,
        weight_decay=0.05,
        layer_decay=0.65,
        drop_path=0.1,
        label_smoothing=0.1,
        mixup=0.8,
        clip_norm=None,
        beta2=0.999,
        final_norm=False,
        head_std=2e-5,
    ),
}
"""`fine-tuning` is that of MAE's code for ViT-B on ImageNet (facebookresearch/mae, FINETUNE.md), and all but two of its
numbers are those of the paper (He et al., CVPR 2022, table 9), where the base learning rate is 1e-3 and the layer decay
0.75. LTRP's code has 5e-4 and 0.65 too, for MS-COCO. docs/method.md says what of it is not here."""


class TrainTaskConfig(BaseModel):
    """Settings of `train-task`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    task: TaskName = Field(description="What is learnt.")
    shards: list[str] = Field(description="Shards to train on: folders, globs, brace patterns or index files.")
    ranks: str = Field(description="Store of the scores of their patches: of rank, or of score.")
    out: str = Field(description="Folder for models and results; what was interrupted goes on from there.")
    eval_shards: list[str] = Field([], description="Shards to judge the models on.")
    eval_ranks: str | None = Field(None, description="Store of the scores of their patches.")
    keep_ratio: KeepRatios = Field([0.25, 0.5, 0.75, 1.0], description="Parts of the patches that are kept.")
    select: Selects = Field(
        ["topk"],
        description="How they are chosen: 'topk', 'topk+cluster' (the paper's 70% and 30%), 'random', 'centre', "
        "'lowest', or 'full' for all.",
    )
    seeds: Seeds = Field([0], description="Of weights, order, views and draws: a model for each.")
    selector: str | None = Field(
        None, description="What to call the scores in tables; by default 'ltrp' for ranks, 'mae' for scores."
    )
    class_names: str | None = Field(
        None,
        description="File with a name a line, that of class 0 first; by default what the index of the shards has.",
    )
    ignore_classes: list[int] = Field([], description="Values of masks that count nowhere, besides 255.")
    mask_values: MaskValues = Field([], description=MASK_VALUES)
    exclude_classes: str | None = Field(
        None, description="File of classes, one a line: all metrics are reported without these too."
    )
    preset: Literal["small-data", "fine-tuning"] = Field(
        "small-data", description="Recipe that the settings left out are taken from; 'fine-tuning' is MAE's."
    )
    size: Literal["nano", "tiny", "small", "base"] = Field(
        "nano", description="Width, depth and heads of an encoder from scratch."
    )
    init: str | None = Field(
        None, description="Encoder to start from: an MAE (folder, .pth file or hf://NAME) or timm:NAME."
    )
    epochs: int | None = Field(None, ge=1, description="Passes over the training images; by default 20.")
    warmup_epochs: int | None = Field(
        None, ge=0, description="Those in which the learning rate rises; by default 2, of few epochs a tenth."
    )
    batch_size: int | None = Field(None, ge=1, description="Images in an update, over all workers; by default 32.")
    accumulate: int = Field(1, ge=1, description="Parts that a worker's share of an update is computed in.")
    base_learning_rate: float | None = Field(
        None, gt=0, description="Learning rate for 256 images in an update; by default 0.008."
    )
    weight_decay: float | None = Field(None, ge=0, description="Weight decay of AdamW; by default 0.05.")
    layer_decay: float | None = Field(
        None, gt=0, le=1, description="Learning rate of a pretrained block beside that of the next; by default 0.75."
    )
    drop_path: float | None = Field(None, ge=0, lt=1, description="Rate of stochastic depth; by default 0.")
    label_smoothing: float | None = Field(None, ge=0, lt=1, description="Of classify and segment; by default 0.1.")
    mixup: float | None = Field(
        None, ge=0, description="Beta parameter of mixup, for classify and multilabel; by default 0: none."
    )
    clip_norm: float | None = Field(None, gt=0, description="Largest norm of an update's gradient; by default 1.")
    flip: bool = Field(True, description="Mirror every second view in training.")
    multilabel_loss: Literal["asymmetric", "bce"] = Field("asymmetric", description="Loss of multilabel.")
    throughput: bool = Field(
        True, description="Measure speed and cost at each ratio beside the full model, with the first seed."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic; 'auto': fp32 on a CPU, bf16 (or else fp16) on a GPU."
    )
    decode_threads: int = Field(2, ge=1, description="Threads of each worker that decode images.")
    checkpoint_every: int = Field(200, ge=1, description="Updates from one checkpoint to the next.")

    def recipe(self) -> TaskRecipe:
        """The preset with what is given instead. Raises ValueError for what the task cannot do."""
        preset = PRESETS[self.preset]
        names = [field.name for field in dataclasses.fields(preset)]
        given = {name: getattr(self, name) for name in names if getattr(self, name, None) is not None}
        if not TASKS[self.task].mixes:
            if given.get("mixup"):
                raise ValueError(f"mixup: expected 0 for {self.task}, whose truth cannot be mixed, came {self.mixup}")
            given["mixup"] = 0.0
        warmup = fitting_warmup(preset.warmup_epochs, preset.epochs, given.get("epochs", preset.epochs))
        return dataclasses.replace(preset, **{"warmup_epochs": warmup, **given})

    def options(self, image_size: int) -> TaskOptions:
        """Raises ValueError for what the task cannot do."""
        if self.ignore_classes and self.task != "segment":
            raise ValueError(f"ignore_classes: expected none for {self.task}, which has no masks")
        if self.mask_values and self.task != "segment":
            raise ValueError(f"mask_values: expected none for {self.task}, which has no masks")
        return TaskOptions(
            image_size=image_size,
            label_smoothing=self.recipe().label_smoothing,
            multilabel_loss=self.multilabel_loss,
            ignore_classes=tuple(self.ignore_classes),
            mask_values=parse_mask_values(self.mask_values),
            head_std=self.recipe().head_std,
        )


@dataclasses.dataclass(frozen=True)
class TrainTaskSummary:
    """What `run_train_task` did: nothing if `started_at` is `steps`."""

    out: str
    started_at: int
    steps: int


Event = TrainingReport | TrainTaskSummary | str
"""What is told while it runs; a string is for people alone, the summary comes last."""


def prepare_task(config: TrainTaskConfig, tell: Callable[[str], None]) -> Classes:
    """Reads the truth of every image that will be trained or judged on, once, and notes the classes in `config.out`.

    Raises ValueError naming the sample when one has no truth, a wrong one, a class that is not known, or no scores;
    the line of `config.exclude_classes` that is no class; and shards in which there is nothing to learn or to judge.
    """
    task, place = TASKS[config.task], locate(config.out)
    store = open_dense(config.ranks)
    options = config.options(patch_grid(store).image_size)
    given = expand_shards(config.shards)
    shards = join_ranks(given, store)
    evaluation = join_evaluation(config)
    lists, eval_lists = (read_class_lists(task, each) for each in (given, evaluation[1] if evaluation else []))
    names = read_class_names(config.class_names) if config.class_names else None
    if names:
        named_by_file(lists, ClassList(str(config.class_names), names))  # refuses numbers of several meanings
    merged = merge_lists(lists)
    for note in merged.notes:
        tell(note)
    known = {
        "task": config.task,
        "ignore_classes": config.ignore_classes,
        "mask_values": config.mask_values,
        "class_names": names,
        "index_names": digest(lists, eval_lists),
        "exclude_classes": read_lines(config.exclude_classes) if config.exclude_classes else None,
        "shards": checksum(shards),
        "eval_shards": checksum(evaluation[1]) if evaluation else None,
    }
    known = json.loads(json.dumps(known))  # as it is read again
    noted = json.loads(place.read(CLASSES_FILE)) if place.exists(CLASSES_FILE) else {}
    is_known, threads = noted.get("of") == known, config.decode_threads
    if is_known:
        classes = Classes(tuple(noted["ids"]), tuple(noted["names"]))
    else:
        tell(f"reading the truth of {sum(shard.nsamples or 0 for shard in shards)} samples")
        truths = TruthReader(task, options, merged.numbers)
        classes = classes_to_learn(truths, store, shards, names or merged.names, threads, tell)
    # A mistake there is not to show after hours of training.
    excluded = read_excluded(config.exclude_classes, classes) if config.exclude_classes else frozenset()
    if evaluation:
        own = dict(zip(classes.ids, classes.names, strict=True))
        training = KnownClasses("the shards to train on", own, merged.names, options.ignore_classes)
        matched = match_lists(eval_lists, training)
        for note in matched.notes:
            tell(note)
        if not is_known:
            refuse_unjudgeable(TruthReader(task, options, matched.numbers), *evaluation, classes, excluded, threads)
    if not is_known:
        noted = {"of": known, **dataclasses.asdict(classes)}
        place.write(CLASSES_FILE, (json.dumps(noted, indent=1) + "\n").encode())
    return classes


def join_evaluation(config: TrainTaskConfig) -> tuple[PatchStore, list[ShardEntry]] | None:
    """What the models are judged on, if anything. Raises ValueError when it does not fit what they are trained on."""
    if not config.eval_shards and config.eval_ranks is None:
        return None
    if not config.eval_shards or config.eval_ranks is None:
        missing = "eval_ranks" if config.eval_shards else "eval_shards"
        raise ValueError(f"{missing}: expected both eval_shards and eval_ranks, or neither")
    store, trained_on = open_dense(config.eval_ranks), open_dense(config.ranks)
    refuse_other_grid(store, patch_grid(trained_on), f"the training's store {trained_on.place.url}")
    return store, join_ranks(expand_shards(config.eval_shards), store)


def run_train_task(config: TrainTaskConfig, run: TaskRun, processes: Processes, tell: Callable[[Event], None]) -> None:
    """Trains one model into its folder in `config.out`, for the classes that `prepare_task` noted there.

    Goes on from the last checkpoint, whatever the number of processes; does nothing if the model is finished. Is called
    in each of `processes`; the first one writes and tells. Raises ValueError for settings that do not fit each other or
    differ from those of an earlier run there, for tars that have changed since they were ranked, and for a loss
    that is not finite.
    """
    task, place, device = TASKS[config.task], locate(config.out).child(run.name), processes.device
    store = open_dense(config.ranks)
    grid = patch_grid(store)
    given = expand_shards(config.shards)
    shards = join_ranks(given, store)
    merged = merge_lists(read_class_lists(task, given))
    classes = _read_classes(locate(config.out))
    precision = fastest_precision(device) if config.precision == "auto" else config.precision
    recipe, options = config.recipe(), config.options(grid.image_size)
    torch.manual_seed(run.seed)
    architecture, encoder, start = begin_encoder(
        grid, size=config.size, init=config.init, drop_path=recipe.drop_path, final_norm=recipe.final_norm
    )
    model = task.model(encoder, classes, options)
    n_images = sum(shard.nsamples or 0 for shard in shards)
    optimisation = Recipe.of_epochs(
        recipe, n_images, processes=processes.count, accumulate=config.accumulate, precision=precision
    )
    optimisation = dataclasses.replace(optimisation, betas=(0.9, recipe.beta2))
    common = task_settings(config, store, shards, start, architecture, classes, precision)
    scores = fingerprint(store.settings)
    settings = {**common, "scores": scores, "select": run.select, "keep_ratio": run.keep_ratio, "seed": run.seed}
    settings["select.version"] = select_version = VERSIONS.get(run.select)
    if place.exists(MODEL_FILE):
        begin_or_compare(place, SETTINGS_FILE, MODEL_FILE, settings)
        tell(TrainTaskSummary(place.url, optimisation.steps, optimisation.steps))
        return

    leads = processes.rank == 0
    if leads:
        begin_or_compare(place, SETTINGS_FILE, MODEL_FILE, settings)
    model.to(device)
    layer_decay = recipe.layer_decay if config.init else 1.0
    training = Training(
        model,
        task_objective(processes.share_gradients(model), device),
        optimisation,
        device,
        processes.average,
        parameter_groups(model, recipe.weight_decay, layer_decay),
    )
    checkpoints = place.child("checkpoints")
    if found := load_checkpoint(checkpoints):
        training.restore(found[1])
        tell(f"{place.url}: going on after step {training.step} of {optimisation.steps}")
    started_at, since = training.step, time.monotonic()
    kept = kept_count(grid.n_patches, run.keep_ratio)
    tell(
        f"{n_images} images to train on; {kept} of {grid.n_patches} patches kept ({run.select}); {len(classes)} "
        f"classes; {optimisation.steps} steps of {optimisation.batch_size} in {precision}"
    )
    batches = TaskBatches(
        task,
        options,
        classes,
        KeptViews(grid, run.select, kept, seed=run.seed, n_views=n_images * store.settings["views"]),
        store,
        shards,
        grid,
        flip=config.flip,
        mixup=recipe.mixup,
        seed=run.seed,
        threads=config.decode_threads,
        numbers=merged.numbers,
    ).batches(
        optimisation.batch_size // (processes.count * optimisation.accumulate),
        training.step * optimisation.accumulate,
        part=processes.rank,
        parts=processes.count,
    )
    with closing(batches):
        training.run(
            batches,
            report=tell,
            report_every=REPORT_EVERY,
            save=partial(save_checkpoint, checkpoints) if leads else lambda step, state: None,
            save_every=config.checkpoint_every,
        )
    if leads:
        done = training.step - started_at
        seconds = (time.monotonic() - since) * training.step / done if done else None
        selector = config.selector or selector_name(store)
        names = tuple(sorted(merged.names.items()))
        saved = SavedTask(
            config.task, run, selector, architecture, classes, options, common, seconds, select_version, names
        )
        save_task(place, model, saved)
        delete_checkpoints(checkpoints)
        tell(TrainTaskSummary(place.url, started_at, optimisation.steps))


def task_settings(
    config: TrainTaskConfig,
    store: PatchStore,
    shards: Sequence[ShardEntry],
    start: str | None,
    architecture: EncoderConfig,
    classes: Classes,
    precision: Precision,
) -> Settings:
    """All that the models of one comparison have in common; no paths, devices or numbers of processes."""
    views: Settings = {
        name: store.settings[name] for name in ("views", "views.crop", "views.scale") if name in store.settings
    }
    loss = config.multilabel_loss if config.task == "multilabel" else None
    return {
        "method": METHOD_VERSION,
        "task": config.task,
        **{f"encoder.{name}": getattr(architecture, name) for name in ENCODER_SETTINGS},
        "init": start,
        **config.recipe().settings(),
        "flip": config.flip,
        "multilabel_loss": loss,
        **(ASYMMETRIC_SETTINGS if loss == "asymmetric" else {}),
        "ignore_classes": config.ignore_classes,
        # Named where there are some: earlier versions had none.
        **({"mask_values": dict(parse_mask_values(config.mask_values))} if config.mask_values else {}),
        "classes": hashlib.sha256(json.dumps([classes.ids, classes.names]).encode()).hexdigest(),
        "precision": precision,
        **views,
        "shards": len(shards),
        "shards.samples": sum(shard.nsamples or 0 for shard in shards),
        "shards.sha256": checksum(shards),
    }


def _read_classes(place: Location) -> Classes:
    noted = json.loads(place.read(CLASSES_FILE))
    return Classes(tuple(noted["ids"]), tuple(noted["names"]))
