"""How good are rankers that learn from scores of each kind, at equal compute? The table in docs/results.md.

    OMP_NUM_THREADS=1 python benchmarks/rankers_by_scores.py --shards work/train --validation work/val \\
        --mae ltrp-mae-112 --out work/by-scores

The same images are scored with each kind of masks, decoded in full and at one of each 2 x 2, some of them in several
views; rankers learn from the first masks of each, as many as a budget allows, with the geometry of masks controlled and
without. All else is the same: ranker, recipe, order of the images. Judged by the mean of the paper's independent random
masks, exact, of other images: Spearman's correlation, mean over images, with its interval, and over seeds of the
training. `--out` keeps scores and figures: what is there is not computed again.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import InProcessExecutor
from pipeline.shard_run import run_shards
from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from stages.density.control import GeometryControl, fit_control
from stages.density.mae_checkpoints import load_mae
from stages.ranking.evaluation_images import EvaluationBatch, evaluation_batches
from stages.ranking.lists import RankerLists, ranker_objective
from stages.ranking.mask_agreement import mask_flops
from stages.ranking.quality import estimate, quality
from stages.ranking.validation import rank_images
from stages.samples.scored import Split, SplitShards, held_out, join_scores
from stages.score import ScoreStage, score_settings
from stages.settings.choices import Control, Decode, Masking
from stages.settings.score import ScoreConfig
from stages.tables import LOSSES
from stages.training.loop import Training
from stages.training.recipe import Recipe, epoch_end
from storage.patch_store import PatchStore
from storage.scores import CONTENT, read_scores
from storage.shard_index import ShardEntry, expand_shards

CPU = torch.device("cpu")
METRIC = "of mean: spearman"


@dataclasses.dataclass(frozen=True)
class Kind:
    """Scores that are computed, and how many of their masks are learnt from in turn."""

    masking: Masking
    decode: Decode
    masks: tuple[int, ...]
    views: int = 1

    @property
    def name(self) -> str:
        return f"{self.masking}, {self.decode}" + (f", {self.views} views" if self.views > 1 else "")


KINDS = (
    Kind("partition", "full", (10, 20)),
    Kind("random", "full", (1, 4)),
    Kind("spread", "cells", (10, 20)),
    Kind("random", "full", (1,), views=4),
    Kind("spread", "full", (10,)),
    Kind("partition", "cells", (10,)),
)
"""Of 196 patches ten masks of a partition show each once, and fewer cannot be asked for."""
CONTROLS: tuple[Control, ...] = ("none", "geometry")


class FirstMasks(PatchStore):
    """The first `masks` of each view, as if no more had been computed, and a control that is fitted on them alone."""

    def __init__(self, store: PatchStore, masks: int, control: Control) -> None:
        super().__init__(store.place, store.content, {**store.settings, "masks": masks})
        self._whole = store
        self._control: GeometryControl | None = None
        if control == "geometry":
            parts = (read_scores(self, shard) for shard in sorted(store.books.done()))
            self._control = fit_control(parts, self.settings)

    def read_shard(self, shard: str) -> dict[str, np.ndarray]:
        arrays = self._whole.read_shard(shard)
        first = {name: arrays[name][:, :, : self.settings["masks"]] for name in ("score", "visible")}
        if self._control is not None:
            first["score"] = self._control.apply(arrays["key"].tolist(), first["visible"], first["score"])
        return {**arrays, **first}


def main() -> None:
    arguments = parsed()
    torch.set_num_threads(1)
    judges = reference(arguments)
    for kind in KINDS:
        store, part = scored(arguments, kind, "train", arguments.shards, arguments.images)
        for masks in kind.masks:
            for control in CONTROLS:
                for seed in arguments.seeds:
                    judged(arguments, kind, masks, control, seed, store, part, judges)
    print(table(arguments))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", nargs="+", required=True, help="images to learn from")
    parser.add_argument("--validation", nargs="+", required=True, help="images to judge by, not seen by the MAE")
    parser.add_argument("--mae", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=200, help="to learn from")
    parser.add_argument("--judges", type=int, default=64, help="images to judge by")
    parser.add_argument("--reference-masks", type=int, default=20)
    parser.add_argument("--size", choices=SIZES, default="nano")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--base-learning-rate", type=float, default=0.004)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    return parser.parse_args()


def reference(arguments: argparse.Namespace) -> list[EvaluationBatch]:
    kind = Kind("random", "full", (arguments.reference_masks,))
    return list(evaluation_batches(*scored(arguments, kind, "judges", arguments.validation, arguments.judges)))


def scored(
    arguments: argparse.Namespace, kind: Kind, name: str, urls: list[str], images: int
) -> tuple[PatchStore, SplitShards]:
    """The store of the first shards that hold as many images, and those of it."""
    shards = first_shards(expand_shards(urls), images)
    out = arguments.out / "-".join([name, kind.masking, kind.decode, str(kind.views)])
    config = ScoreConfig(
        shards=[shard.url for shard in shards],
        mae=arguments.mae,
        out=str(out),
        masking=kind.masking,
        decode=kind.decode,
        views=kind.views,
        masks=max(kind.masks),
        precision="fp32",
    )
    store = PatchStore.create_or_open(str(out), CONTENT, score_settings(config, load_mae(arguments.mae), "fp32"))
    execution = ExecutionConfig(executor="in-process")
    outcome = run_shards(ScoreStage(config, "fp32"), store, shards, lambda: InProcessExecutor("cpu"), execution)
    if outcome.failures:
        raise SystemExit(f"{out}: {outcome.failures}")
    return store, held_out(store, join_scores(shards, store), Split("key", 1.0, 0), ())


def first_shards(shards: list[ShardEntry], images: int) -> list[ShardEntry]:
    """The fewest that hold as many images."""
    found, held = [], 0
    for shard in shards:
        if held < images:
            found.append(shard)
            held += shard.nsamples or images
    return found


def judged(
    arguments: argparse.Namespace,
    kind: Kind,
    masks: int,
    control: Control,
    seed: int,
    store: PatchStore,
    part: SplitShards,
    judges: list[EvaluationBatch],
) -> None:
    """Trains one ranker and writes down how it does on each image."""
    file = figures(arguments, kind, masks, control, seed)
    if file.exists():
        return
    learnt_from = FirstMasks(store, masks, control)
    mae = store.settings
    architecture = RankerConfig(
        image_size=mae["mae.image_size"], patch_size=mae["mae.patch_size"], head="token", **SIZES[arguments.size]
    )
    steps = epoch_end(arguments.epochs, part.n_samples, arguments.batch_size)
    recipe = Recipe(
        steps=steps,
        batch_size=arguments.batch_size,
        base_learning_rate=arguments.base_learning_rate,
        warmup_steps=steps // 10,
        clip_norm=1.0,
    )
    torch.manual_seed(seed)
    model = PatchRankingTransformer(architecture)
    lists = RankerLists(learnt_from, part, lists=None, sublist=None, seed=seed, threads=1)
    with closing(lists.batches(recipe.batch_size, 0, part=0, parts=1)) as batches:
        Training(model, ranker_objective(model, LOSSES["list_mle"], True, CPU), recipe).run(
            batches, report=lambda report: None, report_every=steps, save=lambda step, state: None, save_every=steps
        )
    values = np.concatenate(
        [quality(rank_images(model, batch.images, CPU), batch.densities, 0.25)[METRIC] for batch in judges]
    )
    content = {
        "masks": masks * kind.views,
        "flops": masks * kind.views * mask_flops(store.settings),
        "images": part.n_samples,
        "values": values.tolist(),
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))
    print(f"{file.stem}: {np.nanmean(values):.3f}", file=sys.stderr, flush=True)


def figures(arguments: argparse.Namespace, kind: Kind, masks: int, control: Control, seed: int) -> Path:
    found: Path = arguments.out / "figures" / f"{kind.masking}-{kind.decode}-{kind.views}-{masks}-{control}-{seed}.json"
    return found


def table(arguments: argparse.Namespace) -> str:
    """Cheapest first."""
    lines = [
        f"Rankers: {arguments.size}, {arguments.epochs} epochs, seeds {arguments.seeds}. Judged by "
        f"{arguments.reference_masks} masks of other images.",
        "",
        "| masks, decoded | masks an image | GFLOP an image | raw | controlled |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [row for _, row in sorted(rows(arguments))]
    return "\n".join(lines)


def rows(arguments: argparse.Namespace) -> Iterator[tuple[float, str]]:
    for kind in KINDS:
        for masks in kind.masks:
            cells = []
            for control in CONTROLS:
                found = [
                    json.loads(figures(arguments, kind, masks, control, seed).read_text()) for seed in arguments.seeds
                ]
                means = [np.nanmean(each["values"]) for each in found]
                over_images = estimate(np.mean([each["values"] for each in found], axis=0))
                cells.append(f"{over_images}, seeds {min(means):.3f} to {max(means):.3f}")
            flops = found[0]["flops"]
            yield (
                flops,
                f"| {kind.name} | {found[0]['masks']} | {flops / 1e9:.0f} | {' | '.join(cells)} |",
            )


if __name__ == "__main__":
    main()
