"""`pretrain-mae`: a masked autoencoder of any size on the user's own shards (He et al., CVPR 2022)."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from stages.compute.autocast import Precision
from stages.compute.randomness import draws_for
from stages.density.mae import PRESETS, MaeConfig, MaskedAutoencoder, PixelTarget
from stages.density.mae_batches import MaeBatch, MaeBatches, mae_objective
from stages.density.mae_checkpoints import CONFIG_FILE, save_mae
from stages.density.masks import draw_visible, visible_per_mask
from stages.density.reconstruction import draw_reconstructions
from stages.images.decoding import decode_image
from stages.images.views import evaluation_view, render
from stages.report import Summary, Tell
from stages.samples.stream import measured
from stages.training.processes import Processes
from stages.training.recipe import Recipe, chosen_precision
from stages.training.run import Done, Ingredients, TrainingStage, train
from stages.training.warmup import fitting_warmup
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
BASE_LEARNING_RATES = {"tiny": 0.048}
"""Where the published one does not suit: a small model in few small steps wants 3e-3 for 16 images."""
USUAL_STEPS = 2000
USUAL_WARMUP = 50
HELD_OUT = 16
"""Images that are not trained on, for the last loss and the picture; of few images a quarter."""
HELD_OUT_MASKS = 8
PICTURED = 8
REPORT_EVERY = 10


class PretrainMaeConfig(BaseModel):
    """Settings of `pretrain-mae`. The defaults train `tiny` in two minutes on two CPU cores."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    shards: list[str] = Field(description="Shards to train on: folders, globs, brace patterns or index files.")
    out: str = Field(description="Folder for the MAE; a training that was interrupted goes on from there.")
    preset: Literal["tiny", "base", "large", "huge"] = Field(
        "tiny", description="Architecture: 'base', 'large' and 'huge' are the published ones."
    )
    image_size: int | None = Field(None, ge=1, description="Side of the images in pixels, instead of the preset's.")
    patch_size: int | None = Field(None, ge=1, description="Side of a patch in pixels, instead of the preset's.")
    width: int | None = Field(None, ge=1, description="Width of the encoder, instead of the preset's.")
    depth: int | None = Field(None, ge=1, description="Blocks of the encoder, instead of the preset's.")
    heads: int | None = Field(None, ge=1, description="Attention heads of the encoder, instead of the preset's.")
    decoder_width: int | None = Field(None, ge=1, description="Width of the decoder, instead of the preset's.")
    decoder_depth: int | None = Field(None, ge=1, description="Blocks of the decoder, instead of the preset's.")
    decoder_heads: int | None = Field(
        None, ge=1, description="Attention heads of the decoder, instead of the preset's."
    )
    pixel_target: PixelTarget | None = Field(
        None, description="Pixels to predict: 'raw', or 'normalized' in each patch; by default the preset's."
    )
    mask_ratio: float = Field(0.75, gt=0, lt=1, description="Part of the patches that is hidden in training.")
    steps: int = Field(USUAL_STEPS, ge=1, description="Updates of the weights.")
    batch_size: int = Field(16, ge=1, description="Images in an update (4096 in the published recipe).")
    accumulate: int = Field(1, ge=1, description="Parts that an update is computed in, where memory is short.")
    base_learning_rate: float | None = Field(
        None,
        gt=0,
        description="Learning rate for 256 images in an update; by default 0.048 for 'tiny', else 1.5e-4 as published.",
    )
    warmup_steps: int | None = Field(
        None, ge=0, description="Updates in which the learning rate rises; by default 50, of few steps a fortieth."
    )
    weight_decay: float = Field(0.05, ge=0, description="Weight decay of AdamW.")
    min_scale: float = Field(0.2, gt=0, le=1, description="Smallest part of an image that a random crop takes.")
    seed: int = Field(0, description="Seed of weights, order, crops and masks.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        "auto", description="Arithmetic; 'auto': fp32 on a CPU, bf16 (or else fp16) on a GPU."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train; 'auto': on a GPU if any.")
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")
    checkpoint_every: int = Field(200, ge=1, description="Updates from one checkpoint to the next.")

    def architecture(self) -> MaeConfig:
        """The preset with what is given instead. Raises ValueError for numbers that do not fit each other."""
        preset = PRESETS[self.preset]
        names = [field.name for field in dataclasses.fields(preset) if field.name in type(self).model_fields]
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return dataclasses.replace(preset, **given)

    def recipe(self, precision: Precision, processes: int = 1) -> Recipe:
        """Raises ValueError for numbers that do not fit each other."""
        if self.batch_size % (processes * self.accumulate):
            of_workers = f"{processes} workers times " if processes > 1 else ""
            raise ValueError(
                f"batch_size: expected a multiple of {of_workers}accumulate {self.accumulate}, got {self.batch_size}"
            )
        warmup_steps = self.warmup_steps
        if warmup_steps is None:
            warmup_steps = math.ceil(fitting_warmup(USUAL_WARMUP, USUAL_STEPS, self.steps))
        elif warmup_steps > self.steps:
            raise ValueError(f"warmup_steps: expected at most all steps, {self.steps}, got {warmup_steps}")
        return Recipe(
            steps=self.steps,
            batch_size=self.batch_size,
            base_learning_rate=self.base_learning_rate or BASE_LEARNING_RATES.get(self.preset, 1.5e-4),
            warmup_steps=warmup_steps,
            weight_decay=self.weight_decay,
            accumulate=self.accumulate,
            precision=precision,
        )


@dataclasses.dataclass(frozen=True)
class PretrainMaeSummary(Summary):
    """What `run_pretrain_mae` did."""

    held_out_loss: float
    """On images that were not trained on."""


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

    def __init__(self, config: PretrainMaeConfig, processes: Processes) -> None:
        self._config, self._device = config, processes.device
        self.place = locate(config.out)
        precision = chosen_precision(config.precision, processes.device)
        self._architecture = config.architecture()
        self._recipe = config.recipe(precision, processes.count)
        visible_per_mask(self._architecture.n_patches, config.mask_ratio)  # refuses what does not fit
        self._shards = measured(expand_shards(config.shards))
        self.settings = pretraining_settings(config, self._shards, precision)

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
    """Mean over several masks for each image."""
    n_patches = model.config.n_patches
    n_visible = visible_per_mask(n_patches, config.mask_ratio)
    objective = mae_objective(model, model.target, model.mask_token.device)
    losses = []
    for number in range(HELD_OUT_MASKS):
        visible = draw_visible(draws_for(config.seed, "held out", number), len(images), n_patches, n_visible)
        losses.append(objective(MaeBatch(images, torch.from_numpy(visible)))["loss"].item())
    return sum(losses) / len(losses)
