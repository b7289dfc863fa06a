"""`grad-cam`: Grad-CAM (Selvaraju et al., ICCV 2017) on a vision transformer's last block, as LTRP's published code
takes it.

The map is of what the first norm of the last block gives: its channels at each patch, weighted with the mean over
patches of the gradient of the likeliest class's logit. One thing differs: negative values stay, where Grad-CAM makes
them zeros, all equal; the order of the positive ones is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn

from stages.compute.autocast import full_precision
from stages.methods.method import MethodConfig
from stages.methods.vision_transformer import FrozenViT, load_classifier
from stages.methods.vit_method import ViTMethod
from stages.samples.sample_view import SampleView


class GradCam(ViTMethod):
    """The map of the class that the classifier says."""

    needs: ClassVar[Mapping[str, str]] = {
        "model": "a classifier: a folder of train-task classify, a file of weights or timm:NAME"
    }

    def __init__(self, model: FrozenViT, classifier: nn.Module) -> None:
        super().__init__(model)
        self.classifier = classifier

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        return cls(*load_classifier(config, "grad-cam"))

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        vit = self.model.vit
        activations: list[Tensor] = []

        def begin_here(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            """Nothing before it needs a gradient."""
            activations.append(output.detach().requires_grad_())
            return activations[-1]

        hook = vit.blocks[-1].norm1.register_forward_hook(begin_here)
        try:
            with torch.enable_grad():
                logits = self.classifier(self.model.normalise(images))
                (gradient,) = torch.autograd.grad(logits.max(dim=1).values.sum(), activations)
        finally:
            hook.remove()
        (seen,) = activations
        patches, slopes = (each[:, vit.num_prefix_tokens :].float() for each in (seen.detach(), gradient))
        with full_precision(patches.device):
            return torch.einsum("bld,bd->bl", patches, slopes.mean(dim=1))
