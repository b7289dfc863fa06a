"""A trained Glance and Focus on disk: gfnet.safetensors, and gfnet.json, which comes last; and published files."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from ranker.digest import FIELD, file_checksums, refuse_other_files
from ranker.named_tensors import refuse_misfits, without_wrappers
from ranker.pickled_tensors import unpickle_tensors
from ranker.tensor_files import decode_safetensors, encode_safetensors
from stages.glancing.network import GlanceAndFocus, GlanceConfig
from stages.tasks.classes_file import refuse_odd_classes
from stages.tasks.task import Classes
from storage.json_files import read_json_object
from storage.locations import Location
from storage.recognition import refuse_what_lies
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


def save_glance(place: Location, network: GlanceAndFocus, saved: SavedGlance) -> None:
    weights, description = encode_safetensors(network), dataclasses.asdict(saved)
    place.write(WEIGHTS_FILE, weights)
    description[FIELD] = file_checksums(_deciding(description), weights)
    place.write(MODEL_FILE, (json.dumps(description, indent=1) + "\n").encode())


def load_glance(place: Location) -> tuple[SavedGlance, GlanceAndFocus]:
    """In evaluation. Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got."""
    if not place.exists(MODEL_FILE):
        refuse_what_lies(place, "model of train-gfnet", f"a folder with {MODEL_FILE}")
    config_url, weights_url = f"{place.url}/{MODEL_FILE}", f"{place.url}/{WEIGHTS_FILE}"
    description = read_json_object(place, MODEL_FILE)
    try:
        saved = TypeAdapter(SavedGlance).validate_json(json.dumps(description), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ValueError(f"{config_url}: expected what train-gfnet writes: {field}: {first['msg']}") from None
    refuse_odd_classes(saved.classes, config_url)
    if not place.exists(WEIGHTS_FILE):
        raise FileNotFoundError(f"{weights_url}: missing")
    data = place.read(WEIGHTS_FILE)
    noted = description.get(FIELD)
    refuse_other_files(noted, _deciding(description), data, config_url=config_url, weights_url=weights_url)
    return saved, _built(saved.config, len(saved.classes), decode_safetensors(data, weights_url), weights_url)


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
    refuse_misfits(build, {name: each.float() if name in counters else each for name, each in weights.items()}, where)
    network = build()
    network.load_state_dict(weights)
    return network.eval()


def _deciding(description: Mapping[str, Any]) -> dict[str, Any]:
    """What locations depend on beside the weights."""
    return {name: description.get(name) for name in ("config", "classes")}
