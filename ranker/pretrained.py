"""Rankers as files: our own format, and the published code's.

| family | what it is | architecture from |
| --- | --- | --- |
| ours | a folder with `ranker.json` and `ranker.safetensors`; one that `ranker.zoo` knows by name | `ranker.json` |
| irsLu/ltrp | a `.pth` file whose weights have `score_net.` before their names | the weights' shapes |

Nothing is unpickled but tensors (and the `argparse.Namespace` of options that the published code saves beside them).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ranker.digest import FIELD, file_checksums, refuse_other_files, weights_digest
from ranker.named_tensors import refuse_misfits, shapes_of_architecture, without_wrappers
from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.tensor_files import decode_safetensors, encode_safetensors, read_checkpoint
from ranker.zoo import local_path, shipped_rankers

CONFIG_FILE = "ranker.json"
WEIGHTS_FILE = "ranker.safetensors"
PUBLISHED_PREFIX = "score_net."
HEAD_WIDTH = 64  # of an attention head, in all published sizes
FILES = (CONFIG_FILE, WEIGHTS_FILE)
EXPECTED = f"a folder with {CONFIG_FILE}, a .pth file, hf://OWNER/NAME, or {' or '.join(shipped_rankers())}"


@dataclasses.dataclass(frozen=True)
class RankerCheckpoint:
    """Weights under timm's names, and what is known of how they were trained."""

    config: RankerConfig
    weights: dict[str, Tensor]
    facts: dict[str, Any]

    @property
    def sha256(self) -> str:
        """Checksum of the architecture, names, shapes and float32 values."""
        return weights_digest(self.weights, json.dumps(dataclasses.asdict(self.config), sort_keys=True).encode())

    def build(self) -> PatchRankingTransformer:
        """The model with these weights, on the CPU."""
        model = PatchRankingTransformer(self.config)
        model.load_state_dict(self.weights)
        return model


def encode_ranker(model: PatchRankingTransformer, facts: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of our format, by name, in the order in which to write them: with the last the ranker is there."""
    config, weights = dataclasses.asdict(model.config), encode_safetensors(model)
    description = {"config": config, FIELD: file_checksums(config, weights), **facts}
    return {WEIGHTS_FILE: weights, CONFIG_FILE: (json.dumps(description, indent=2) + "\n").encode()}


def decode_ranker(weights: bytes, description: bytes, where: str) -> RankerCheckpoint:
    """The inverse of `encode_ranker`. Raises ValueError naming the file below `where` that is wrong."""
    config_url, weights_url = f"{where}/{CONFIG_FILE}", f"{where}/{WEIGHTS_FILE}"
    try:
        facts = json.loads(description)
        if not isinstance(facts, dict) or not isinstance(facts.get("config"), dict):
            raise ValueError("expected an object with its config")
        noted = facts.pop("config")
        config = RankerConfig(**noted)
    except RecursionError:
        raise ValueError(f"{config_url}: expected a ranker's description: nested too deeply") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{config_url}: expected a ranker's description: {error}") from None
    refuse_other_files(facts.pop(FIELD, None), noted, weights, config_url=config_url, weights_url=weights_url)
    return _checked(RankerCheckpoint(config, decode_safetensors(weights, weights_url), facts), weights_url)


def decode_published(data: bytes, where: str) -> RankerCheckpoint:
    """A checkpoint of the published code. Raises ValueError, naming `where`, when it holds no ranker."""
    tensors, _ = read_checkpoint(data, where)
    ranker = without_wrappers({name: each for name, each in tensors.items() if PUBLISHED_PREFIX in name})
    weights = without_wrappers(
        {
            name.removeprefix(PUBLISHED_PREFIX): each
            for name, each in ranker.items()
            if name.startswith(PUBLISHED_PREFIX)
        }
    )
    if not weights:
        raise ValueError(
            f"{where}: expected a published ranker, with weights named {PUBLISHED_PREFIX}*; got "
            f"{', '.join(sorted(tensors)[:3])}, …"
        )
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
    """A ranker of either family on local disk, or by name. Raises FileNotFoundError, or ValueError naming what is
    wrong."""
    place = Path(local_path(str(path), FILES))
    if place.is_file():
        return decode_published(place.read_bytes(), str(place))
    if not (place / CONFIG_FILE).is_file():
        raise FileNotFoundError(f"{place}: no ranker there: expected {EXPECTED}")
    return decode_ranker((place / WEIGHTS_FILE).read_bytes(), (place / CONFIG_FILE).read_bytes(), str(place))


def _checked(checkpoint: RankerCheckpoint, where: str) -> RankerCheckpoint:
    """Raises ValueError unless the weights are those of the architecture, and numbers."""
    expected = shapes_of_architecture(PatchRankingTransformer, checkpoint.config)
    refuse_misfits(expected, checkpoint.weights, where)
    return checkpoint
