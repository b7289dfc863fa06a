"""`show`: what a ranker makes of images, and what an MAE's reconstruction loses with one of their patches."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image

from ranker.patch_ranker import PatchRanker
from ranker.selection import top_patches
from stages.compute.devices import resolve_device
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.mae_checkpoints import load_mae
from stages.density.masks import draw_masks, masks_per_round
from stages.density.patch_removal import remove_patch
from stages.images.drawing import heat_overlay, labelled_grid, only_patches, outlined
from stages.images.views import evaluation_view, render
from stages.ranking.load_ranker import load_ranker
from stages.samples.named import ShownImage, find_shown
from storage.locations import locate

CHOSEN, VISIBLE = "red", "white"
"""Colours of frames."""
DRAWN = 336
"""Pixels along a side of a crop at most: a photograph is looked at in more of them than a ranker sees."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """Settings of `show`: what its options say."""

    images: Sequence[str]
    ranker: str
    out: str
    mae: str | None = None
    keep: Sequence[float] = (0.75, 0.5, 0.25)
    patch: tuple[int, int] | None = None
    """Row and column, from 0; None for the patch that the ranker puts first."""
    count: int = 12
    mask_ratio: float = 0.9
    crop: float = 0.875
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Row:
    """Pictures side by side, each (H, W, 3) uint8, and a line about them."""

    title: str
    pictures: list[np.ndarray]


def run_show(config: ShowConfig, say: Callable[[str], None]) -> int:
    """Writes the picture and returns how many images it shows; those that cannot be used are named through `say`.

    Raises FileNotFoundError, or ValueError naming what cannot be used, also where no image can.
    """
    if not config.out.lower().endswith(".png"):
        raise ValueError(f"out: expected a name that ends in .png, got {config.out}")
    place, device = locate(config.out), torch.device(resolve_device("auto"))
    found = find_shown(config.images, config.count, place.url)
    ranker = PatchRanker(load_ranker(config.ranker)).to(device)
    mae = None if config.mae is None else load_mae(config.mae).build().eval().to(device)
    _refuse_unfit(config, ranker, None if mae is None else mae.config)
    rows = []
    for each in found:
        try:
            image = each.decode()
        except ValueError as error:
            if len(found) == 1:
                raise
            say(f"skipped: {error}")
        else:
            rows.append(draw_row(config, ranker, mae, each, image))
    if not rows:
        raise ValueError(f"none of the {len(found)} images can be used")
    written = io.BytesIO()
    draw_rows(config, rows, None if mae is None else mae.config).save(written, "PNG")
    place.write("", written.getvalue())
    return len(rows)


def draw_row(
    config: ShowConfig, ranker: PatchRanker, mae: MaskedAutoencoder | None, shown: ShownImage, image: Image.Image
) -> Row:
    """The evaluation crop of an image with its score map, what remains of it at each keep ratio, and the removal of a
    patch if there is an MAE. Each model sees the crop at its own size; people see it in whole pixels for each patch."""
    grid, view = ranker.config.grid, evaluation_view(*image.size, config.crop)
    seen = render(image, view, ranker.config.image_size)
    scores = ranker.rank(torch.tensor(seen, device=ranker.mean.device).permute(2, 0, 1)[None])[0].cpu()
    if not scores.isfinite().all():
        raise ValueError(f"{config.ranker}: its scores of {shown.url} are not finite: expected numbers")
    kept = [top_patches(scores, ratio).tolist() for ratio in config.keep]
    crop = render(image, view, grid * max(1, DRAWN // grid))
    pictures = [crop, heat_overlay(crop, scores.view(grid, grid).numpy())]
    if mae is None:
        return Row(shown.name, [*pictures, *(only_patches(crop, patches, grid) for patches in kept)])
    chosen = int(scores.argmax()) if config.patch is None else config.patch[0] * grid + config.patch[1]
    removal = _draw_removal(config, mae, shown.key, render(image, view, mae.config.image_size), chosen)
    row, column = divmod(chosen, grid)
    by_ranker = 1 + int((scores > scores[chosen]).sum())
    title = f"{shown.name}: patch in row {row}, column {column}; rank {by_ranker} of {grid**2} by the ranker; "
    pictures = [outlined(picture, [chosen], grid, CHOSEN, bold=True) for picture in pictures]
    pictures += [only_patches(crop, patches, grid) for patches in kept]
    return Row(title + removal.title, [*pictures, *removal.pictures])


def draw_rows(config: ShowConfig, rows: Sequence[Row], mae: MaeConfig | None) -> Image.Image:
    """All of it, with a caption that says what is seen."""
    labels = ["image", "the ranker's scores", *(f"{ratio:.3g} kept" for ratio in config.keep)]
    caption = "Scores: dark blue is the lowest of the image, yellow the highest. Kept: the patches that score highest."
    if mae is not None:
        visible = f"{1 - config.mask_ratio:.0%} visible"
        labels += [visible, "reconstructed", "without the red one", "difference"]
        caption += (
            "\nReconstructed: what the MAE makes of the visible patches (framed in white, and pasted in), and of all "
            "but the red one. Difference: how far these two are apart, dark blue where not at all, yellow where most. "
            "Semantic density: the mean of that over the hidden patches, in the units that the MAE predicts in. "
            "Rows and columns count from 0."
        )
        if mae.pixel_target == "normalized":
            caption += "\nThe MAE predicts normalized pixels: mean and contrast of hidden patches are the original's."
    return labelled_grid([row.pictures for row in rows], labels, caption, [row.title for row in rows])


def _draw_removal(config: ShowConfig, mae: MaskedAutoencoder, key: str, crop: np.ndarray, chosen: int) -> Row:
    """Under that one of the first round of masks that shows the patch."""
    grid, n_patches = mae.config.grid, mae.config.n_patches
    masks = draw_masks(
        config.seed,
        key,
        view=0,
        masking="partition",
        n_masks=masks_per_round(n_patches, config.mask_ratio),
        n_patches=n_patches,
        mask_ratio=config.mask_ratio,
    )
    (visible,) = (mask[mask >= 0] for mask in masks if chosen in mask)
    others = [int(patch) for patch in visible if patch != chosen]
    removal = remove_patch(mae, crop, visible, chosen)
    score = removal.scores[visible.tolist().index(chosen)]
    place = 1 + int((removal.scores > score).sum())

    def framed(picture: np.ndarray) -> np.ndarray:
        return outlined(outlined(picture, others, grid, VISIBLE), [chosen], grid, CHOSEN, bold=True)

    difference = heat_overlay(crop, removal.difference, strength=1.0)
    without = only_patches(removal.without, set(range(n_patches)) - {chosen}, grid)
    return Row(
        f"semantic density {score:.3g}, rank {place} of the {len(visible)} visible",
        [framed(picture) for picture in (only_patches(crop, visible, grid), removal.anchor, without, difference)],
    )


def _refuse_unfit(config: ShowConfig, ranker: PatchRanker, mae: MaeConfig | None) -> None:
    grid = ranker.config.grid
    if mae is None:
        if config.patch is not None:
            raise ValueError("patch: expected with mae, whose reconstruction it is taken away from")
        return
    if mae.grid != grid:
        raise ValueError(
            f"{config.mae}: the MAE sees {mae.grid}x{mae.grid} patches, the ranker {grid}x{grid}: expected the same"
        )
    masks_per_round(mae.n_patches, config.mask_ratio)  # refuses what does not fit
    if config.patch is not None and not all(0 <= place < grid for place in config.patch):
        raise ValueError(
            f"patch: expected a row and a column from 0 to {grid - 1}, got {config.patch[0]},{config.patch[1]}"
        )
