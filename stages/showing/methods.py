"""Scores of methods, our ranker among them, which look at any view."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image

from stages.images.crop import Crop
from stages.images.views import View, render
from stages.methods.grid import GRID
from stages.methods.load_method import load_method
from stages.methods.method import Method
from stages.samples.joined import TarChecksums
from stages.samples.named import ShownImage
from stages.samples.sample_view import SampleView
from stages.settings.show import ShowConfig, ShownMethod
from stages.tables import METHODS
from storage.dense_scores import PatchGrid
from storage.locations import locate


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownMethodConfig:
    """A `MethodConfig`."""

    ranker: str | None = None
    model: str | None = None
    scores: str | None = None
    image_size: int | None = None
    patch_size: int | None = None
    views: int = 1
    crop: Crop
    view_scale: float = 1.0
    seed: int


class MethodScores:
    """A `ScoreSource`."""

    def __init__(self, method: Method, name: str) -> None:
        self.name = name
        self.grid = method.grid
        self._method = method

    def view(self, shown: ShownImage) -> View | None:
        return None

    def scores(self, shown: ShownImage, image: Image.Image, view: View) -> np.ndarray:
        pixels = torch.tensor(render(image, view, self.grid.image_size)).permute(2, 0, 1)[None]
        of = SampleView("" if shown.tar is None else shown.tar.name, shown.key, 0, view)
        scores: np.ndarray = self._method.score(pixels, [of])[0].detach().float().cpu().numpy()
        if not np.isfinite(scores).all():
            raise ValueError(f"{self.name}: its scores of {shown.url} are not finite: expected numbers")
        return scores


def open_methods(
    config: ShowConfig, found: Sequence[ShownImage], grid: PatchGrid | None, checksums: TarChecksums
) -> list[Method]:
    """Those that the settings ask for. What may have any grid has that of the first of the others or, without one,
    `grid`.

    Raises ValueError naming the method, its model or the image that do not fit each other, and where a store that a
    method looks at was made from other tars.
    """
    takes_it = any(each.path is None and "model" in METHODS[each.name].needs for each in config.methods)
    if config.model is not None and not takes_it:
        raise ValueError(f"--model: expected none, since no method that is shown looks through it; got {config.model}")
    methods = {each: _load(each, config, None) for each in config.methods if not _has_any_grid(each)}
    grid = next((method.grid for method in methods.values()), grid)
    methods |= {each: _load(each, config, grid) for each in config.methods if _has_any_grid(each)}
    tars = list({shown.tar.url: shown.tar for shown in found if shown.tar is not None}.values())
    for each, method in methods.items():
        looks_at_store = "scores" in METHODS[each.name].needs
        if looks_at_store:
            _refuse_files(each, found)
        method.check_shards(tars)
        if looks_at_store:  # by what they hold, too: an index may be missing, or older than its tar
            method.check_shards([dataclasses.replace(tar, md5sum=checksums.of(tar)) for tar in tars])
    return [methods[each] for each in config.methods]


def _refuse_files(each: ShownMethod, found: Sequence[ShownImage]) -> None:
    """Raises ValueError for an image that is no tar's: what looks at a store finds an image there by its tar."""
    if files := [shown for shown in found if shown.tar is None]:
        where = locate(str(each.path)).url
        raise ValueError(f"{files[0].url}: expected an image of a tar whose scores {where} has, got a file")


def _has_any_grid(each: ShownMethod) -> bool:
    kind = METHODS[each.name]
    return each.path is None and "model" not in kind.needs and set(GRID) <= set(kind.takes)


def _load(each: ShownMethod, config: ShowConfig, grid: PatchGrid | None) -> Method:
    kind = METHODS[each.name]
    settings = [*kind.needs, *kind.takes]
    asked = ShownMethodConfig(crop=config.crop, seed=config.seed)
    if each.path is not None:
        setting: str | None = next((name for name in ("ranker", "model", "scores") if name in settings), None)
        if setting is None:
            raise ValueError(f"--method {each.name}: expected no model, which it has no use for; got {each.path}")
        looked_through: dict[str, Any] = {setting: each.path}
        asked = dataclasses.replace(asked, **looked_through)
    elif "model" in kind.needs:
        asked = dataclasses.replace(asked, model=config.model)
    if grid is not None:
        asked = dataclasses.replace(asked, image_size=grid.image_size, patch_size=grid.patch_size)
    return load_method(each.name, asked)
