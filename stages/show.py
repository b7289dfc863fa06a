"""`show`: what rankers, methods and stores make of images, side by side, and what an MAE's reconstruction loses with
one of their patches."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from stages.compute.devices import resolve_device
from stages.density.mae import MaeConfig
from stages.density.mae_checkpoints import load_mae
from stages.density.masks import masks_per_round
from stages.images.views import View, evaluation_view
from stages.samples.joined import TarChecksums
from stages.samples.named import ShownImage, UnusableShown, find_shown
from stages.settings.show import MASK_RATIO, OURS, ShowConfig
from stages.showing.methods import MethodScores, open_methods
from stages.showing.rows import PageLayout, Row, draw_page, draw_row, picture_labels
from stages.showing.score_source import ScoreSource, distinct_names
from stages.showing.stored import StoredScores
from storage.locations import locate

Item = TypeVar("Item")
Used = TypeVar("Used")


def run_show(config: ShowConfig, say: Callable[[str], None]) -> int:
    """Writes the picture and returns how many images it shows; those that cannot be used are named through `say`.

    Raises FileNotFoundError, or ValueError naming what cannot be used, also where no image can.
    """
    if not config.out.lower().endswith(".png"):
        raise ValueError(f"out: expected a name that ends in .png, got {config.out}")
    place, device = locate(config.out), torch.device(resolve_device("auto"))
    found = find_shown(config.images, config.count, place.url)
    sources = open_sources(config, found, device)
    mae = None if config.mae is None else load_mae(config.mae).build().eval().to(device)
    _refuse_unfit(config, sources[0], None if mae is None else mae.config)
    viewed = _usable(found, lambda shown: (shown, fixed_view(sources, shown)), len(found), say)
    labels = picture_labels(config, sources, mae is not None)[1]
    layout = PageLayout.of(len(viewed), len(labels), config.across)

    def row_of(each: tuple[ShownImage, View | None]) -> Row:
        shown, view = each
        image = shown.decode()
        view = view or evaluation_view(*image.size, config.crop)
        return draw_row(config, sources, mae, shown, image, view, layout.side)

    rows = _usable(viewed, row_of, len(found), say)
    written = io.BytesIO()
    page = draw_page(config, sources, rows, None if mae is None else mae.config, layout.across)
    page.save(written, "PNG")
    place.write("", written.getvalue())
    return len(rows)


def open_sources(config: ShowConfig, found: Sequence[ShownImage], device: torch.device) -> list[ScoreSource]:
    """All that the settings name, in the order of the picture's columns. Raises ValueError for what cannot be used, or
    not with the images that were `found`."""
    names, checksums = source_names(config), TarChecksums()
    named = zip(config.scores, names[len(config.methods) :], strict=True)
    stores = [StoredScores(path, name, checksums) for path, name in named]
    methods = open_methods(config, found, stores[0].grid if stores else None, checksums)
    return [*(MethodScores(each.to(device), name) for each, name in zip(methods, names, strict=False)), *stores]


def source_names(config: ShowConfig) -> list[str]:
    """What the picture calls each of them: rankers and stores by their paths, methods by their names, those of one name
    by their models, too."""
    paths = [*(each.path for each in config.methods if each.path is not None), *config.scores]
    tails = dict(zip(paths, distinct_names(paths), strict=True))
    several = Counter(each.name for each in config.methods)
    names = []
    for each in config.methods:
        if each.path is None:
            names.append(each.name)
        elif each.name == OURS:
            names.append(tails[each.path])
        else:
            names.append(each.name if several[each.name] == 1 else f"{each.name} {tails[each.path]}")
    return [*names, *(tails[path] for path in config.scores)]


def fixed_view(sources: Sequence[ScoreSource], shown: ShownImage) -> View | None:
    """The view of an image that stores have scores of; None where there are no stores. Raises ValueError where they
    have them of different ones, or none."""
    views = {source.name: view for source in sources if (view := source.view(shown)) is not None}
    if len(set(views.values())) > 1:
        told = "; ".join(f"{name}: {view.box}{' mirrored' * view.flip}" for name, view in views.items())
        raise ValueError(f"{shown.url}: expected stores with scores of the same part of it, got {told}")
    return next(iter(views.values()), None)


def _usable(items: Sequence[Item], use: Callable[[Item], Used], of: int, say: Callable[[str], None]) -> list[Used]:
    """What `use` makes of each item whose image can be used, of `of` that there were."""
    used = []
    for item in items:
        try:
            used.append(use(item))
        except UnusableShown as error:
            if of == 1:
                raise
            say(f"skipped: {error}")
    if not used:
        raise ValueError(f"none of the {of} images can be used")
    return used


def _refuse_unfit(config: ShowConfig, first: ScoreSource, mae: MaeConfig | None) -> None:
    grid = first.grid.side
    if mae is None:
        if config.patch is not None:
            raise ValueError("patch: expected with mae, whose reconstruction it is taken away from")
        if config.mask_ratio != MASK_RATIO:
            raise ValueError(f"mask_ratio: expected with mae, whose masks it is of, got {config.mask_ratio:g}")
        return
    if mae.grid != grid:
        raise ValueError(
            f"{config.mae}: the MAE sees {mae.grid}x{mae.grid} patches, {first.name} {grid}x{grid}: expected the same"
        )
    masks_per_round(mae.n_patches, config.mask_ratio)  # refuses what does not fit
    if config.patch is not None and not all(0 <= place < grid for place in config.patch):
        raise ValueError(
            f"patch: expected a row and a column from 0 to {grid - 1}, got {config.patch[0]},{config.patch[1]}"
        )
