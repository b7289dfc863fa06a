"""What a method is: a way of scoring the patches of a view.

Each stands in a file of this folder, and in a line of `stages.tables`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import ClassVar, Protocol, Self

import torch
from torch import Tensor

from stages.images.crop import Crop
from stages.samples.sample_view import SampleView
from storage.dense_scores import PatchGrid
from storage.settings import Settings
from storage.shard_index import ShardEntry


class MethodConfig(Protocol):
    """The settings that methods look at; those of `stages.methods.inputs` are None where they were not given."""

    @property
    def ranker(self) -> str | None: ...
    @property
    def model(self) -> str | None: ...
    @property
    def scores(self) -> str | None: ...
    @property
    def image_size(self) -> int | None: ...
    @property
    def patch_size(self) -> int | None: ...
    @property
    def views(self) -> int: ...
    @property
    def crop(self) -> Crop: ...
    @property
    def view_scale(self) -> float: ...
    @property
    def seed(self) -> int: ...


class Method(abc.ABC):
    """A way of scoring patches, loaded with all that it needs.

    Shapes: B views of S x S pixels, L patches in raster order.
    """

    needs: ClassVar[Mapping[str, str]] = {}
    """Those of `stages.methods.inputs` that it cannot do without, each with what it has to be, in words."""
    takes: ClassVar[Sequence[str]] = ()
    """Those that may be given besides; all others are refused."""
    version: ClassVar[int] = 1
    """Goes up whenever the same settings come to mean other scores."""

    grid: PatchGrid
    """The side of the views that it wants, and of their patches, in pixels."""
    width: int | None = None
    """Of the tokens of its network, by which the size of a batch goes; None without one: no arithmetic to choose."""
    settings: Settings
    """All that decides its scores beside the views and their grid: checksums of weights, numbers; no path."""
    preprocessing: str = "bicubic resize of the box"
    """From the stored image to what it looks at, in words; part of the settings."""

    @classmethod
    @abc.abstractmethod
    def load(cls, config: MethodConfig) -> Self:
        """Raises FileNotFoundError, or ValueError naming the file or the setting, what was expected and what it got."""

    @property
    def described(self) -> str:
        """In a few words, for the line that a run begins with; its name stands before them."""
        return f"{self.grid.n_patches} patches"

    def check_shards(self, shards: Sequence[ShardEntry]) -> None:
        """Asked once, before anything is computed: raises ValueError for shards whose images it cannot score."""
        return

    def check_read(self, shard: ShardEntry) -> None:
        """Asked once a shard is read, about its tar as it turned out to be: raises ValueError for one whose images it
        cannot have scored. Of some shards nothing but this tells that they have changed."""
        return

    def to(self, device: torch.device) -> Self:
        """Its network goes to `device`; without one nothing happens."""
        return self

    @abc.abstractmethod
    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        """Images (B, 3, S, S) uint8 on the CPU, and whose views they are → scores of their patches (B, L), any float
        type and device, higher for what to keep first; those of different views need not compare.

        The scores of a view depend on nothing else in the batch. Called under `no_grad`, and under autocast in the
        precision that was asked for. Raises ValueError naming the sample that it cannot score.
        """
