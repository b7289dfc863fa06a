"""Augmentation of batches by timm's parts: random erasing, mixup and CutMix. Both change what they get, in place.

Shapes: B normalised images (B, 3, S, S) on any device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from stages.compute.global_draws import global_draws

Identity = tuple[str | int, ...]


def erase(images: Tensor, probability: float, identities: Sequence[Identity]) -> None:
    """Random erasing (Zhong et al., AAAI 2020), each pixel of a rectangle by normal noise; what is drawn for an image
    belongs to its identity. To be called where PyTorch's global numbers are used: they go on where they were."""
    if not probability:
        return
    eraser = RandomErasing(probability, mode="pixel", device=images.device)
    with torch.random.fork_rng([images.device] if images.device.type == "cuda" else []):
        for image, identity in zip(images, identities, strict=True):
            with global_draws(*identity, "erase") as seed:
                torch.manual_seed(seed)
                eraser(image)


def mix(images: Tensor, classes: Tensor, mixup: float, cutmix: float, identity: Identity) -> None:
    """Mixup (Zhang et al., ICLR 2018) or CutMix (Yun et al., ICCV 2019) of the whole batch with itself read backwards,
    each in half of the batches where both are asked for, with the beta parameters `mixup` and `cutmix`; 0: without it.
    What images show is mixed in `classes` (B, C) alike. Of an odd number the last image stays as it is."""
    even = len(images) // 2 * 2
    if not even or not (mixup or cutmix):
        return
    # timm mixes labels too. That each image has a label of its own tells how much of it is in which.
    mixer = Mixup(mixup_alpha=mixup, cutmix_alpha=cutmix, label_smoothing=0.0, num_classes=even)
    with global_draws(*identity, "mix"):
        _, shares = mixer(images[:even], torch.arange(even, device=images.device))
    classes[:even] = shares.to(classes.dtype) @ classes[:even]
