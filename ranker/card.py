"""A ranker's card: what it is, how it was trained and how good it is, from what its own file says.

Markdown with the header that the Hugging Face hub reads (huggingface.co/docs/hub/model-cards).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ranker.pretrained import RankerCheckpoint

CARD_FILE = "README.md"
SHOWN = {"of mean: spearman": "Spearman", "of mean: recall@25%": "recall of the top quarter"}
"""Qualities in the table, of those that `train-ranker` notes."""


def card(checkpoint: RankerCheckpoint, name: str, *, licence: str | None = None, data: str | None = None) -> str:
    """The card of a ranker that is to be had under `name`.

    `licence` is an identifier of the hub such as 'apache-2.0', and `data` says what it was trained on, and on whose
    terms: neither is in the files, and the card says where one is not told.
    """
    lines = [
        "---",
        f"license: {licence or 'unknown'}",
        "library_name: ltrp-pipeline",
        "pipeline_tag: image-feature-extraction",
        "tags: [ltrp, token-reduction, patch-selection]",
        "---",
        "",
        f"# {name.rpartition('/')[2]}",
        "",
        "Ranks the patches of an image by how much of its content they carry, learnt without labels (*Learning to Rank "
        "Patches*, Luo et al., CVPR 2024).",
        "",
        "```python",
        "from ranker import PatchRanker",
        "",
        f'ranker = PatchRanker.from_pretrained("{name}")',
        "scores = ranker.rank(images)  # (B, 3, S, S), uint8 or normalised: (B, L), higher for what matters more",
        "```",
        "",
        *_table("Architecture", dataclasses.asdict(checkpoint.config)),
        "## Data and terms",
        "",
        data or "Not told.",
        "",
    ]
    training = checkpoint.facts.get("training")
    if isinstance(training, Mapping):
        told = {key: value for key, value in training.items() if not key.startswith("ranker.") and value is not None}
        lines += _table("Training", told)
    lines += _figures(checkpoint.facts.get("validation"))
    checksum = f"SHA-256 of architecture, names, shapes and float32 values: `{checkpoint.sha256}`"
    return "\n".join([*lines, "## Checksum", "", checksum, ""])


def _table(title: str, facts: Mapping[str, Any]) -> list[str]:
    return [f"## {title}", "", "| | |", "| --- | --- |", *(f"| {key} | {facts[key]} |" for key in facts), ""]


def _figures(validation: Any) -> list[str]:
    """Of the ranker and what it is compared with, on images of its training store that it was not trained on."""
    qualities = validation.get("qualities") if isinstance(validation, Mapping) else None
    if not isinstance(qualities, Mapping):
        return ["## Figures", "", "Nothing is known.", ""]
    rows = [
        f"| {method} | {' | '.join(_interval(of.get(key)) for key in SHOWN)} |"
        for method, of in qualities.items()
        if isinstance(of, Mapping)
    ]
    return [
        "## Figures",
        "",
        "Agreement with the mean semantic density of each patch, on held-out images of the training data, with 95% "
        "intervals.",
        "",
        f"| | {' | '.join(SHOWN.values())} |",
        f"| --- |{' --- |' * len(SHOWN)}",
        *rows,
        "",
    ]


def _interval(estimate: Any) -> str:
    if not isinstance(estimate, Mapping) or not {"mean", "low", "high"} <= estimate.keys():
        return ""
    return f"{estimate['mean']:.3f} [{estimate['low']:.3f}, {estimate['high']:.3f}]"
