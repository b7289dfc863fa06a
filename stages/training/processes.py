"""The processes that train one model together, as a stage sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

Value = TypeVar("Value")


class Processes(Protocol):
    """Those of one training: this is number `rank` of `count`."""

    @property
    def rank(self) -> int: ...

    @property
    def count(self) -> int: ...

    @property
    def device(self) -> torch.device:
        """What this process computes on."""

    def share_gradients(self, model: nn.Module) -> nn.Module:
        """`model` (on `device`), wrapped so that a backward pass averages its gradients over all processes."""

    def average(self, values: Tensor) -> Tensor:
        """The mean of `values`, which has one shape in all processes; all must call it."""

    def mean_size(self, size: int) -> float | Tensor:
        """The mean over all processes of the number of samples that each has of an update; all must call it."""

    def gather(self, value: Value) -> list[Value]:
        """The `value` of each process, in their order; all must call it."""


@dataclass(frozen=True)
class SingleProcess:
    """This one alone."""

    device: torch.device
    rank: int = 0
    count: int = 1

    def share_gradients(self, model: nn.Module) -> nn.Module:
        return model

    def average(self, values: Tensor) -> Tensor:
        return values

    def mean_size(self, size: int) -> float | Tensor:
        return size

    def gather(self, value: Value) -> list[Value]:
        return [value]
