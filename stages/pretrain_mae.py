"""`pretrain-mae`: a masked autoencoder of any size on the user's own shards (He et al., CVPR 2022)."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import math
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn.functional import mse_loss

from stages.compute.devices import resolve_device
from stages.compute.randomness import Draws, draws_for
from stages.density.mae import (
    PRESETS,
    MaeConfig,
    MaskedAutoencoder,
    PixelTarget,
    gather_tokens,
    patchify,
    unpatchify,
)
from stages.density.mae_checkpoints import CONFIG_FILE, save_mae
from stages.density.masks import visible_per_mask
from stages.density.reconstruction import paste_prediction
from stages.images.decoding import decode_image
from stages.images.drawing import labelled_grid
from stages.images.normalisation import denormalise, normalise
from stages.images.views import evaluation_view, random_view, render
from stages.samples.stream import SampleStream, measured
from stages.training.loop import Precision, Recipe, Training, TrainingReport, fastest_precision
from stages.training.warmup import fitting_warmup
from storage.checkpoints import delete_checkpoints, load_checkpoint, save_checkpoint
from storage.json_files import read_json_object
from storage.locations import locate
from storage.patch_store import Settings
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry, expand_shards
from storage.training_folder import begin_or_compare

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
PICTURED_RATIOS = (0.75, 0.9)
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

    def recipe(self, precision: Precision) -> Recipe:
        """Raises ValueError for numbers that do not fit each other."""
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size: expected a multiple of accumulate {self.accumulate}, came {self.batch_size}")
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
class PretrainMaeSummary:
    """What `run_pretrain_mae` did: nothing if `started_at` is `steps`."""

    out: str
    started_at: int
    steps: int
    held_out_loss: float
    """On images that were not trained on."""
    left_out: dict[str, str]
    """Why samples could not be used, by key."""


class MaeBatch(NamedTuple):
    """`images` (B, 3, S, S) uint8 and their sorted `visible` patches (B, K) int64."""

    images: Tensor
    visible: Tensor


def run_pretrain_mae(
    config: PretrainMaeConfig, report: Callable[[TrainingReport], None], say: Callable[[str], None]
) -> PretrainMaeSummary:
    """Trains an MAE into `config.out`: mae.safetensors, mae.json and reconstructions.png.

    Goes on from the last checkpoint there; does nothing if the MAE is finished. KeyboardInterrupt passes
    through once a checkpoint is saved. Raises ValueError for settings that do not fit each other or differ
    from those of an earlier run there, for bad shards, and for a loss that is not finite.
    """
    place, device = locate(config.out), torch.device(resolve_device(config.device))
    precision = fastest_precision(device) if config.precision == "auto" else config.precision
    architecture, recipe = config.architecture(), config.recipe(precision)
    visible_per_mask(architecture.n_patches, config.mask_ratio)  # refuses what does not fit
    shards = measured(expand_shards(config.shards))
    settings = pretraining_settings(config, shards, precision)
    begin_or_compare(place, SETTINGS_FILE, CONFIG_FILE, settings)
    checkpoints = place.child("checkpoints")
    if place.exists(CONFIG_FILE):
        delete_checkpoints(checkpoints)
        say(f"{place.url}: the MAE is finished, nothing is left to do")
        loss = read_json_object(place, CONFIG_FILE).get("held_out_loss")
        if not isinstance(loss, int | float):
            raise ValueError(f"{place.url}/{CONFIG_FILE}: held_out_loss: expected a number, got {loss!r}")
        return PretrainMaeSummary(place.url, config.steps, config.steps, loss, {})

    held_out = _held_out(shards, architecture.image_size)
    prepare = partial(_prepare, config, architecture.image_size, frozenset(held_out))
    stream = SampleStream(shards, read_shard, prepare, seed=config.seed, threads=config.decode_threads)
    torch.manual_seed(config.seed)
    model = MaskedAutoencoder(architecture)
    training = Training(model, partial(_objective, model, device), recipe, device)
    if found := load_checkpoint(checkpoints):
        training.restore(found[1])
        say(f"{place.url}: going on after step {training.step} of {config.steps}")
    started_at = training.step
    with closing(_batches(stream, config, start=training.step * config.accumulate)) as batches:
        training.run(
            batches,
            report=report,
            report_every=REPORT_EVERY,
            save=partial(save_checkpoint, checkpoints),
            save_every=config.checkpoint_every,
        )
    images = torch.from_numpy(np.stack(list(held_out.values()))).permute(0, 3, 1, 2)
    loss = _held_out_loss(model.eval(), images, config)
    picture = io.BytesIO()
    draw_reconstructions(model, images[:PICTURED], config.seed).save(picture, "PNG")
    place.write(PICTURE_FILE, picture.getvalue())
    save_mae(model, place.url, {"held_out_loss": loss, "pretraining": settings})
    delete_checkpoints(checkpoints)
    return PretrainMaeSummary(place.url, started_at, config.steps, loss, stream.left_out)


def pretraining_settings(config: PretrainMaeConfig, shards: Sequence[ShardEntry], precision: Precision) -> Settings:
    """All that decides the model, and nothing else: no paths, devices or numbers of threads."""
    tars = [[shard.name, shard.nsamples, shard.filesize, shard.md5sum] for shard in shards]
    return {
        "method": METHOD_VERSION,
        **{f"mae.{name}": value for name, value in dataclasses.asdict(config.architecture()).items()},
        **{name: getattr(config, name) for name in DECISIVE},
        **{name: getattr(config.recipe(precision), name) for name in ("warmup_steps", "base_learning_rate")},
        "precision": precision,
        "shards": len(shards),
        "shards.samples": sum(shard.nsamples or 0 for shard in shards),
        "shards.sha256": hashlib.sha256(json.dumps(tars).encode()).hexdigest(),
    }


def draw_reconstructions(model: MaskedAutoencoder, images: Tensor, seed: int) -> Image.Image:
    """What the model makes of `images` (B, 3, S, S) uint8 when most of them is hidden: a row for each."""
    columns, labels = [images], ["original"]
    for ratio in PICTURED_RATIOS:
        hidden, reconstructed = reconstruct_pixels(model, images, ratio, seed)
        columns += [hidden, reconstructed]
        labels += [f"{ratio:.0%} hidden", "reconstructed"]
    caption = "Visible patches are pasted into the reconstructions."
    if model.config.pixel_target == "normalized":
        caption += "\nPredicted are normalized pixels: mean and contrast of hidden patches are the original's."
    rows = zip(*(column.permute(0, 2, 3, 1).numpy() for column in columns), strict=True)
    return labelled_grid([list(row) for row in rows], labels, caption)


@torch.inference_mode()
def reconstruct_pixels(model: MaskedAutoencoder, images: Tensor, ratio: float, seed: int) -> tuple[Tensor, Tensor]:
    """Images (B, 3, S, S) uint8 → the same with `ratio` of the patches grey, and with these reconstructed."""
    device, patch_size = model.mask_token.device, model.config.patch_size
    n_patches = model.config.n_patches
    n_visible = max(1, int(n_patches * (1 - ratio)))
    visible = _draw_visible(draws_for(seed, "picture", n_visible), len(images), n_patches, n_visible)
    pixels = normalise(images.to(device))
    predicted, masked = model.reconstruct(pixels, visible.to(device))
    grey = patchify(pixels, patch_size).scatter(1, masked[..., None].expand_as(predicted), 0.0)
    filled = unpatchify(grey, patch_size), paste_prediction(model, pixels, predicted, masked)
    hidden, reconstructed = (denormalise(each).cpu() for each in filled)
    return hidden, reconstructed


def _objective(model: MaskedAutoencoder, device: torch.device, batch: MaeBatch) -> dict[str, Tensor]:
    """Mean squared error on the hidden patches."""
    pixels = normalise(batch.images.to(device, non_blocking=True))
    predicted, masked = model.reconstruct(pixels, batch.visible.to(device, non_blocking=True))
    return {"loss": mse_loss(predicted.float(), gather_tokens(model.target(pixels), masked))}


def _batches(
    stream: SampleStream[Sample, np.ndarray], config: PretrainMaeConfig, start: int
) -> Generator[MaeBatch, None, None]:
    """Batch `start` and all that follow; masks belong to the number of the batch."""
    n_patches = config.architecture().n_patches
    n_visible = visible_per_mask(n_patches, config.mask_ratio)
    batches = stream.batches(config.batch_size // config.accumulate, start)
    with closing(batches):
        for number, images in enumerate(batches, start):
            draws = draws_for(config.seed, "mask", number)
            visible = _draw_visible(draws, len(images), n_patches, n_visible)
            yield MaeBatch(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), visible)


def _prepare(
    config: PretrainMaeConfig, size: int, held_out: Collection[str], sample: Sample, epoch: int
) -> np.ndarray | None:
    """A random resized crop, mirrored or not, as (size, size, 3) uint8; None for what is held out."""
    if sample.key in held_out:
        return None
    image = decode_image(sample.image)
    return render(image, random_view(config.seed, sample.key, epoch, *image.size, (config.min_scale, 1.0)), size)


def _held_out(shards: Sequence[ShardEntry], size: int) -> dict[str, np.ndarray]:
    """The first usable images, by key: their evaluation crops (size, size, 3) uint8."""
    n_samples = sum(shard.nsamples or 0 for shard in shards)
    wanted = min(HELD_OUT, n_samples // 4)
    if not wanted:
        raise ValueError(f"{shards[0].url}: expected at least 4 images to train on, came {n_samples}")
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
    losses = []
    for number in range(HELD_OUT_MASKS):
        visible = _draw_visible(draws_for(config.seed, "held out", number), len(images), n_patches, n_visible)
        losses.append(_objective(model, model.mask_token.device, MaeBatch(images, visible))["loss"].item())
    return sum(losses) / len(losses)


def _draw_visible(draws: Draws, n_images: int, n_patches: int, n_visible: int) -> Tensor:
    """(n_images, n_visible) int64: sorted indices of the visible patches."""
    order = np.argsort(draws.random_raw((n_images, n_patches)), axis=1, kind="stable")
    return torch.from_numpy(np.sort(order[:, :n_visible], axis=1))
