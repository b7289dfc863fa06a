"""Computing on as many images at a time as the device's memory holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


class MicroBatches:
    """`size` images are computed at a time; when the device's memory does not hold them it is halved for good and the
    work goes on."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self.device = device

    def map(self, compute: Callable[..., Tensor], *inputs: Tensor | Sequence[Any]) -> list[Tensor]:
        """`compute` of parts of `inputs`, each (B, ...) or B things, in order: a list without elements where there is
        no image.

        Raises MemoryError when a single image does not fit.
        """
        done: list[Tensor] = []
        start, length = 0, len(inputs[0])
        while start < length:
            part = [values[start : start + self.size] for values in inputs]
            try:
                result = compute(*part)
            except (torch.OutOfMemoryError, RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error):
                    raise
                if self.size == 1:
                    raise MemoryError(f"{self.device} has no memory for one image: {error}") from error
                result = None
            if result is None:  # outside the handler, which keeps the failed batch's tensors alive
                self.size = max(1, min(self.size, len(part[0])) // 2)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
                continue
            done.append(result)
            start += len(part[0])
        return done


def _is_out_of_memory(error: BaseException) -> bool:
    """CPU allocations that fail are plain RuntimeErrors."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
