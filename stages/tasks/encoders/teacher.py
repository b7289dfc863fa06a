"""A trained classifier that another one begins as, and learns from."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ranker.digest import weights_digest
from stages.tasks.architecture import EncoderConfig
from stages.tasks.classify import Classifier
from stages.tasks.encoders.distillation import LOGITS, TOKENS
from stages.tasks.encoders.dropping import TokenDropping
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.models import load_task
from stages.tasks.task import Classes, Targets
from storage.dense_scores import PatchGrid
from storage.locations import locate


class Teacher:
    """Answers as its model does, without gradients."""

    def __init__(self, folder: str, grid: PatchGrid) -> None:
        """Raises FileNotFoundError, or ValueError naming the folder, for what is no plain classifier of `grid`."""
        saved, model = load_task(locate(folder))
        if not isinstance(model, Classifier) or saved.task != "classify" or saved.encoder.dropping:
            other = saved.encoder.dropping.encoder if saved.encoder.dropping else saved.task
            raise ValueError(f"{folder}: expected a teacher of classify with a plain encoder, got {other}")
        got = PatchGrid(saved.encoder.image_size, saved.encoder.patch_size)
        if got != grid:
            raise ValueError(
                f"{folder}: expected a teacher of images of {grid.image_size} pixels in patches of {grid.patch_size}, "
                f"got {got.image_size} and {got.patch_size}"
            )
        self.folder, self.saved, self.model = folder, saved, model.requires_grad_(False)

    @property
    def sha256(self) -> str:
        """Checksum of its weights."""
        return weights_digest(self.model.state_dict())

    def refuse_other_classes(self, classes: Classes) -> None:
        """Raises ValueError unless they are those that it was trained on."""
        if self.saved.classes != classes:
            raise ValueError(
                f"{self.folder}: expected a teacher of the {len(classes)} classes that are learnt here, got one of "
                f"{len(self.saved.classes)} with other numbers or names"
            )

    def pupil(self, dropping: TokenDropping, drop_path: float) -> tuple[EncoderConfig, KeptPatchEncoder]:
        """An encoder that begins as the teacher's. Raises ValueError for blocks that it does not have."""
        plain = dataclasses.replace(self.saved.encoder, drop_path=drop_path)
        config = plain.dropping_tokens(dropping)
        encoder = config.build()
        encoder.vit.load_state_dict(self.model.encoder.vit.state_dict())
        return config, encoder

    def to(self, device: torch.device) -> Teacher:
        self.model.to(device)
        return self

    @torch.no_grad()
    def __call__(self, images: Tensor, kept: Tensor) -> Targets:
        """Normalised images (B, 3, S, S), kept (B, k) → its answers, as `distillation_losses` takes them."""
        cls, tokens = self.model.encoder(images, kept)
        model: nn.Module = self.model
        assert isinstance(model, Classifier)
        return {LOGITS: model.logits(cls, tokens), TOKENS: tokens}
