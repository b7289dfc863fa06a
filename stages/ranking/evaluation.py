"""What `evaluate-ranker` finds, and how it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from stages.ranking.quality import Estimate
from stages.ranking.table import quality_rows, quality_table
from stages.tabular import Tabular


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Two disjoint sets of `masks` masks of the same images, and the ranker against one of them."""

    masks: int
    flops: float
    """That one set costs for an image."""
    agreement: Estimate
    """Spearman between the mean densities of the two sets."""
    ranker: Estimate
    """Spearman between the ranker and the mean density of one set."""
    controlled: Estimate | None = None
    """Spearman between the mean densities of the two sets, one of them with the geometry of its masks controlled."""


@dataclasses.dataclass(frozen=True, repr=False)
class Evaluation(Tabular):
    """What `evaluate_ranker` found on `images` images."""

    images: int
    masks: int
    """Of each image, in the store."""
    qualities: dict[str, dict[str, Estimate]]
    """Scoring → metric → mean over images."""
    advantages: dict[str, dict[str, Estimate]]
    """Scoring → metric → by how much the ranker is better, image by image."""
    agreements: list[Agreement]
    """By growing number of masks; empty when no two sets of masks show the same patches."""
    extrapolated: list[tuple[int, float]]
    """Numbers of masks beyond the measured ones, and the agreement that Spearman and Brown's formula expects."""
    attainable: float | None
    """Spearman against the mean over all masks of a ranking by the true densities, estimated from the agreement of the
    masks (their errors taken as independent); None when it is unknown."""
    flops_per_mask: float
    explained: float | None = None
    """Share of the variance of the logarithms of scores that the masks alone explain on images that were not fitted."""

    def lines(self) -> list[str]:
        return list(_lines(self))

    def rows(self) -> list[dict[str, Any]]:
        """Of each scoring and metric: the mean over images, its interval and their number."""
        return quality_rows(self.qualities)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def _lines(found: Evaluation) -> Iterator[str]:
    yield f"On {found.images} images with {found.masks} masks each; 95% confidence intervals over images:\n"
    yield from quality_table(found.qualities, "how well it predicts the scores")
    yield ""
    yield from quality_table(found.advantages, "by how much the ranker is better")
    if not found.agreements:
        yield "\nNo two sets of masks show the same patches: the noise ceiling is unknown; score with more --masks."
        return
    yield "\nHow well the mean of one set of masks predicts that of another of the same images (Spearman):\n"
    is_controlled = found.explained is not None
    further, rule, empty = (" another set, controlled |", " --- |", " |") if is_controlled else ("", "", "")
    yield f"| masks in a set | GFLOP an image | another set |{further} the ranker |"
    yield f"| --- | --- | --- |{rule} --- |"
    for each in found.agreements:
        controlled = f" {each.controlled} |" if is_controlled else ""
        yield f"| {each.masks} | {each.flops / 1e9:.3g} | {each.agreement} |{controlled} {each.ranker} |"
    for masks, agreement in found.extrapolated:
        flops = masks * found.flops_per_mask / 1e9
        yield f"| {masks} | {flops:.3g} | about {agreement:.2f} (Spearman-Brown) |{empty} |"
    if found.explained is not None:
        yield (
            f"\nControlled: without what the masks alone say of scores, which is {found.explained:.0%} of the variance "
            "of their logarithms on images that were not fitted."
        )
    if found.attainable is not None:
        yield (
            f"\nAgainst the mean of all {found.masks} masks, a ranking by the true densities would reach "
            f"about {found.attainable:.2f} (estimated from the agreement of the masks)."
        )
