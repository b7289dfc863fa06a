"""Samples of tars whose patches a ranker ranks as they are read, where no store has their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from ranker.patch_ranker import PatchRanker
from stages.compute.autocast import autocast
from stages.compute.prefetch import prefetch
from stages.images.crop import Crop
from stages.images.decoding import decode_image, image_size
from stages.images.views import View, evaluation_view, render
from stages.ranking.load_ranker import load_ranker
from stages.samples.ranked import RankedSample, TarSample
from stages.samples.stream import measured
from stages.settings.choices import Precision
from storage import ranks
from storage.dense_scores import PatchGrid
from storage.patch_store import Settings
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry

AT_A_TIME = 64
"""Images that are ranked together."""


class RankedNow:
    """A `stages.samples.ranked.RankSource`, of evaluation crops; and what ranks any other views.

    Scores of evaluation crops are those that `rank` writes for this ranker, but for the rounding of the store.
    """

    content = ranks.CONTENT

    def __init__(self, ranker: str, *, crop: Crop, device: str | torch.device, threads: int) -> None:
        """Raises FileNotFoundError or ValueError as `load_ranker`."""
        self.url, self.device = ranker, torch.device(device)
        self.precision: Precision = "fp32" if self.device.type == "cpu" else "fp16"
        self._checkpoint = load_ranker(ranker)
        self._crop, self._threads = crop, threads
        self._skipped: dict[str, str] = {}

    @property
    def settings(self) -> Settings:
        return {
            **self.decisive,
            **{f"ranker.{name}": value for name, value in dataclasses.asdict(self._checkpoint.config).items()},
            "patches": self.grid.n_patches,
            "views": 1,
            "views.crop": self._crop,
        }

    @property
    def decisive(self) -> Settings:
        """What decides the scores of a view."""
        return {"ranker.weights": self._checkpoint.sha256, "ranker.precision": self.precision}

    @property
    def grid(self) -> PatchGrid:
        return PatchGrid(self._checkpoint.config.image_size, self._checkpoint.config.patch_size)

    @property
    def skipped(self) -> Mapping[str, str]:
        return self._skipped

    def join(self, shards: Sequence[ShardEntry]) -> list[ShardEntry]:
        found = [shard for shard in measured(shards) if shard.nsamples]
        if not found:
            raise ValueError(f"{shards[0].url}: expected samples, the tars are empty")
        return found

    def read(self, shard: ShardEntry, *, scored: bool = True) -> Iterator[RankedSample]:
        with closing(prefetch(self._look, read_shard(shard), threads=self._threads, ahead=2 * AT_A_TIME)) as looked:
            usable = (each for each in looked if each is not None)
            while some := list(islice(usable, AT_A_TIME)):
                samples, views, pixels = zip(*some, strict=True)
                scores = np.zeros((len(some), self.grid.n_patches), np.float32)
                if scored:
                    scores = self.rank(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2))
                for sample, view, score in zip(samples, views, scores, strict=True):
                    yield _ranked(shard, sample, view, score)

    def survey(self, shard: ShardEntry) -> Iterator[RankedSample]:
        none = np.zeros(self.grid.n_patches, np.float32)
        for sample in read_shard(shard):
            try:
                view = evaluation_view(*image_size(sample.image), self._crop)
            except ValueError:
                continue  # whoever decodes it says why
            yield _ranked(shard, sample, view, none)

    def rank(self, images: Tensor, patch_size: int | None = None) -> np.ndarray:
        """Images as for `ranker.PatchRanker.rank`, of a model with that patch size if given → (B, L) float32. Raises
        ValueError for scores that are not finite."""
        with autocast(self.device, self.precision):
            scores = self._ranker.rank(images.to(self.device), patch_size).cpu()
        if not scores.isfinite().all():
            raise ValueError(f"{self.url}: expected scores that are finite, got others in {self.precision}")
        found: np.ndarray = scores.numpy()
        return found

    @cached_property
    def _ranker(self) -> PatchRanker:
        with torch.random.fork_rng([]):  # what it begins with is drawn, in the midst of somebody's training
            return PatchRanker(self._checkpoint).to(self.device)

    def _look(self, sample: Sample) -> tuple[Sample, View, np.ndarray] | None:
        try:
            image = decode_image(sample.image)
        except ValueError as error:
            self._skipped[sample.key] = str(error)
            return None
        view = evaluation_view(*image.size, self._crop)
        return sample, view, render(image, view, self.grid.image_size)


def read_bare(shard: ShardEntry) -> Iterator[TarSample]:
    """All samples of a tar."""
    return (TarSample(shard.name, sample) for sample in read_shard(shard))


def _ranked(shard: ShardEntry, sample: Sample, view: View, score: np.ndarray) -> RankedSample:
    box, flip = np.array([view.box], np.int32), np.array([view.flip])
    return RankedSample(shard.name, sample, score[None], box, flip)
