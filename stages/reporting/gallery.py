"""A few images of a run, and what its stores and models say of their patches.

Of each store a few shards are read, spread evenly over those that are done, and of each the first samples. A page draws
maps and kept patches itself: it is given the order of the patches and not pictures of it.
"""

from __future__ import annotations

import base64
import dataclasses
import io
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from PIL import Image

from ranker import PatchRanker
from ranker.pretrained import RankerCheckpoint
from stages.density.mae import MaskedAutoencoder
from stages.density.reconstruction import PICTURED_RATIOS, reconstruct_pixels
from stages.images.decoding import decode_image
from stages.images.views import View, evaluation_view, render
from stages.reporting.counts import open_store
from stages.reporting.gallery_tars import TarCheck, choose_tars
from stages.reporting.models import Models
from stages.reporting.parts import Found, Part
from stages.samples.named import evenly
from storage.dense_scores import DenseScores, patch_grid, read_dense
from storage.patch_store import PatchStore
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry
from storage.text import printable

SIDE = 224
"""Pixels along a side of a picture at most, unless the patches ask for more."""
RECONSTRUCTED = 8
"""Images whose reconstructions are shown: an MAE may be large."""
QUALITY = 85
UNKNOWN = -1
USUAL_GRID = 14
"""Of the published models."""
BRIGHTEST = 255


@dataclasses.dataclass(frozen=True)
class PatchOrder:
    """What one store or model says of the patches of an image, in raster order."""

    source: str
    place: list[int]
    """0 for the patch that comes first."""
    shade: list[int]
    """0 for the lowest score of the image to 255 for the highest; -1 for a patch without one."""


@dataclasses.dataclass(frozen=True)
class GalleryImage:
    key: str
    shard: str
    grid: int
    """Patches along a side."""
    picture: str
    """A data URI, as all pictures here."""
    orders: tuple[PatchOrder, ...]
    reconstructions: tuple[tuple[str, str], ...] = ()
    """What each shows, and the picture."""


@dataclasses.dataclass(frozen=True)
class Gallery:
    images: tuple[GalleryImage, ...]
    sources: tuple[str, ...]
    """Of orders, that of the most images first."""
    problems: tuple[str, ...]


@dataclasses.dataclass
class _Picked:
    """An image on its way into the gallery."""

    shard: ShardEntry
    key: str
    image: Image.Image
    view: View
    grid: int
    orders: list[PatchOrder] = dataclasses.field(default_factory=list)

    def has(self, source: str) -> bool:
        return any(order.source == source for order in self.orders)


def make_gallery(found: Found, models: Models, count: int, tell: Callable[[int, int], None]) -> Gallery:
    """At most `count` images; `tell` hears how many are through, of how many."""
    problems: list[str] = []
    stores: dict[Part, PatchStore] = {}
    for part in found.of("scores", "ranks"):
        try:
            stores[part] = open_store(part)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    check = TarCheck(problems)
    picked: list[_Picked] = []
    groups = choose_tars(found, list(stores.values()), check, problems) if count else []
    for number, (store, entries) in enumerate(groups):
        share = count * (number + 1) // len(groups) - count * number // len(groups)
        try:
            picked += _pick(store, entries, share, models)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    names = {checkpoint.sha256: part.name for part, checkpoint in models.rankers.items()}
    for part, store in stores.items():
        try:
            # What a ranker of the run has ranked is that ranker's, wherever it stands.
            _add_stored(names.get(store.settings.get("ranker.weights", ""), part.name), store, picked, check)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    for part, checkpoint in models.rankers.items():
        _add_ranked(part.name, checkpoint, picked)
    images = []
    few = evenly(range(len(picked)), RECONSTRUCTED)
    mae = next((each.build().eval() for each in models.maes.values()), None)
    for number, each in enumerate(picked):
        images.append(_shown(each, tuple(_reconstructed(each, mae, number)) if mae and number in few else ()))
        tell(number + 1, len(picked))
    named = [order.source for image in images for order in image.orders]
    sources = sorted(set(named), key=lambda name: (-named.count(name), name))
    return Gallery(tuple(images), tuple(sources), tuple(dict.fromkeys(problems)))


def _pick(store: PatchStore | None, entries: Sequence[ShardEntry], count: int, models: Models) -> Iterator[_Picked]:
    grid = patch_grid(store).side if store else _usual_grid(models)
    share = math.ceil(count / len(entries))
    taken = 0
    for entry in entries:
        dense = read_dense(store, entry.name) if store else None
        rows = {key: row for row, key in enumerate(dense.key.tolist())} if dense else None
        samples = (sample for sample in read_shard(ShardEntry(entry.url)) if rows is None or sample.key in rows)
        for sample in islice(samples, min(share, count - taken)):
            try:
                image = decode_image(sample.image)
            except ValueError:
                continue  # of tars that nothing was computed from: `score` counts and names them
            view = _view_of(dense, rows[sample.key]) if dense and rows else evaluation_view(*image.size)
            taken += 1
            yield _Picked(entry, sample.key, image, view, grid)


def _usual_grid(models: Models) -> int:
    """Of images without scores: that of a model here, else of the published ones."""
    grids = [
        *(each.config.grid for each in models.rankers.values()),
        *(each.config.grid for each in models.maes.values()),
    ]
    return grids[0] if grids else USUAL_GRID


def _view_of(dense: DenseScores, row: int) -> View:
    left, top, width, height = dense.box[row, 0].tolist()
    return View(left, top, width, height, bool(dense.flip[row, 0]))


def _add_stored(name: str, store: PatchStore, picked: Sequence[_Picked], check: TarCheck) -> None:
    """What a store has of the same views. Raises ValueError for a shard that is not as recorded."""
    side = patch_grid(store).side
    for shard in dict.fromkeys(each.shard for each in picked if each.grid == side):
        if not check.is_of(store, shard):
            continue
        dense = read_dense(store, shard.name)
        rows = {key: row for row, key in enumerate(dense.key.tolist())}
        for each in picked:
            row = rows.get(each.key) if each.shard == shard else None
            if row is not None and _view_of(dense, row) == each.view and not each.has(name):
                each.orders.append(_order(name, dense.score[row, 0]))


def _add_ranked(name: str, checkpoint: RankerCheckpoint, picked: Sequence[_Picked]) -> None:
    """What a ranker says of views of its grid."""
    model, size = PatchRanker(checkpoint), checkpoint.config.image_size
    for each in picked:
        if each.grid == checkpoint.config.grid and not each.has(name):
            pixels = torch.from_numpy(np.array(render(each.image, each.view, size))).permute(2, 0, 1)[None]
            each.orders.append(_order(name, model.rank(pixels)[0].numpy()))


def _order(source: str, scores: np.ndarray) -> PatchOrder:
    known = np.isfinite(scores)
    places = np.empty(len(scores), dtype=int)
    places[np.argsort(np.where(known, -scores, np.inf), kind="stable")] = np.arange(len(scores))
    low, high = (scores[known].min(), scores[known].max()) if known.any() else (0.0, 0.0)
    shares = np.where(known, (scores - low) / (high - low if high > low else 1.0), 0.0)
    shades = np.where(known, np.rint(shares * BRIGHTEST), UNKNOWN).astype(int)
    return PatchOrder(source, places.tolist(), shades.tolist())


def _shown(each: _Picked, reconstructions: tuple[tuple[str, str], ...]) -> GalleryImage:
    side = each.grid * max(1, SIDE // each.grid)
    return GalleryImage(
        printable(each.key),
        printable(each.shard.name),
        each.grid,
        _encoded(render(each.image, each.view, side)),
        tuple(each.orders),
        reconstructions,
    )


def _reconstructed(each: _Picked, mae: MaskedAutoencoder, seed: int) -> Iterator[tuple[str, str]]:
    pixels = torch.from_numpy(np.array(render(each.image, each.view, mae.config.image_size))).permute(2, 0, 1)[None]
    for ratio in PICTURED_RATIOS:
        hidden, made = reconstruct_pixels(mae, pixels, ratio, seed)
        for what, shown in ((f"{ratio:.0%} hidden", hidden), ("reconstructed", made)):
            yield what, _encoded(shown[0].permute(1, 2, 0).numpy())


def _encoded(pixels: np.ndarray) -> str:
    """(H, W, 3) uint8 → a data URI."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=QUALITY, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
