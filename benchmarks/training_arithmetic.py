"""How fast models of the included sizes train on a CPU in fp32 and bf16, and what the way of computing attention takes.

    OMP_NUM_THREADS=1 python benchmarks/training_arithmetic.py --batch-size 64 --rounds 5

An MAE (192 x 4, decoder 128 x 4) and a `small` ranker on 196 patches of 8 pixels, random images and targets. Contenders
take turns, and ratios are of one round:

- `fp32`, `bf16`: what `pretrain-mae` and `train-ranker` do with `--precision`.
- `bf16, fused attention`: bf16 with the fused attention that fp32 has.
- `bf16, cells` (the MAE): with `--decode cells`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ranker.losses import list_mle
from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from stages.density.decoded import draw_decoded
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.mae_batches import MaeBatch, mae_objective
from stages.ranking.lists import ListBatch, ranker_objective
from stages.settings.choices import Decode, Precision
from stages.training.loop import Training
from stages.training.recipe import Recipe

CPU = torch.device("cpu")
MAE = MaeConfig(
    image_size=112,
    patch_size=8,
    width=192,
    depth=4,
    heads=3,
    decoder_width=128,
    decoder_depth=4,
    decoder_heads=4,
    pixel_target="raw",
)
VISIBLE = {"mae": 29, "ranker": 20}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    return parser.parse_args()


def visible_patches(images: int, count: int) -> np.ndarray:
    draws = np.random.default_rng(0)
    return np.stack([np.sort(draws.permutation(MAE.n_patches)[:count]) for _ in range(images)])


def mae_step(images: torch.Tensor, precision: Precision, *, fused: bool, decode: Decode = "full") -> Callable[[], None]:
    torch.manual_seed(0)
    model = MaskedAutoencoder(MAE)
    visible = visible_patches(len(images), VISIBLE["mae"])
    decoded = None
    if decode == "cells":
        decoded = torch.from_numpy(np.stack(draw_decoded(0, "", 0, visible, MAE.n_patches)))
    batch = MaeBatch(images, torch.from_numpy(visible), decoded)
    return _step(model, mae_objective(model, model.target, CPU), batch, precision, fused)


def ranker_step(images: torch.Tensor, precision: Precision, *, fused: bool) -> Callable[[], None]:
    torch.manual_seed(0)
    model = PatchRankingTransformer(RankerConfig(image_size=112, patch_size=8, **SIZES["small"]))
    visible = torch.from_numpy(visible_patches(len(images), VISIBLE["ranker"]))[:, None]
    batch = ListBatch(images, visible, torch.rand(visible.shape))
    return _step(model, ranker_objective(model, list_mle, True, CPU), batch, precision, fused)


def _step(model: nn.Module, objective: Callable, batch: object, precision: Precision, fused: bool) -> Callable:
    recipe = Recipe(steps=10**6, batch_size=256, base_learning_rate=1e-4, warmup_steps=1, precision=precision)
    training = Training(model, objective, recipe)
    if fused:
        for module in model.modules():
            if hasattr(module, "fused_attn"):
                module.fused_attn = True
    model.train()
    return lambda: training._advance([batch])


def main() -> None:
    arguments = parsed()
    images = torch.randint(0, 256, (arguments.batch_size, 3, 112, 112), dtype=torch.uint8)
    contenders = {
        ("MAE", "fp32"): mae_step(images, "fp32", fused=True),
        ("MAE", "bf16, fused attention"): mae_step(images, "bf16", fused=True),
        ("MAE", "bf16"): mae_step(images, "bf16", fused=False),
        ("MAE", "bf16, cells"): mae_step(images, "bf16", fused=False, decode="cells"),
        ("ranker", "fp32"): ranker_step(images, "fp32", fused=True),
        ("ranker", "bf16, fused attention"): ranker_step(images, "bf16", fused=True),
        ("ranker", "bf16"): ranker_step(images, "bf16", fused=False),
    }
    taken: dict[tuple[str, str], list[float]] = {name: [] for name in contenders}
    for number in range(arguments.rounds + 1):
        for name, step in contenders.items():
            started = time.perf_counter()
            step()
            if number:  # the first is to warm up
                taken[name].append(time.perf_counter() - started)
    print("| model | arithmetic | images/s, median | times fp32, median (least to most) |\n| --- | --- | --- | --- |")
    for (model, arithmetic), seconds in taken.items():
        ratios = [one / other for one, other in zip(taken[model, "fp32"], seconds, strict=True)]
        rate = len(images) / statistics.median(seconds)
        told = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {model} | {arithmetic} | {rate:.3g} | {told} |")


if __name__ == "__main__":
    main()
