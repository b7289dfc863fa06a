"""`train-ranker`: the ranking model, from cached scores alone (LTRP, CVPR 2024, section 3.2)."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from ranker.encoder_weights import load_encoder
from ranker.losses import FOCUS_TOP, LOSSES, focused
from ranker.network import SIZES, Head, PatchRankingTransformer, RankerConfig
from ranker.pretrained import CONFIG_FILE, WEIGHTS_FILE, encode_ranker
from stages.density.masks import mask_sizes
from stages.ranking.evaluation_images import evaluation_batches
from stages.ranking.facts import RankerFacts, read_facts
from stages.ranking.lists import RankerLists, ranker_objective
from stages.ranking.load_ranker import load_ranker
from stages.ranking.validation import RankerValidation, ValidationReport
from stages.samples.scored import Split, SplitBy, Survey, join_scores, survey
from stages.training.encoders import Encoder, read_encoder
from stages.training.loop import Precision, Recipe, Training, TrainingReport, epoch_end, fastest_precision
from stages.training.processes import Processes
from stages.training.warmup import fitting_warmup
from storage.checkpoints import delete_checkpoints, load_checkpoint, save_checkpoint
from storage.locations import Location, locate
from storage.patch_store import PatchStore, Settings, fingerprint
from storage.scores import CONTENT
from storage.shard_index import ShardEntry, expand_shards
from storage.training_folder import begin_or_compare

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean another model."""
SETTINGS_FILE = "training.json"
BEST_FOLDER = "best"
REPORT_EVERY = 10
Loss = Literal["list_mle", "list_net", "rank_net", "pointwise", "focused"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankerRecipe:
    """What a preset decides."""

    size: str
    head: Head
    loss: Loss
    symmetric: bool
    lists: int | None
    """Masks of a view that an image is ranked under at each step; None: all."""
    epochs: int
    warmup_epochs: float
    batch_size: int
    base_learning_rate: float
    weight_decay: float
    clip_norm: float | None


PRESETS: dict[str, RankerRecipe] = {
    "small-data": RankerRecipe(
        size="nano",
        head="token",
        loss="list_mle",
        symmetric=True,
        lists=None,
        epochs=20,
        warmup_epochs=2,
        batch_size=64,
        base_learning_rate=4e-3,
        weight_decay=0.05,
        clip_norm=1.0,
    ),
    "published": RankerRecipe(
        size="small",
        head="cls",
        loss="list_mle",
        symmetric=False,
        lists=1,
        epochs=400,
        warmup_epochs=40,
        batch_size=4096,
        base_learning_rate=1.5e-4,
        weight_decay=0.06,
        clip_norm=None,
    ),
}


class TrainRankerConfig(BaseModel):
    """Settings of `train-ranker`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    shards: list[str] = Field(description="Shards that were scored: folders, globs, brace patterns or index files.")
    scores: str = Field(description="Store of their scores.")
    out: str = Field(description="Folder for the ranker; a training that was interrupted goes on from there.")
    preset: Literal["small-data", "published"] = Field(
        "small-data", description="Recipe that the settings left out are taken from; 'published' is the paper's."
    )
    size: Literal["nano", "tiny", "small", "base"] | None = Field(
        None, description="Width, depth and heads by name; by default 'nano', as published 'small'."
    )
    width: int | None = Field(None, ge=1, description="Width, instead of the size's.")
    depth: int | None = Field(None, ge=1, description="Blocks, instead of the size's.")
    heads: int | None = Field(None, ge=1, description="Attention heads, instead of the size's.")
    head: Head | None = Field(
        None,
        description="'token': a patch's score from its own token, at any image size; 'cls': the paper's, scores of all "
        "positions from the CLS token; by default 'token', as published 'cls'.",
    )
    init: str | None = Field(
        None, description="Encoder to start from: an MAE (folder, .pth file or hf://NAME) or timm:NAME."
    )
    loss: Loss | None = Field(None, description="Ranking loss; by default 'list_mle', as published.")
    sublist: int | None = Field(None, ge=2, description="Random part of each list that the loss is computed on.")
    focus_top: int | None = Field(
        None,
        ge=1,
        description="Best patches of a list whose order the loss 'focused' wants; by default 10, as published, or half "
        "of a list of fewer than 20.",
    )
    symmetric: bool | None = Field(
        None,
        description="Rank the whole image in training too; otherwise, as published, the visible patches alone.",
    )
    lists: int | None = Field(
        None, ge=1, description="Masks of a view that an image is ranked under at each step; by default all."
    )
    epochs: int | None = Field(None, ge=1, description="Passes over the training images; by default 20.")
    warmup_epochs: int | None = Field(
        None, ge=0, description="Those in which the learning rate rises; by default 2, of few epochs a tenth."
    )
    batch_size: int | None = Field(None, ge=1, description="Images in an update, over all workers; by default 64.")
    accumulate: int = Field(1, ge=1, description="Parts that a worker's share of an update is computed in.")
    base_learning_rate: float | None = Field(
        None, gt=0, description="Learning rate for 256 images in an update; by default 0.004."
    )
    weight_decay: float | None = Field(None, ge=0, description="Weight decay of AdamW; by default 0.05.")
    clip_norm: float | None = Field(None, gt=0, description="Largest norm of an update's gradient; by default 1.")
    split: SplitBy = Field(
        "key", description="Hold out single images by their keys ('key'), or whole shards ('shard')."
    )
    validation: float = Field(0.1, gt=0, lt=1, description="Part that is held out to validate on.")
    validation_images: int = Field(512, ge=1, description="At most so many of them are looked at after each epoch.")
    top: float = Field(0.25, gt=0, lt=1, description="Part of a list that NDCG and recall look at.")
    seed: int = Field(0, description="Seed of weights, split, order, views and lists.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic; 'auto': fp32 on a CPU, bf16 (or else fp16) on a GPU."
    )
    decode_threads: int = Field(2, ge=1, description="Threads of each worker that decode images.")
    checkpoint_every: int = Field(200, ge=1, description="Updates from one checkpoint to the next.")

    def recipe(self) -> RankerRecipe:
        """The preset with what is given instead."""
        preset = PRESETS[self.preset]
        names = [field.name for field in dataclasses.fields(preset)]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        warmup = fitting_warmup(preset.warmup_epochs, preset.epochs, given.get("epochs", preset.epochs))
        return dataclasses.replace(preset, **{"warmup_epochs": warmup, **given})

    def focus(self, list_length: int) -> int | None:
        """`focus_top` for lists of so many patches; None for losses without one. Raises ValueError for a number that
        leaves no other patch, or that the loss does not look at."""
        if self.recipe().loss != "focused":
            if self.focus_top is not None:
                raise ValueError(f"focus_top: expected none for the loss {self.recipe().loss}, got {self.focus_top}")
            return None
        length = min(list_length, self.sublist or list_length)
        if self.focus_top is not None and self.focus_top >= length:
            raise ValueError(f"focus_top: expected fewer than the {length} patches of a list, got {self.focus_top}")
        return self.focus_top or min(FOCUS_TOP, math.ceil(length / 2))

    def architecture(self, image_size: int, patch_size: int) -> RankerConfig:
        """Raises ValueError for numbers that do not fit each other."""
        recipe = self.recipe()
        sizes = dict(SIZES[recipe.size])
        sizes.update({name: value for name in sizes if (value := getattr(self, name)) is not None})
        return RankerConfig(image_size=image_size, patch_size=patch_size, head=recipe.head, **sizes)


@dataclasses.dataclass(frozen=True)
class TrainRankerSummary:
    """What `run_train_ranker` did: nothing if `started_at` is `steps`."""

    out: str
    started_at: int
    steps: int
    best: ValidationReport


Event = TrainingReport | ValidationReport | TrainRankerSummary | str
"""What is told while it runs; a string is for people alone, the summary comes last."""


def run_train_ranker(config: TrainRankerConfig, processes: Processes, tell: Callable[[Event], None]) -> None:
    """Trains a ranker into `config.out`: ranker.safetensors and ranker.json, with the weights that validated best.

    Goes on from the last checkpoint there, whatever the number of processes; does nothing if the ranker is finished.
    Is called in each of `processes`; the first one validates, writes and tells. Raises ValueError for settings that do
    not fit each other or differ from those of an earlier run there, for scores that cannot be learnt from, for tars
    that have changed since they were scored, and for a loss that is not finite.
    """
    place, store, device = locate(config.out), PatchStore.open(config.scores, CONTENT), processes.device
    shards = join_scores(expand_shards(config.shards), store)
    split = Split.draw(config.split, config.validation, config.seed, [shard.name for shard in shards])
    precision = fastest_precision(device) if config.precision == "auto" else config.precision
    architecture = config.architecture(store.settings["mae.image_size"], store.settings["mae.patch_size"])
    encoder = read_encoder(config.init) if config.init else None
    settings = training_settings(config, architecture, encoder, store, shards, split, precision)
    loss = LOSSES[config.recipe().loss]
    if top := settings.get("focus_top"):
        loss = partial(focused, top=top)
    if place.exists(CONFIG_FILE):
        begin_or_compare(place, SETTINGS_FILE, CONFIG_FILE, settings)
        best = _read_report(place)
        tell(TrainRankerSummary(place.url, best.steps, best.steps, best))
        return

    known = survey(store, shards, split)
    chosen = config.recipe()
    recipe = Recipe.of_epochs(
        chosen,
        known.training.n_samples,
        processes=processes.count,
        accumulate=config.accumulate,
        precision=precision,
    )
    torch.manual_seed(config.seed)
    model = PatchRankingTransformer(architecture)
    if encoder:
        load_encoder(model, encoder.weights, encoder.where)
    leads = processes.rank == 0
    if leads:
        begin_or_compare(place, SETTINGS_FILE, CONFIG_FILE, settings)
    model.to(device)
    objective = ranker_objective(processes.share_gradients(model), loss, chosen.symmetric, device)
    training = Training(model, objective, recipe, device, processes.average)
    checkpoints = place.child("checkpoints")
    if found := load_checkpoint(checkpoints):
        training.restore(found[1])
        tell(f"{place.url}: going on after step {training.step} of {recipe.steps}")
    started_at = training.step
    tell(
        f"{known.training.n_samples} images of {len(shards)} scored shards to train on, {known.validation.n_samples} "
        f"held out; {architecture.n_patches} patches; {recipe.steps} steps of {recipe.batch_size} in {precision}"
    )
    keeper = _BestKeeper(config, place, store, known, settings, split) if leads else None
    epochs = {epoch_end(n + 1, known.training.n_samples, recipe.batch_size): n + 1 for n in range(chosen.epochs)}

    def after_step(step: int) -> None:
        if keeper and step in epochs:
            tell(keeper.validate(model, device, epochs[step], step, recipe.steps))

    after_step(started_at)  # an interruption may have come between the end of an epoch and its validation
    lists = RankerLists(
        store,
        known.training,
        lists=chosen.lists,
        sublist=config.sublist,
        seed=config.seed,
        threads=config.decode_threads,
    )
    batches = lists.batches(
        recipe.batch_size // (processes.count * recipe.accumulate),
        training.step * recipe.accumulate,
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
            after_step=after_step,
        )
    if keeper:
        best = keeper.finish()
        delete_checkpoints(checkpoints)
        tell(TrainRankerSummary(place.url, started_at, recipe.steps, best))


def training_settings(
    config: TrainRankerConfig,
    architecture: RankerConfig,
    encoder: Encoder | None,
    store: PatchStore,
    shards: Sequence[ShardEntry],
    split: Split,
    precision: Precision,
) -> Settings:
    """All that decides the ranker, and nothing else: no paths, devices or numbers of processes."""
    tars = [[shard.name, shard.nsamples, shard.filesize, shard.md5sum] for shard in shards]
    focus = config.focus(longest_list(store.settings))
    return {
        "method": METHOD_VERSION,
        **{f"ranker.{name}": value for name, value in dataclasses.asdict(architecture).items()},
        "init": encoder.sha256 if encoder else None,
        **{name: value for name, value in dataclasses.asdict(config.recipe()).items() if name not in ("size", "head")},
        "sublist": config.sublist,
        # Trainings with this loss that were begun before there was this setting are refused: their loss was another.
        **({"focus_top": focus} if focus else {}),
        "split": split.by,
        "validation": config.validation,
        "validation_images": config.validation_images,
        "top": config.top,
        "seed": config.seed,
        "precision": precision,
        "scores": fingerprint(store.settings),
        "shards": len(shards),
        "shards.samples": sum(shard.nsamples or 0 for shard in shards),
        "shards.sha256": hashlib.sha256(json.dumps(tars).encode()).hexdigest(),
    }


def longest_list(settings: Settings) -> int:
    """Of a store of scores: the patches that a mask shows at most."""
    names = ("masks.kind", "masks", "patches", "masks.ratio")
    return max(mask_sizes(*(settings[name] for name in names)))


class _BestKeeper:
    """Validates, and keeps the weights that did best: until the end in best/, which is a ranker too."""

    def __init__(
        self,
        config: TrainRankerConfig,
        place: Location,
        store: PatchStore,
        known: Survey,
        settings: Settings,
        split: Split,
    ) -> None:
        self._training = settings
        self._tars = sorted(str(shard.md5sum) for shard in known.training.shards)
        self._split = split
        self._position_prior = known.position_prior.tolist()
        part = known.validation.draw(config.validation_images, config.seed)
        self._validation = RankerValidation(
            list(evaluation_batches(store, part, threads=config.decode_threads)),
            store.settings,
            position_prior=self._position_prior,
            top=config.top,
            seed=config.seed,
        )
        self._out = place
        self._place = place.child(BEST_FOLDER)
        self._best = _read_report(self._place) if self._place.exists(CONFIG_FILE) else None

    def validate(
        self, model: PatchRankingTransformer, device: torch.device, epoch: int, step: int, steps: int
    ) -> ValidationReport:
        report = self._validation.report(model, device, epoch=epoch, step=step, steps=steps)
        # A step that was done before, and again after an interruption, gives the same weights.
        if self._best is None or report.selected_by > self._best.selected_by or report.step == self._best.step:
            self._best = report = dataclasses.replace(report, is_best=True)
            facts = RankerFacts(self._training, self._tars, self._split, self._position_prior, report)
            _write(self._place, encode_ranker(model, facts.to_json()))
        return report

    def finish(self) -> ValidationReport:
        """Puts the best in the place of the finished ranker."""
        assert self._best is not None, "the last step ends an epoch"
        files = {name: self._place.read(name) for name in (WEIGHTS_FILE, CONFIG_FILE)}
        _write(self._out, files)
        for name in files:
            self._place.delete(name)
        return self._best


def _read_report(place: Location) -> ValidationReport:
    """Of the ranker there. Raises ValueError when it was not trained here."""
    facts = read_facts(load_ranker(place.url).facts, place.url)
    if facts is None:
        raise ValueError(f"{place.url}: holds a ranker that was not trained here: name another folder")
    return facts.validation


def _write(place: Location, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        place.write(name, data)
