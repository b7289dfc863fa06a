"""A trained Glance and Focus on disk: gfnet.safetensors, and gfnet.json, which comes last; and published files."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from functools import partial

from torch import Tensor

from ranker.named_tensors import refuse_misfits, shapes_of, without_wrappers
from ranker.pickled_tensors import unpickle_tensors
from stages.glancing.network import GlanceAndFocus, GlanceConfig
from stages.tasks.described_weights import DescribedWeights
from stages.tasks.task import Classes
from storage.locations import Location
from storage.settings import Settings

MODEL_FILE = "gfnet.json"
WEIGHTS_FILE = "gfnet.safetensors"
PARTS = {"model_prime_state_dict": "glance", "model_state_dict": "focus", "fc": "classifier", "policy": "policy"}
"""Keys of a published checkpoint, and what they are here."""
PUBLISHED_BACKBONE = "resnet50"
"""The one of the published networks whose names of weights are timm's."""
PUBLISHED_PATCH, PUBLISHED_STRIDE, PUBLISHED_SIZE, PUBLISHED_LOOKS = 16, 32, 224, 4


@dataclasses.dataclass(frozen=True)
class SavedGlance:
    """What is known of trained networks."""

    config: GlanceConfig
    classes: Classes
    recipe: Settings
    """All that decided their training."""
    accuracy: tuple[float, ...] | None = None
    """Part of the evaluation images that is classified right at a glance, and after each look; None: not judged."""


ON_DISK = DescribedWeights(
    MODEL_FILE, WEIGHTS_FILE, "model of train-gfnet", "train-gfnet", deciding=("config", "classes")
)


def save_glance(place: Location, network: GlanceAndFocus, saved: SavedGlance) -> None:
    ON_DISK.save(place, network, dataclasses.asdict(saved))


def load_glance(place: Location) -> tuple[SavedGlance, GlanceAndFocus]:
    """In evaluation. Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got."""
    saved, weights = ON_DISK.load(place, SavedGlance)
    return saved, _built(saved.config, len(saved.classes), weights, f"{place.url}/{WEIGHTS_FILE}")


def read_published(data: bytes, where: str) -> tuple[GlanceConfig, GlanceAndFocus]:
    """A checkpoint of the published code for ResNet-50, of its second or third step: it is 224 pixels wide, in patches
    of 16 here, and looks four times.

    Raises ValueError, naming `where`, for anything else.
    """
    content = unpickle_tensors(data, where)
    parts = {key: content.get(key) for key in PARTS}
    if missing := [key for key, part in parts.items() if not isinstance(part, Mapping)]:
        raise ValueError(
            f"{where}: expected a published GFNet with {', '.join(PARTS)}, found no {missing[0]}"
            + (" (a file of its first step has no policy)" if missing == ["policy"] else "")
        )
    weights = {
        f"{PARTS[key]}.{name}": each
        for key, part in parts.items()
        for name, each in without_wrappers({str(name): each for name, each in part.items()}).items()  # type: ignore[union-attr]
        if isinstance(each, Tensor)
    }
    try:
        classes = weights["classifier.fc.weight"].shape[0]
        hidden, inputs = weights["policy.state_encoder.0.weight"].shape
        channels = weights["classifier.rnn.weight_ih_l0"].shape[1]
        config = GlanceConfig(
            image_size=PUBLISHED_SIZE,
            window=PUBLISHED_STRIDE * math.isqrt(inputs // channels),
            patch_size=PUBLISHED_PATCH,
            backbone=PUBLISHED_BACKBONE,
            looks=PUBLISHED_LOOKS,
            width=weights["classifier.fc.weight"].shape[1],
            policy="linear",
            policy_hidden=hidden,
            policy_width=weights["policy.actor.0.weight"].shape[1],
        )
    except (KeyError, IndexError, ValueError) as error:
        line = " ".join(str(error).split())
        raise ValueError(f"{where}: expected a published GFNet of ResNet-50: {line}") from None
    return config, _built(config, classes, weights, where)


def _built(config: GlanceConfig, n_classes: int, weights: dict[str, Tensor], where: str) -> GlanceAndFocus:
    counters = {name: each for name, each in weights.items() if name.endswith("num_batches_tracked")}
    build = partial(GlanceAndFocus, config, n_classes)
    numbers = {name: each.float() if name in counters else each for name, each in weights.items()}
    refuse_misfits(shapes_of(build), numbers, where)
    network = build()
    network.load_state_dict(weights)
    return network.eval()
