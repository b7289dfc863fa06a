"""What no ranker can rank, refused before it gives numbers that mean nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def refuse_other_than_tensors(images: Any) -> None:
    """Raises TypeError for arrays, lists and the like."""
    if not isinstance(images, Tensor):
        raise TypeError(f"images: expected a tensor, got {type(images).__name__}")


def refuse_infinite(images: Tensor) -> None:
    """Raises ValueError for float images (B, ...) that hold NaN or infinity.

    Values cannot be looked at where a program is made of the code: while it is compiled or exported, on the device
    'meta', or while a CUDA graph is captured.
    """
    if not images.is_floating_point() or torch.compiler.is_compiling() or images.is_meta:
        return
    if images.is_cuda and torch.cuda.is_current_stream_capturing():
        return
    finite = images.isfinite()
    if not finite.all():
        image = int(finite.flatten(1).all(dim=1).logical_not().nonzero()[0])
        raise ValueError(f"images: expected finite values, got NaN or infinity in image {image} of the batch")
