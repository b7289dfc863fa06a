"""`ltrp`: our ranker, which has learnt to rank patches by their semantic density (LTRP, CVPR 2024, section 3.2)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor

from ranker.patch_ranker import PatchRanker
from ranker.pretrained import RankerCheckpoint
from stages.methods.method import Method, MethodConfig
from stages.ranking.load_ranker import load_ranker
from stages.samples.sample_view import SampleView
from stages.settings.choices import DEFAULT_RANKER
from storage.dense_scores import PatchGrid


class Ltrp(Method):
    """Scores of a trained ranker, or of a published one."""

    takes = ("ranker",)
    preprocessing = "bicubic resize of the box, ImageNet mean and standard deviation"

    def __init__(self, checkpoint: RankerCheckpoint) -> None:
        config = checkpoint.config
        self.grid = PatchGrid(config.image_size, config.patch_size)
        self.width = config.width
        self.settings = {
            "ranker.weights": checkpoint.sha256,
            **{f"ranker.{name}": value for name, value in dataclasses.asdict(config).items()},
        }
        self.ranker = PatchRanker(checkpoint)

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        return cls(load_ranker(config.ranker or DEFAULT_RANKER))

    @property
    def described(self) -> str:
        return f"ranker of {self.grid.n_patches} patches"

    def to(self, device: torch.device) -> Self:
        self.ranker.to(device)
        return self

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        return self.ranker.rank(images.to(self.ranker.mean.device))
