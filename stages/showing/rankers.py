"""Scores of a ranker, which looks at any view."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from ranker.patch_ranker import PatchRanker
from stages.images.views import View, render
from stages.ranking.load_ranker import load_ranker
from stages.samples.named import ShownImage


class RankerScores:
    """A `ScoreSource`."""

    def __init__(self, path: str, name: str, device: torch.device) -> None:
        self.name = name
        self._path = path
        self._ranker = PatchRanker(load_ranker(path)).to(device)
        self.grid = self._ranker.config.grid

    def view(self, shown: ShownImage) -> View | None:
        return None

    def scores(self, shown: ShownImage, image: Image.Image, view: View) -> np.ndarray:
        seen = render(image, view, self._ranker.config.image_size)
        pixels = torch.tensor(seen, device=self._ranker.mean.device).permute(2, 0, 1)[None]
        scores: np.ndarray = self._ranker.rank(pixels)[0].cpu().numpy()
        if not np.isfinite(scores).all():
            raise ValueError(f"{self._path}: its scores of {shown.url} are not finite: expected numbers")
        return scores
