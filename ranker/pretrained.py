"""Rankers as files: our own format, and the published code's.

| family | what it is | architecture from |
| --- | --- | --- |
| ours | a folder with `ranker.json` and `ranker.safetensors` | `ranker.json` |
| irsLu/ltrp | a `.pth` file whose weights have `score_net.` before their names | the weights' shapes |

Nothing is unpickled but tensors (and the `argparse.Namespace` of options that the published code saves beside them).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pickled_tensors import tensors_by_name, unpickle_tensors

CONFIG_FILE = "ranker.json"
WEIGHTS_FILE = "ranker.safetensors"
PUBLISHED_PREFIX = "score_net."
HEAD_WIDTH = 64  # of an attention head, in all published sizes


@dataclasses.dataclass(frozen=True)
class RankerCheckpoint:
    """Weights under timm's names, and what is known of how they were trained."""

    config: RankerConfig
    weights: dict[str, Tensor]
    facts: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Checksum of the architecture, names, shapes and float32 values."""
        digest = hashlib.sha256(json.dumps(dataclasses.asdict(self.config), sort_keys=True).encode())
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def build(self) -> PatchRankingTransformer:
        """The model with these weights, on the CPU."""
        model = PatchRankingTransformer(self.config)
        model.load_state_dict(self.weights)
        return model


def encode_ranker(model: PatchRankingTransformer, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of our format, by name, in the order in which to write them: with the last the ranker is there."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    description = {"config": dataclasses.asdict(model.config), **facts}
    return {
        WEIGHTS_FILE: safetensors.torch.save(weights),
        CONFIG_FILE: (json.dumps(description, indent=2) + "\n").encode(),
    }


def decode_ranker(weights: bytes, description: bytes, where: str) -> RankerCheckpoint:
    """The inverse of `encode_ranker`. Raises ValueError naming the file below `where` that is wrong."""
    try:
        facts = json.loads(description)
        config = RankerConfig(**facts.pop("config"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where}/{CONFIG_FILE}: expected a ranker's description: {error}") from None
    try:
        tensors = safetensors.torch.load(weights)
    except safetensors.SafetensorError as error:
        raise ValueError(f"{where}/{WEIGHTS_FILE}: expected safetensors: {error}") from None
    return _checked(RankerCheckpoint(config, tensors, facts), f"{where}/{WEIGHTS_FILE}")


def decode_published(data: bytes, where: str) -> RankerCheckpoint:
    """A checkpoint of the published code. Raises ValueError, naming `where`, when it holds no ranker."""
    weights = {
        name.removeprefix("module.").removeprefix(PUBLISHED_PREFIX): tensor
        for name, tensor in tensors_by_name(unpickle_tensors(data, where)).items()
        if name.removeprefix("module.").startswith(PUBLISHED_PREFIX)
    }
    if not weights:
        raise ValueError(f"{where}: expected a published ranker, with weights named {PUBLISHED_PREFIX}*; found none")
    try:
        patches, width = weights["head.weight"].shape
        patch_size = weights["patch_embed.proj.weight"].shape[-1]
        config = RankerConfig(
            image_size=round(patches**0.5) * patch_size,
            patch_size=patch_size,
            width=width,
            depth=len({name.split(".")[1] for name in weights if name.startswith("blocks.")}),
            heads=max(1, width // HEAD_WIDTH),
        )
    except KeyError as error:
        raise ValueError(f"{where}: not a vision transformer that ranks patches: {error} is missing") from None
    except (IndexError, ValueError) as error:
        raise ValueError(f"{where}: not a vision transformer that ranks patches: {error}") from None
    return _checked(RankerCheckpoint(config, weights, {}), where)


def read_ranker(path: str | Path) -> RankerCheckpoint:
    """A ranker of either family on local disk. Raises FileNotFoundError, or ValueError naming what is wrong."""
    place = Path(path)
    if place.is_file():
        return decode_published(place.read_bytes(), str(place))
    if not (place / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{place}: no ranker there: expected a folder with {CONFIG_FILE}, or a .pth file")
    return decode_ranker((place / WEIGHTS_FILE).read_bytes(), (place / CONFIG_FILE).read_bytes(), str(place))


def _checked(checkpoint: RankerCheckpoint, where: str) -> RankerCheckpoint:
    """Raises ValueError unless the weights are those of the architecture, and numbers."""
    with torch.device("meta"):
        expected = PatchRankingTransformer(checkpoint.config).state_dict()
    missing, unknown = expected.keys() - checkpoint.weights.keys(), checkpoint.weights.keys() - expected.keys()
    if missing or unknown:
        raise ValueError(
            f"{where}: not the weights of this ranker: missing {sorted(missing)[:3]}, unknown {sorted(unknown)[:3]}"
        )
    for name, tensor in sorted(checkpoint.weights.items()):
        if tensor.shape != expected[name].shape:
            raise ValueError(f"{where}: {name}: expected {tuple(expected[name].shape)}, came {tuple(tensor.shape)}")
        if not tensor.isfinite().all():
            raise ValueError(f"{where}: {name}: expected numbers, came infinite ones or NaN")
    return checkpoint
