"""A random ranker, written as ours and as the published code writes its own."""

from __future__ import annotations

import argparse
from pathlib import Path

import safetensors.torch
import torch
from checksums import forget_checksums
from torch import Tensor

from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pretrained import encode_ranker

CONFIG = RankerConfig(image_size=32, patch_size=8, width=128, depth=2, heads=2)
"""Heads are 64 wide, as in all published rankers."""
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def random_ranker(config: RankerConfig = CONFIG) -> PatchRankingTransformer:
    torch.manual_seed(0)
    return PatchRankingTransformer(config).eval()


MODEL = random_ranker()


def save_as_ours(folder: Path, model: PatchRankingTransformer = MODEL, **facts: object) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in encode_ranker(model, facts).items():
        (folder / name).write_bytes(data)
    return folder


def write_weights(folder: Path, weights: dict[str, Tensor]) -> None:
    """In the place of those that were saved."""
    safetensors.torch.save_file(weights, folder / "ranker.safetensors")
    forget_checksums(folder / "ranker.json")


def save_as_published(path: Path, weights: dict[str, Tensor] | None = None, prefix: str = "score_net.") -> Path:
    """As the published code saves it: all of its model, the optimiser's state, and its options."""
    weights = MODEL.state_dict() if weights is None else weights
    content = {
        "model": {"mask_model.cls_token": torch.zeros(1), **{prefix + name: value for name, value in weights.items()}},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.95)}]},
        "epoch": 399,
        "args": argparse.Namespace(model="vit_small", lr=None, distributed=True, output_dir="out"),
    }
    torch.save(content, path)
    return path


def changed(name: str, value: Tensor | None) -> dict[str, Tensor]:
    """The weights with one tensor added, in the place of another, or taken away."""
    weights = {**MODEL.state_dict(), name: value}
    return {name: tensor for name, tensor in weights.items() if tensor is not None}
