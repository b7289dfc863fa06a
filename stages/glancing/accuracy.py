"""How well Glance and Focus classifies after each look."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import torch

from stages.glancing.batches import LabelledSample, read_labelled
from stages.glancing.learning import follow, look_around
from stages.glancing.network import GlanceAndFocus
from stages.images.decoding import decode_image
from stages.images.normalisation import normalise
from stages.images.views import evaluation_view, render
from stages.tasks.task import Classes
from stages.tasks.truths import TruthReader
from storage.shard_index import ShardEntry

BATCH = 64


@torch.no_grad()
def judge_looks(
    network: GlanceAndFocus, truths: TruthReader, classes: Classes, shards: Sequence[ShardEntry], device: torch.device
) -> tuple[float, ...]:
    """The part of evaluation crops that a network in evaluation, on `device`, classifies right at a glance, and after
    each look that its policy says; images that cannot be read are skipped.

    Raises ValueError naming the sample without a class or with one that the network does not know, and where nothing
    is left to judge.
    """
    right, count = np.zeros(network.config.looks + 1), 0
    samples = (sample for shard in shards for sample in read_labelled(shard))
    usable = _usable(samples, truths, classes, network.config.image_size)
    while batch := list(islice(usable, BATCH)):
        pixels, labels = zip(*batch, strict=True)
        images = normalise(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).to(device))
        seen = look_around(network, images, follow(network))
        answers = torch.stack([each.logits.argmax(dim=1) for each in seen]).cpu()
        right += (answers == torch.tensor(labels)).sum(dim=1).numpy()
        count += len(batch)
    if not count:
        raise ValueError(f"{shards[0].url}: expected images to judge on, got none that can be read")
    return tuple((right / count).tolist())


def _usable(
    samples: Iterator[LabelledSample], truths: TruthReader, classes: Classes, size: int
) -> Iterator[tuple[np.ndarray, int]]:
    for labelled in samples:
        try:
            label = classes.index(truths.read(labelled))
        except ValueError as error:
            raise ValueError(f"{labelled.tar}/{labelled.key}: {error}") from None
        try:
            image = decode_image(labelled.sample.image)
        except ValueError:
            continue
        yield render(image, evaluation_view(*image.size), size), label
