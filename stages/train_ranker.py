"""`train-ranker`: the ranking model, from cached scores alone (LTRP, CVPR 2024, section 3.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch

from ranker.encoder_weights import load_encoder
from ranker.losses import focused
from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pretrained import CONFIG_FILE, WEIGHTS_FILE
from stages.compute.flops import PASSES, flops_of
from stages.density.masks import mask_sizes
from stages.ranking.best_ranker import BEST_FILES, BestRanker, read_report
from stages.ranking.evaluation_images import evaluation_batches
from stages.ranking.facts import RankerFacts
from stages.ranking.lists import ListBatch, RankerLists, ranker_objective
from stages.ranking.table import quality_rows, quality_table
from stages.ranking.validation import RankerValidation, ValidationReport
from stages.report import Summary, Tell
from stages.samples.controlled import control_settings, with_control
from stages.samples.scored import Split, Survey, join_scores, survey
from stages.settings.choices import Precision
from stages.settings.train_ranker import TrainRankerConfig
from stages.tables import LOSSES
from stages.tabular import Tabular
from stages.training.encoders import Encoder, read_encoder
from stages.training.outlook import Outlook
from stages.training.processes import Processes
from stages.training.recipe import Recipe, chosen_precision, epoch_end
from stages.training.run import Done, Ingredients, TrainingStage, train
from storage.locations import locate
from storage.patch_store import PatchStore, Settings, fingerprint
from storage.scores import CONTENT
from storage.shard_checksum import checksum
from storage.shard_index import ShardEntry, expand_shards

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean another model."""
SETTINGS_FILE = "training.json"
REPORT_EVERY = 10


@dataclasses.dataclass(frozen=True, repr=False)
class TrainRankerSummary(Tabular, Summary):
    """What `run_train_ranker` did."""

    best: ValidationReport

    def lines(self) -> list[str]:
        own = f"Ranker after epoch {self.best.epoch}, the best by validation, in {self.out}."
        return [*quality_table(self.best.qualities, "on held-out images"), "", own]

    def rows(self) -> list[dict[str, Any]]:
        """Of each scoring and metric: the mean on held-out images, its interval and their number."""
        return quality_rows(self.best.qualities)


def run_train_ranker(config: TrainRankerConfig, processes: Processes, tell: Tell) -> None:
    """Trains a ranker into `config.out`: ranker.safetensors and ranker.json, with the weights that validated best.

    As `stages.training.run.train`; the first process validates. Raises ValueError for settings that do not fit each
    other or differ from those of an earlier run there, for scores that cannot be learnt from, for tars that have
    changed since they were scored, and for a loss that is not finite.
    """
    train(
        TrainRanker(config, processes), processes, tell, report_every=REPORT_EVERY, save_every=config.checkpoint_every
    )


class TrainRanker(TrainingStage[ListBatch]):
    what = "ranker"
    settings_file = SETTINGS_FILE
    finished_file = CONFIG_FILE
    weights_file = WEIGHTS_FILE
    scratch = BEST_FILES

    def __init__(self, config: TrainRankerConfig, processes: Processes) -> None:
        self._config, self._processes = config, processes
        self.place = locate(config.out)
        self._store = store = PatchStore.open(config.scores, CONTENT)
        self._learnt_from = with_control(store, config.control)  # validated is on scores as they are
        self._shards = join_scores(expand_shards(config.shards), store)
        self._split = Split.draw(config.split, config.validation, config.seed, [shard.name for shard in self._shards])
        self._precision = chosen_precision(config.precision, processes.device)
        self._architecture = config.architecture(store.settings["mae.image_size"], store.settings["mae.patch_size"])
        self._encoder = read_encoder(config.init) if config.init else None
        self.settings = training_settings(
            config, self._architecture, self._encoder, self._learnt_from, self._shards, self._split, self._precision
        )

    def outlook(self) -> Outlook:
        chosen, size = self._config.recipe(), self._architecture.image_size
        known = survey(self._store, self._shards, self._split)
        visible = None
        if not chosen.symmetric:
            longest = longest_list(self._store.settings)
            visible = torch.arange(longest).expand(1, min(chosen.lists, self._store.settings["masks"]), longest)
        network, image = PatchRankingTransformer(self._architecture), torch.zeros(1, 3, size, size)
        forward = flops_of(lambda: network(image, visible))
        return Outlook(self._optimisation(known.training.n_samples), PASSES * forward)

    def _optimisation(self, n_images: int) -> Recipe:
        return Recipe.of_epochs(
            self._config.recipe(),
            n_images,
            processes=self._processes.count,
            accumulate=self._config.accumulate,
            precision=self._precision,
        )

    def prepare(self) -> Ingredients[ListBatch]:
        config, chosen, device = self._config, self._config.recipe(), self._processes.device
        known = survey(self._store, self._shards, self._split)
        n_images = known.training.n_samples
        recipe = self._optimisation(n_images)
        torch.manual_seed(config.seed)
        model = PatchRankingTransformer(self._architecture)
        if self._encoder:
            load_encoder(model, self._encoder.weights, self._encoder.where)
        loss = LOSSES[chosen.loss]
        if top := self.settings.get("focus_top"):
            loss = partial(focused, top=top)
        epochs = {epoch_end(n + 1, n_images, recipe.batch_size): n + 1 for n in range(chosen.epochs)}
        self._best = self._open_best(known) if self._processes.rank == 0 else None

        def after_step(step: int) -> ValidationReport | None:
            if self._best is None or step not in epochs:
                return None
            return self._best.validate(model, device, epoch=epochs[step], step=step, steps=recipe.steps)

        return Ingredients(
            model=model,
            objective=partial(ranker_objective, loss=loss, symmetric=chosen.symmetric, device=device),
            batches=RankerLists(
                self._learnt_from,
                known.training,
                lists=chosen.lists,
                sublist=config.sublist,
                seed=config.seed,
                threads=config.decode_threads,
            ),
            recipe=recipe,
            opening=(
                f"{n_images} images of {len(self._shards)} scored shards to train on, {known.validation.n_samples} "
                f"held out; {self._architecture.n_patches} patches; {recipe.steps} steps of {recipe.batch_size} in "
                f"{self._precision}"
            ),
            after_step=after_step,
        )

    def _open_best(self, known: Survey) -> BestRanker:
        config = self._config
        part = known.validation.draw(config.validation_images, config.seed)
        prior = known.position_prior.tolist()
        validation = RankerValidation(
            list(evaluation_batches(self._store, part, threads=config.decode_threads)),
            self._store.settings,
            position_prior=prior,
            top=config.top,
            seed=config.seed,
        )
        tars = sorted(str(shard.md5sum) for shard in known.training.shards)
        return BestRanker(self.place, validation, partial(RankerFacts, self.settings, tars, self._split, prior))

    def finish(self, done: Done) -> TrainRankerSummary:
        assert self._best is not None, "the first process has it"
        best = self._best.finish()
        return TrainRankerSummary(self.place.url, done.started_at, done.steps, best, left_out=done.left_out)

    def found(self) -> TrainRankerSummary:
        best = read_report(self.place)
        return TrainRankerSummary(self.place.url, best.steps, best.steps, best)


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
        **control_settings(store),
        "shards": len(shards),
        "shards.samples": sum(shard.nsamples or 0 for shard in shards),
        "shards.sha256": checksum(shards),
    }


def longest_list(settings: Settings) -> int:
    """Of a store of scores: the patches that a mask shows at most."""
    names = ("masks.kind", "masks", "patches", "masks.ratio")
    return max(mask_sizes(*(settings[name] for name in names)))
