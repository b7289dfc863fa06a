"""`gfnet`: patches in the order in which Glance and Focus looks at them (Wang et al., NeurIPS 2020; `stages.glancing`).

Each location that the policy says, without the deviations of its training, is moved to the nearest one at which the
window holds whole patches, and the network looks there. Patches that the first look showed come first, then those that
the second one added, and so on, each time from the middle of the window outwards; those that none showed come last, the
nearer to any window's middle the sooner. Networks are those of `train-gfnet`, or a file of the published code for
ResNet-50 (its other backbones have weights by names that timm does not know). Not here: looking no further once an
image is classified with confidence; all looks are taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor

from ranker.digest import weights_digest
from stages.glancing.files import load_glance, read_published
from stages.glancing.learning import follow, look_around
from stages.glancing.network import GlanceAndFocus
from stages.glancing.places import order_of_looks, snap
from stages.images.normalisation import normalise
from stages.methods.method import Method, MethodConfig
from stages.samples.sample_view import SampleView
from storage.dense_scores import PatchGrid
from storage.locations import locate


class Gfnet(Method):
    """Scores of trained networks."""

    needs: ClassVar[Mapping[str, str]] = {"model": "a folder of train-gfnet, or a published file"}
    preprocessing = "bicubic resize of the box, ImageNet mean and standard deviation"

    def __init__(self, network: GlanceAndFocus) -> None:
        config = network.config
        self.grid = PatchGrid(config.image_size, config.patch_size)
        self.width = config.width
        self.network = network.eval().requires_grad_(False)
        self.settings = {
            "model.weights": weights_digest(network.state_dict()),
            **{f"model.{name}": getattr(config, name) for name in ("backbone", "window", "looks")},
        }

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        assert config.model is not None, "it is needed"
        place = locate(config.model)
        if place.exists():
            return cls(read_published(place.read(), config.model)[1])
        return cls(load_glance(place)[1])

    @property
    def described(self) -> str:
        config = self.network.config
        return f"{self.grid.n_patches} patches, {config.looks} looks of {config.window} pixels"

    def to(self, device: torch.device) -> Self:
        self.network.to(device)
        return self

    def normalised(self, images: Tensor) -> Tensor:
        return normalise(images.to(next(self.network.parameters()).device))

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        config, looks = self.network.config, list[Tensor]()
        sizes = (config.image_size, config.window, config.patch_size)

        def look_at_whole_patches(location: Tensor) -> Tensor:
            looks.append(snap(location.float(), *sizes))
            return looks[-1]

        look_around(self.network, self.normalised(images), follow(self.network, look_at_whole_patches))
        return order_of_looks(looks, *sizes)
