"""What does caching cost? The same ranker, trained for the same number of steps on cached scores and on fresh ones.

    python benchmarks/cached_or_fresh.py --shards TARS --validation OTHER_TARS --mae MAE

Cached is what this project does: each image is scored once, in some views under some masks each, and every step reads
these again. Fresh is what the published code does: every step draws new crops and masks and runs the MAE on them. All
else is the same: ranker, loss, optimiser, order of the images, lists an image and step, and the held-out images, which
are held against scores of their evaluation crops. Prints a Markdown table and what it was measured on.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import platform
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import closing

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import InProcessExecutor
from pipeline.shard_run import run_shards
from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from stages.density.mae_checkpoints import load_mae
from stages.density.masks import draw_masks, mask_sizes, masks_per_round
from stages.density.precision import fastest_trusted
from stages.density.scorer import DensityScorer
from stages.images.decoding import decode_image
from stages.images.views import random_view, render
from stages.ranking.evaluation_images import evaluation_batches
from stages.ranking.lists import ListBatch, RankerLists, ranker_objective
from stages.ranking.mask_agreement import mask_flops
from stages.ranking.quality import Estimate
from stages.ranking.validation import RANKER, SELECTED_BY, RankerValidation
from stages.samples.scored import ScoredSample, Split, SplitShards, held_out, join_scores, survey
from stages.samples.stream import SampleStream
from stages.score import ScoreConfig, ScoreStage, score_settings
from stages.tables import LOSSES
from stages.training.loop import Training
from stages.training.recipe import Recipe
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_files import Sample, read_shard
from storage.shard_index import ShardEntry, expand_shards

CPU = torch.device("cpu")
RATIO = 0.9
ANEW = 1_000_000
"""Views and masks of fresh scores are numbered from here: none of the cached ones is among them."""


@dataclasses.dataclass(frozen=True)
class FirstOf:
    """The first `views` and `masks` of what is stored, as if no more had been scored."""

    part: SplitShards
    views: int
    masks: int

    @property
    def shards(self) -> list[ShardEntry]:
        return self.part.shards

    @property
    def n_samples(self) -> int:
        return self.part.n_samples

    def read(self, store: PatchStore, shard: ShardEntry) -> Iterator[ScoredSample]:
        for sample in self.part.read(store, shard):
            yield dataclasses.replace(
                sample,
                score=sample.score[: self.views, : self.masks],
                visible=sample.visible[: self.views, : self.masks],
                box=sample.box[: self.views],
                flip=sample.flip[: self.views],
            )


def score(shards: list[ShardEntry], mae: str, out: str, views: int, masks: int) -> PatchStore:
    """All of them, in this process."""
    config = ScoreConfig(
        shards=[shard.url for shard in shards], mae=mae, out=out, views=views, masks=masks, mask_ratio=RATIO
    )
    precision = fastest_trusted(CPU)
    store = PatchStore.create_or_open(out, CONTENT, score_settings(config, load_mae(mae), precision))
    execution = ExecutionConfig(executor="in-process")
    outcome = run_shards(ScoreStage(config, precision), store, shards, lambda: InProcessExecutor("cpu"), execution)
    assert not outcome.failures, outcome.failures
    return store


def fresh_batches(shards: list[ShardEntry], mae: str, batch_size: int, lists: int) -> Iterator[ListBatch]:
    """New crops, flips and masks for every image of every batch, scored there and then."""
    checkpoint = load_mae(mae)
    config = checkpoint.config
    scorer = DensityScorer(checkpoint.build(), precision=fastest_trusted(CPU))
    hands = masks_per_round(config.n_patches, RATIO)
    sizes = mask_sizes("partition", hands, config.n_patches, RATIO)[:lists]

    def prepare(sample: Sample, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        image = decode_image(sample.image)
        view = random_view(0, sample.key, ANEW + epoch, *image.size)
        masks = draw_masks(
            0,
            sample.key,
            ANEW + epoch,
            masking="partition",
            n_masks=hands,
            n_patches=config.n_patches,
            mask_ratio=RATIO,
        )
        return render(image, view, config.image_size), masks[:lists]

    stream = SampleStream(shards, read_shard, prepare, seed=0, threads=2)
    with closing(stream.batches(batch_size)) as batches:
        for batch in batches:
            images = torch.from_numpy(np.stack([pixels for pixels, _ in batch])).permute(0, 3, 1, 2)
            visible = torch.from_numpy(np.stack([masks for _, masks in batch])).long()
            density = torch.full(visible.shape, torch.nan)
            for number, size in enumerate(sizes):
                density[:, number, :size] = scorer(images, visible[:, number, :size])
            yield ListBatch(images, visible, density)


def train(
    batches: Iterable[ListBatch], arguments: argparse.Namespace, architecture: RankerConfig, recipe: Recipe
) -> tuple[PatchRankingTransformer, float]:
    """The ranker, and the seconds that it took."""
    torch.manual_seed(0)
    model = PatchRankingTransformer(architecture)
    objective = ranker_objective(model, LOSSES["list_mle"], not arguments.asymmetric, CPU)
    started = time.monotonic()
    Training(model, objective, recipe).run(
        batches,
        report=lambda report: print(f"  step {report.step}, loss {report.loss:.3f}", flush=True),
        report_every=100,
        save=lambda step, state: None,
        save_every=recipe.steps,
    )
    return model, time.monotonic() - started


def step_flops(batch: ListBatch, architecture: RankerConfig, symmetric: bool) -> float:
    """Of the ranker, forward and backward."""
    model = PatchRankingTransformer(architecture)
    objective = ranker_objective(model, LOSSES["list_mle"], symmetric, CPU)
    with FlopCounterMode(display=False) as counter:
        objective(batch)["loss"].backward()
    return counter.get_total_flops()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", nargs="+", required=True, help="tars to train on")
    parser.add_argument("--validation", nargs="+", required=True, help="tars to validate on")
    parser.add_argument("--mae", required=True)
    parser.add_argument("--tars", type=int, default=3, help="how many of the tars to train on")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lists", type=int, default=4, help="masks that an image is ranked under at each step")
    parser.add_argument("--views", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, nargs="+", default=[1, 2, 4], help="times that masks show every patch")
    parser.add_argument("--size", choices=SIZES, default="nano")
    parser.add_argument("--head", choices=["token", "cls"], default="token")
    parser.add_argument("--base-learning-rate", type=float, default=0.004)
    parser.add_argument("--asymmetric", action="store_true", help="rank the visible patches alone, as published")
    return parser.parse_args()


def compare(arguments: argparse.Namespace, work: str) -> Iterator[str]:
    """The lines of the report."""
    shards, unseen = expand_shards(arguments.shards)[: arguments.tars], expand_shards(arguments.validation)
    mae = load_mae(arguments.mae).config
    hands = masks_per_round(mae.n_patches, RATIO)
    architecture = RankerConfig(
        image_size=mae.image_size, patch_size=mae.patch_size, head=arguments.head, **SIZES[arguments.size]
    )
    recipe = Recipe(
        steps=arguments.steps,
        batch_size=arguments.batch_size,
        base_learning_rate=arguments.base_learning_rate,
        warmup_steps=arguments.steps // 20,
        clip_norm=1.0,
    )
    store = score(shards, arguments.mae, f"{work}/training", max(arguments.views), max(arguments.rounds) * hands)
    joined, everything = join_scores(shards, store), Split("key", 1.0, 0)
    training = held_out(store, joined, everything, ())
    held = score(unseen, arguments.mae, f"{work}/validation", 1, 2 * hands)
    part = held_out(held, join_scores(unseen, held), everything, ()).draw(512, 0)
    prior = survey(store, joined, Split("key", 0.1, 0)).position_prior.tolist()
    validation = RankerValidation(
        list(evaluation_batches(held, part)), held.settings, position_prior=prior, top=0.25, seed=0
    )
    per_mask, images_seen = mask_flops(store.settings), recipe.steps * recipe.batch_size

    def row(name: str, batches: Iterator[ListBatch], masks: float) -> str:
        print(name, flush=True)
        first = next(batches)
        flops = step_flops(first, architecture, not arguments.asymmetric) * recipe.steps
        model, seconds = train(itertools.chain([first], batches), arguments, architecture, recipe)
        report = validation.report(model, CPU, epoch=0, step=recipe.steps, steps=recipe.steps)
        nonlocal beside
        beside = {scoring: found[SELECTED_BY] for scoring, found in report.qualities.items() if scoring != RANKER}
        found = report.qualities[RANKER]
        figures = f"{masks * per_mask / 1e12:.2f} | {flops / 1e12:.2f} | {seconds:.0f}"
        return f"| {name} | {found[SELECTED_BY]} | {found['of mean: spearman']} | {figures} |"

    beside: dict[str, Estimate] = {}
    rows = []
    for views, rounds in itertools.product(arguments.views, arguments.rounds):
        source = FirstOf(training, views, rounds * hands)
        lists = RankerLists(store, source, lists=arguments.lists, sublist=None, seed=0, threads=2)
        with closing(lists.batches(recipe.batch_size, 0, part=0, parts=1)) as batches:
            name = f"cached: {views} views, {rounds * hands} masks each"
            rows.append(row(name, batches, training.n_samples * views * rounds * hands))
    with closing(fresh_batches(shards, arguments.mae, recipe.batch_size, arguments.lists)) as batches:
        rows.append(row("fresh at every step", batches, images_seen * arguments.lists))

    yield (
        f"{training.n_samples} images, {recipe.steps} steps of {recipe.batch_size} with {arguments.lists} lists "
        f"each, so that each image is seen {images_seen / training.n_samples:.1f} times; {arguments.size} ranker with "
        f"head {arguments.head}, {'asymmetric' if arguments.asymmetric else 'symmetric'}; MAE of {mae.n_patches} "
        "patches."
    )
    yield f"Held out: {part.n_samples} images with {2 * hands} masks each; 95% intervals. Kendall's tau there of "
    yield f"{', '.join(f'{name} {value}' for name, value in beside.items())}."
    yield f"On {platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}. Seconds are "
    yield "those of training alone; with fresh scores, they hold the scoring."
    yield ""
    yield "| scores | Kendall in held-out masks | Spearman with the mean | TFLOP scoring | TFLOP ranker | seconds |"
    yield "| --- | --- | --- | --- | --- | --- |"
    yield from rows


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory() as work:
        lines = list(compare(arguments, work))
    print("", *lines, sep="\n")


if __name__ == "__main__":
    main()
