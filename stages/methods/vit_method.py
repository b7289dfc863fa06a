"""Methods that look through a vision transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch

from stages.methods.grid import GRID
from stages.methods.method import Method, MethodConfig
from stages.methods.vision_transformer import FrozenViT, load_vit


class ViTMethod(Method):
    """A method in the grid of its model."""

    needs: ClassVar[Mapping[str, str]] = {
        "model": "a vision transformer: a folder of train-task, a file of weights or timm:NAME"
    }
    takes: ClassVar[Sequence[str]] = GRID
    needs_cls = False
    """Whether it asks what the CLS token attends to."""

    def __init__(self, model: FrozenViT) -> None:
        """Raises ValueError for a model without the CLS token that it needs."""
        if self.needs_cls and model.vit.cls_token is None:
            raise ValueError(f"{model.where}: expected a vision transformer with a CLS token, got one without")
        self.model = model
        self.grid = model.grid
        self.width = model.vit.embed_dim
        self.settings = model.settings
        self.preprocessing = model.preprocessing

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        return cls(load_vit(config))

    @property
    def described(self) -> str:
        return f"model of {self.grid.n_patches} patches"

    def to(self, device: torch.device) -> Self:
        self.model.to(device)
        return self
