"""`pretrain-mae`: a masked autoencoder of any size on the user's own shards (He et al., CVPR 2022)."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stages.compute.flops import PASSES, count_flops
from stages.compute.randomness import draws_for
from stages.density.mae import MaskedAutoencoder
from stages.density.mae_batches import MaeBatch, MaeBatches, mae_objective
from stages.density.mae_checkpoints import CONFIG_FILE, WEIGHTS_FILE, save_mae
from stages.density.masks import draw_visible, visible_per_mask
from stages.density.reconstruction import draw_reconstructions
from stages.images.decoding import decode_image
from stages.images.views import evaluation_view, render
from stages.report import Summary, Tell
from stages.samples.stream import measured
from stages.settings.choices import Precision
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.tabular import Tabular
from stages.training.outlook import Outlook
from stages.training.processes import Processes
from stages.training.recipe import chosen_precision
from stages.training.run import Done, Ingredients, TrainingStage, train
from storage.json_files import read_json_object
from storage.locations import locate
from storage.patch_store import Settings
from storage.shard_checksum import checksum
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry, expand_shards

METHOD_VERSION = 1
"""Goes up whenever the same settings come to mean another model."""
DECISIVE = (
    "mask_ratio",
    "steps",
    "batch_size",
    "accumulate",
    "weight_decay",
    "min_scale",
    "seed",
)
"""The settings that decide the model, beside its architecture, the arithmetic and the shards."""

SETTINGS_FILE = "pretraining.json"
PICTURE_FILE = "reconstructions.png"
HELD_OUT = 16
"""Images that are not trained on, for the last loss and the picture; of few images a quarter."""
HELD_OUT_MASKS = 8
PICTURED = 8
REPORT_EVERY = 10


@dataclasses.dataclass(frozen=True, repr=False)
class PretrainMaeSummary(Tabular, Summary):
    """What `run_pretrain_mae` did."""

    held_out_loss: float
    """On images that were not trained on."""

    def lines(self) -> list[str]:
        loss = f"loss on held-out images {self.held_out_loss:.4f}"
        return [f"MAE of {self.steps} steps in {self.out}, {loss}.", f"Look at {self.out}/{PICTURE_FILE}."]

    def rows(self) -> list[dict[str, Any]]:
        """The one row of this training."""
        counts = {"out": self.out, "started_at": self.started_at, "steps": self.steps}
        return [{**counts, "held_out_loss": self.held_out_loss, "skipped": len(self.left_out)}]


def run_pretrain_mae(config: PretrainMaeConfig, processes: Processes, tell: Tell) -> None:
    """Trains an MAE into `config.out`: mae.safetensors, mae.json and reconstructions.png.

    As `stages.training.run.train`, in `processes`, whatever `config.device`. Raises ValueError for settings that do not
    fit each other or differ from those of an earlier run there, for bad shards, and for a loss that is not finite.
    """
    stage = PretrainMae(config, processes)
    train(stage, processes, tell, report_every=REPORT_EVERY, save_every=config.checkpoint_every)


class PretrainMae(TrainingStage[MaeBatch]):
    what = "MAE"
    settings_file = SETTINGS_FILE
    finished_file = CONFIG_FILE
    weights_file = WEIGHTS_FILE

    def __init__(self, config: PretrainMaeConfig, processes: Processes) -> None:
        self._config, self._device = config, processes.device
        self.place = locate(config.out)
        precision = chosen_precision(config.precision, processes.device)
        self._architecture = config.architecture()
        self._recipe = config.recipe(precision, processes.count)
        visible_per_mask(self._architecture.n_patches, config.mask_ratio)  # refuses what does not fit
        self._shards = measured(expand_shards(config.shards))
        self.settings = pretraining_settings(config, self._shards, precision)

    def outlook(self) -> Outlook:
        size, n_patches = self._architecture.image_size, self._architecture.n_patches
        visible = torch.arange(visible_per_mask(n_patches, self._config.mask_ratio))[None]
        forward = count_flops(MaskedAutoencoder(self._architecture), torch.zeros(1, 3, size, size), visible)
        return Outlook(self._recipe, PASSES * forward)

    def prepare(self) -> Ingredients[MaeBatch]:
        config = self._config
        self._held_out = _held_out(self._shards, self._architecture.image_size)
        torch.manual_seed(config.seed)
        self._model = MaskedAutoencoder(self._architecture)
        batches = MaeBatches(
            self._shards,
            self._architecture,
            held_out=frozenset(self._held_out),
            mask_ratio=config.mask_ratio,
            decode=config.decode,
            min_scale=config.min_scale,
            seed=config.seed,
            threads=config.decode_threads,
        )
        return Ingredients(
            model=self._model,
            objective=partial(mae_objective, target=self._model.target, device=self._device),
            batches=batches,
            recipe=self._recipe,
        )

    def finish(self, done: Done) -> PretrainMaeSummary:
        model = self._model.eval()
        images = torch.from_numpy(np.stack(list(self._held_out.values()))).permute(0, 3, 1, 2)
        loss = _held_out_loss(model, images, self._config)
        picture = io.BytesIO()
        draw_reconstructions(model, images[:PICTURED], self._config.seed).save(picture, "PNG")
        self.place.write(PICTURE_FILE, picture.getvalue())
        save_mae(model, self.place.url, {"held_out_loss": loss, "pretraining": self.settings})
        return PretrainMaeSummary(self.place.url, done.started_at, done.steps, loss, left_out=done.left_out)

    def found(self) -> PretrainMaeSummary:
        loss = read_json_object(self.place, CONFIG_FILE).get("held_out_loss")
        if not isinstance(loss, int | float):
            raise ValueError(f"{self.place.url}/{CONFIG_FILE}: held_out_loss: expected a number, got {loss!r}")
        return PretrainMaeSummary(self.place.url, self._config.steps, self._config.steps, loss)


def pretraining_settings(config: PretrainMaeConfig, shards: Sequence[ShardEntry], precision: Precision) -> Settings:
    """All that decides the model, and nothing else: no paths, devices or numbers of threads."""
    return {
        "method": METHOD_VERSION,
        **{f"mae.{name}": value for name, value in dataclasses.asdict(config.architecture()).items()},
        **{name: getattr(config, name) for name in DECISIVE},
        **({"decode": config.decode} if config.decode != "full" else {}),  # earlier versions knew nothing else
        **{name: getattr(config.recipe(precision), name) for name in ("warmup_steps", "base_learning_rate")},
        "precision": precision,
        "shards": len(shards),
        "shards.samples": sum(shard.nsamples or 0 for shard in shards),
        "shards.sha256": checksum(shards),
    }


def _held_out(shards: Sequence[ShardEntry], size: int) -> dict[str, np.ndarray]:
    """The first usable images, by key: their evaluation crops (size, size, 3) uint8."""
    n_samples = sum(shard.nsamples or 0 for shard in shards)
    wanted = min(HELD_OUT, n_samples // 4)
    if not wanted:
        raise ValueError(f"{shards[0].url}: expected at least 4 images to train on, got {n_samples}")
    found: dict[str, np.ndarray] = {}
    for sample in (sample for shard in shards for sample in read_shard(shard)):
        if len(found) == wanted:
            break
        try:
            image = decode_image(sample.image)
        except ValueError:
            continue  # the training reports it
        found[sample.key] = render(image, evaluation_view(*image.size), size)
    return found


@torch.inference_mode()
def _held_out_loss(model: MaskedAutoencoder, images: Tensor, config: PretrainMaeConfig) -> float:
    """Mean over several masks for each image, all hidden patches decoded whatever is in training: figures compare."""
    n_patches = model.config.n_patches
    n_visible = visible_per_mask(n_patches, config.mask_ratio)
    objective = mae_objective(model, model.target, model.mask_token.device)
    losses = []
    for number in range(HELD_OUT_MASKS):
        visible = draw_visible(draws_for(config.seed, "held out", number), len(images), n_patches, n_visible)
        losses.append(objective(MaeBatch(images, torch.from_numpy(visible)))["loss"].item())
    return sum(losses) / len(losses)
