"""What it costs to choose the patches of an image where nothing is cached: to score them, and to choose."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeVar

import torch

from ranker.network import PatchRankingTransformer, RankerConfig
from stages.density.cost import density_flops
from stages.density.decoded import decode_of, decoded_count
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.masks import mask_sizes
from stages.density.scorer import DensityScorer
from stages.ranking.mask_agreement import mask_flops
from stages.settings.choices import Precision
from stages.tasks.throughput import image_cost, time_in_turns
from storage import ranks, scores
from storage.patch_store import Settings

Config = TypeVar("Config", RankerConfig, MaeConfig)
CPU = torch.device("cpu")
SCORING = {"patches", "masks", "masks.kind", "masks.ratio", "removal", "distance"}
"""Settings of a store of scores that decide what they cost, beside the MAE's architecture."""


class Scored(Protocol):
    """A store, or whatever else has the settings that made scores, by a store's names."""

    @property
    def content(self) -> str: ...
    @property
    def settings(self) -> Settings: ...


def selector_cost(
    store: Scored | None,
    choose: Callable[[], object],
    device: str | torch.device,
    precision: Precision,
    *,
    batch_size: int = 64,
    seconds: float = 1.0,
) -> tuple[float | None, float | None]:
    """Floating-point operations and seconds for one image: None, None where the store does not tell what made it.

    The model that made the store's values is built with random weights and timed on random images, `batch_size` of them
    at a time; of scores, on as many as a `DensityScorer` takes at once. `choose` chooses the patches of one image whose
    scores are there: its seconds are added, as when images are chosen for one after the other, and no operations.
    `store` is None for a selector that needs no scores. Each of the two is timed for about `seconds`.
    """
    device = torch.device(device)
    if store is None:
        flops, scoring = 0.0, 0.0
    elif store.content == ranks.CONTENT and (config := _architecture(RankerConfig, "ranker.", store.settings)):
        flops, scoring = _ranker_cost(config, device, precision, batch_size, seconds)
    elif (
        store.content == scores.CONTENT
        and store.settings.keys() >= SCORING
        and (mae := _architecture(MaeConfig, "mae.", store.settings))
    ):
        flops, scoring = _density_cost(mae, store.settings, device, precision, batch_size, seconds)
    else:
        return None, None
    (choosing,) = time_in_turns([choose], CPU, seconds)
    return flops, scoring + choosing


def _ranker_cost(
    config: RankerConfig, device: torch.device, precision: Precision, batch_size: int, seconds: float
) -> tuple[float, float]:
    """For the scores of all patches of an image."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        network = PatchRankingTransformer(config).eval().requires_grad_(False).to(device)
        images = torch.randn(batch_size, 3, config.image_size, config.image_size)
    return image_cost(network, images, device=device, precision=precision, seconds=seconds)


def _density_cost(
    config: MaeConfig, settings: Settings, device: torch.device, precision: Precision, batch_size: int, seconds: float
) -> tuple[float, float]:
    """The same for the semantic densities of one view, under all of its masks."""
    n_masks = settings["masks"]
    visible = max(mask_sizes(settings["masks.kind"], n_masks, config.n_patches, settings["masks.ratio"]))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        scorer = DensityScorer(
            MaskedAutoencoder(config),
            removal=settings["removal"],
            distance=settings["distance"],
            precision=precision,
            device=device,
        )
        count = min(batch_size, scorer.micro_batch)
        images = torch.randint(0, 256, (count, 3, config.image_size, config.image_size), dtype=torch.uint8)
        order = torch.rand(count, config.n_patches).argsort(dim=1)
        shown = order[:, :visible].sort(dim=1).values
        decoded = order[:, visible:][:, : decoded_count(decode_of(settings), config.n_patches, visible)]
    (taken,) = time_in_turns([partial(scorer, images, shown, decoded)], device, seconds)
    flops = n_masks * mask_flops(settings)
    # One mask is timed, of the largest size; sizes differ by one patch at most.
    return flops, taken / count * flops / density_flops(config, visible, settings["removal"], decode_of(settings))


def _architecture(kind: type[Config], prefix: str, settings: Settings) -> Config | None:
    """The settings that begin with `prefix`; None where one of the config's fields is not among them."""
    names = [field.name for field in dataclasses.fields(kind)]
    if not settings.keys() >= {f"{prefix}{name}" for name in names}:
        return None
    return kind(**{name: settings[f"{prefix}{name}"] for name in names})
