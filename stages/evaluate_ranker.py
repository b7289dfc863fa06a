"""`evaluate-ranker`: how good a ranker is on images that it has not seen, how good it could be, and what masks are
worth."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np
import torch

from ranker.network import RankerConfig
from ranker.pretrained import CONFIG_FILE
from stages.compute.devices import resolve_device
from stages.density.control import GeometryControl
from stages.ranking.evaluation import Agreement, Evaluation
from stages.ranking.evaluation_images import EvaluationBatch, evaluation_batches
from stages.ranking.facts import RankerFacts, read_facts
from stages.ranking.load_ranker import load_ranker
from stages.ranking.mask_agreement import mask_flops, scores_per_patch, spearman_brown, splits
from stages.ranking.quality import Densities, estimate, mean_of_numbers, quality, rank_agreement
from stages.ranking.validation import RANKER, SELECTED_BY, Comparison, add_comparators, rank_images
from stages.samples.controlled import ControlledStore, with_control
from stages.samples.scored import Split, SplitShards, held_out, join_scores
from stages.settings.evaluate_ranker import EvaluateRankerConfig
from storage.patch_store import PatchStore, Settings
from storage.scores import CONTENT
from storage.shard_index import expand_shards

AGREEMENT = "of mean: spearman"
EXTRAPOLATED = (2, 4, 8)
"""Times as many masks as were measured."""


def evaluate_ranker(config: EvaluateRankerConfig, tell: Callable[[int, int], None]) -> Evaluation:
    """`tell` gets how many images are through, of how many.

    Raises ValueError for a ranker of another grid, scores or a ranker of no use, and tars that have changed since they
    were scored.
    """
    store = PatchStore.open(config.scores, CONTENT)
    controlled = with_control(store, config.control)
    control = controlled.control if isinstance(controlled, ControlledStore) else None
    checkpoint = load_ranker(config.ranker)
    refuse_other_grid(checkpoint.config, store.settings, config.ranker, config.scores)
    facts = read_facts(checkpoint.facts, config.ranker)
    part = _part(config, store, facts)
    if config.images is not None:
        part = part.draw(config.images, config.seed)
    device = torch.device(resolve_device(config.device))
    model = checkpoint.build().to(device)
    comparison, agreements = Comparison(), _Agreements(store.settings, config)
    prior = _position_prior(facts, checkpoint.config, store.settings, config.ranker)
    through = 0
    for batch in evaluation_batches(store, part, threads=config.decode_threads):
        scores = rank_images(model, batch.images, device)
        if not scores.isfinite().all():
            raise ValueError(f"{config.ranker}: its scores of {batch.keys[0]} or its neighbours are infinite or NaN")
        comparison.add(RANKER, quality(scores, batch.densities, config.top))
        add_comparators(comparison, batch, store.settings, position_prior=prior, top=config.top, seed=config.seed)
        agreements.add(scores, batch.densities, None if control is None else _controlled(batch, control))
        through += len(batch.keys)
        tell(through, part.n_samples)
    qualities, found = comparison.estimates(), agreements.found()
    if SELECTED_BY not in qualities.get("random", {}):
        raise ValueError(f"{config.scores}: the scores of each list are equal: expected an order to compare with")
    if SELECTED_BY not in qualities.get(RANKER, {}):
        raise ValueError(f"{config.ranker}: gives all patches of each image the same score: expected an order")
    extrapolated, attainable = extrapolate(found, store.settings)
    return Evaluation(
        images=part.n_samples,
        masks=store.settings["masks"],
        qualities=qualities,
        advantages=comparison.advantages(RANKER),
        agreements=found,
        extrapolated=extrapolated,
        attainable=attainable,
        flops_per_mask=mask_flops(store.settings),
        explained=None if control is None else control.explained,
    )


def _controlled(batch: EvaluationBatch, control: GeometryControl) -> Densities:
    raw = batch.densities
    score = control.apply(batch.keys, raw.visible.numpy(), raw.score.numpy())
    return dataclasses.replace(raw, score=torch.from_numpy(score))


def extrapolate(agreements: Sequence[Agreement], settings: Settings) -> tuple[list[tuple[int, float]], float | None]:
    """`Evaluation.extrapolated` and `attainable`: nothing where the masks do not agree at all."""
    if not agreements or agreements[-1].agreement.mean <= 0:
        return [], None
    last = agreements[-1]

    def expected(masks: int) -> float:
        times = scores_per_patch(settings, masks) / scores_per_patch(settings, last.masks)
        return spearman_brown(last.agreement.mean, times)

    further = [last.masks * times for times in EXTRAPOLATED]
    return [(masks, expected(masks)) for masks in further], expected(settings["masks"]) ** 0.5


def refuse_other_grid(ranker: RankerConfig, settings: Settings, ranker_path: str, store_path: str) -> None:
    """Raises ValueError unless the ranker's patches are those that were scored."""
    size, patch = settings["mae.image_size"], settings["mae.patch_size"]
    if ranker.patch_size != patch or (ranker.head == "cls" and ranker.image_size != size):
        raise ValueError(
            f"{ranker_path}: expected a ranker for the {size}-pixel images with {patch}-pixel patches of {store_path}, "
            f"got one for {ranker.image_size}-pixel images with {ranker.patch_size}-pixel patches"
        )


def _position_prior(
    facts: RankerFacts | None, ranker: RankerConfig, settings: Settings, where: str
) -> list[float] | None:
    """None for a ranker that was not trained here, or on images of another size."""
    if facts is None or ranker.image_size != settings["mae.image_size"]:
        return None
    if len(facts.position_prior) != settings["patches"]:
        raise ValueError(
            f"{where}/{CONFIG_FILE}: position_prior: expected {settings['patches']} numbers, "
            f"got {len(facts.position_prior)}"
        )
    return facts.position_prior


def _part(config: EvaluateRankerConfig, store: PatchStore, facts: RankerFacts | None) -> SplitShards:
    shards = join_scores(expand_shards(config.shards), store)
    if config.part == "all" or facts is None:
        return held_out(store, shards, Split("key", 1.0, 0), ())
    return held_out(store, shards, facts.split, frozenset(facts.tars))


class _Agreements:
    """Gathers what sets of masks say of each other, and the ranker of one of them."""

    def __init__(self, settings: Settings, config: EvaluateRankerConfig) -> None:
        self._pairs = list(splits(settings, config.seed))
        self._flops = mask_flops(settings)
        self._values: dict[int, list[list[np.ndarray]]] = defaultdict(list)

    def add(self, scores: torch.Tensor, densities: Densities, controlled: Densities | None) -> None:
        """Each is judged by a mean of scores as they are, of masks that took no part in it."""
        by_masks: dict[int, list[list[np.ndarray]]] = defaultdict(list)
        for masks, one, other in self._pairs:
            mean = densities.mean(one)
            judged = [densities.mean(other), scores, *([] if controlled is None else [controlled.mean(other)])]
            by_masks[masks].append([rank_agreement(each, mean) for each in judged])
        for masks, found in by_masks.items():
            # Of sets that share a patch or two at the most, some say nothing.
            self._values[masks].append(
                [mean_of_numbers(np.stack(values, axis=1)) for values in zip(*found, strict=True)]
            )

    def found(self) -> list[Agreement]:
        agreements = []
        for masks, values in sorted(self._values.items()):
            estimates = [estimate(np.concatenate(each)) for each in zip(*values, strict=True)]
            if all(each.n for each in estimates):
                agreements.append(Agreement(masks, masks * self._flops, *estimates))
        return agreements
