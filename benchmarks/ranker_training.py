"""How fast a ranker is trained from cached scores, against the published recipe's step, which runs the MAE.

    OMP_NUM_THREADS=1 python benchmarks/ranker_training.py --mae-size base --ranker-size small --images 16

Both train the same ranker on the same images, with one random mask an image and step, ranking its visible patches alone
(the published command's asymmetric training). Contenders take turns, and ratios are of one round:

- `published`: draws a crop, decodes it, scores it with the MAE in the published formulation, then updates the ranker.
- `cached`: what `train-ranker` does, from the second epoch on: scores from the store, pixels that were rendered before.
- `cached, first epoch`: the same with every image decoded from its tar.

The published formulation computes its scores in float32; it sees each batch once in each round.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from published_formulation import published_scores

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ranker.losses import list_mle
from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from stages.density.mae import PRESETS, MaskedAutoencoder
from stages.density.mae_checkpoints import load_mae, save_mae
from stages.density.masks import draw_masks
from stages.images.decoding import decode_image
from stages.images.views import random_view, render
from stages.ranking.lists import ListBatch, RankerLists, ranker_objective
from stages.samples.scored import Split, held_out, join_scores
from stages.samples.stream import SampleStream
from stages.score import ScoreStage, score_settings
from stages.settings.score import ScoreConfig
from stages.settings.shard import ShardConfig
from stages.shard import run_shard
from stages.stage import Receipt
from stages.training.loop import Training
from stages.training.recipe import Recipe
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry, expand_shards

CPU = torch.device("cpu")
RATIO = 0.9


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", nargs="+", help="tars with images; by default built-in scenes of 256 pixels")
    parser.add_argument("--mae", help="by default one of --mae-size with random weights")
    parser.add_argument("--mae-size", choices=PRESETS, default="base")
    parser.add_argument("--ranker-size", choices=SIZES, default="small")
    parser.add_argument("--images", type=int, default=16, help="images in an epoch, which is one batch")
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def one_mask(sample: Sample, number: int, n_patches: int) -> np.ndarray:
    return draw_masks(0, sample.key, number, masking="random", n_masks=1, n_patches=n_patches, mask_ratio=RATIO)[0]


def fresh(shards: list[ShardEntry], mae: MaskedAutoencoder, size: int) -> Iterator[ListBatch]:
    """New crops and masks for every batch, scored in the published formulation."""
    config = mae.config

    def prepare(sample: Sample, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        image = decode_image(sample.image)
        view = random_view(0, sample.key, 1 + epoch, *image.size)
        return render(image, view, config.image_size), one_mask(sample, 1 + epoch, config.n_patches)

    stream = SampleStream(shards, read_shard, prepare, seed=0, threads=1)
    with closing(stream.batches(size)) as batches:
        for batch in batches:
            images = torch.from_numpy(np.stack([pixels for pixels, _ in batch])).permute(0, 3, 1, 2)
            visible = torch.from_numpy(np.stack([mask for _, mask in batch])).long()
            yield ListBatch(images, visible[:, None], published_scores(mae, images, visible)[:, None])


def cached(store: PatchStore, shards: list[ShardEntry], size: int) -> Iterator[ListBatch]:
    every = held_out(store, join_scores(shards, store), Split("key", 1.0, 0), ())
    lists = RankerLists(store, every, lists=1, sublist=None, seed=0, threads=1)
    with closing(lists.batches(size, 0, part=0, parts=1)) as batches:
        yield from batches


def made_scores(shards: list[ShardEntry], mae: str, out: str) -> PatchStore:
    config = ScoreConfig(shards=["-"], mae=mae, out=out, masking="random", masks=1, mask_ratio=RATIO)
    store = PatchStore.create_or_open(out, CONTENT, score_settings(config, load_mae(mae), "fp32"))
    stage = ScoreStage(config, "fp32")
    stage.setup("cpu", torch.get_num_threads())
    for shard in shards:
        assert [each for each in stage.process(shard) if isinstance(each, Receipt)]
    return store


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def main() -> None:
    arguments = parsed()
    with tempfile.TemporaryDirectory() as work:
        if not arguments.shards:
            scenes = ShardConfig(scenes=arguments.images, scene_size=256, shard_size=8, out=f"{work}/tars")
            run_shard(scenes, lambda *_: None)
        shards = expand_shards(arguments.shards or [f"{work}/tars"])
        if not arguments.mae:
            torch.manual_seed(0)
            save_mae(MaskedAutoencoder(PRESETS[arguments.mae_size]), f"{work}/mae", {})
        where = arguments.mae or f"{work}/mae"
        mae = load_mae(where).build().eval()
        store = made_scores(shards, where, f"{work}/scores")
        architecture = RankerConfig(
            image_size=mae.config.image_size, patch_size=mae.config.patch_size, **SIZES[arguments.ranker_size]
        )
        recipe = Recipe(steps=10**6, batch_size=arguments.images, base_learning_rate=1e-4, warmup_steps=1)

        def steps(batches: Iterator[ListBatch]) -> Callable[[], object]:
            torch.manual_seed(0)
            model = PatchRankingTransformer(architecture)
            training = Training(model, ranker_objective(model, list_mle, False, CPU), recipe)
            return lambda: training._advance([next(batches)])

        taken: dict[str, list[float]] = {"published": [], "cached, first epoch": [], "cached": []}
        online = steps(fresh(shards, mae, arguments.images))
        for number in range(arguments.rounds):
            offline = steps(cached(store, shards, arguments.images))
            taken["cached, first epoch"].append(seconds_of(offline))
            offline()  # its views may have been rendered ahead
            found = {"published": seconds_of(online), "cached": seconds_of(offline)}
            for name, each in found.items():
                taken[name].append(each)
            print(f"round {number + 1}: {found}", file=sys.stderr, flush=True)
        print("| step | images/s, median | times the published, median (least to most) |\n| --- | --- | --- |")
        for name, seconds in taken.items():
            ratios = [one / other for one, other in zip(taken["published"], seconds, strict=True)]
            rate = arguments.images / statistics.median(seconds)
            told = f"{statistics.median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            print(f"| {name} | {rate:.3g} | {told} |")


if __name__ == "__main__":
    main()
