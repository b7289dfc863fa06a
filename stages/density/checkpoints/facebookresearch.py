"""facebookresearch/mae's: a `.pth` file, or the same weights as safetensors.

The architecture comes from the weights' shapes; the JSON object in `FILE.json` beside it gives what these do not tell,
above all numbers of heads that are not the published ones.
"""

from __future__ import annotations

from typing import Any

import torch

from ranker.tensor_files import read_checkpoint
from stages.density.checkpoints.family import Family, StateDict, naming, refuse_without_decoder
from stages.density.mae import MaeConfig
from storage.json_files import read_json_object
from storage.locations import Location, locate

_PUBLISHED_HEADS = {768: 12, 1024: 16, 1280: 16}
_PUBLISHED_DECODER_HEADS = {512: 16}


def _is_at(place: Location) -> bool:
    return place.exists()


def _read(path: str) -> tuple[MaeConfig, StateDict]:
    folder, slash, name = path.rpartition("/")
    place = locate(folder + slash or ".")
    weights, content = read_checkpoint(place.read(name), path)
    refuse_without_decoder(weights, path)
    described = read_json_object(place, f"{name}.json") if place.exists(f"{name}.json") else {}
    options = content.get("args")
    if "_full" in name or getattr(options, "norm_pix_loss", False):
        described.setdefault("pixel_target", "normalized")
    elif "visualize" in name or options is not None:
        described.setdefault("pixel_target", "raw")
    with naming(path):
        architecture = _architecture_from_shapes(weights)
    architecture |= described
    for heads in ("heads", "decoder_heads"):
        if architecture[heads] is None:
            raise ValueError(
                f"{path}: the weights do not tell the number of {heads}; put it into {path}.json, "
                'for example {"heads": 12, "decoder_heads": 16, "pixel_target": "raw"}'
            )
    with naming(f"{path}.json" if described else path):
        return MaeConfig(**architecture), weights


def _architecture_from_shapes(weights: StateDict) -> dict[str, Any]:
    def shape(name: str, dimensions: int) -> torch.Size:
        if weights[name].ndim != dimensions:
            raise ValueError(f"{name}: expected {dimensions} dimensions, got {tuple(weights[name].shape)}")
        return weights[name].shape

    def depth(prefix: str) -> int:
        return len({name.split(".")[1] for name in weights if name.startswith(f"{prefix}.")})

    width, _, patch_size, _ = shape("patch_embed.proj.weight", 4)
    decoder_width = shape("decoder_embed.weight", 2)[0]
    return {
        "image_size": patch_size * round(max(0, shape("pos_embed", 3)[1] - 1) ** 0.5),
        "patch_size": patch_size,
        "width": width,
        "depth": depth("blocks"),
        "heads": _PUBLISHED_HEADS.get(width),
        "decoder_width": decoder_width,
        "decoder_depth": depth("decoder_blocks"),
        "decoder_heads": _PUBLISHED_DECODER_HEADS.get(decoder_width),
    }


FACEBOOKRESEARCH = Family("facebookresearch", "a .pth file", (), _is_at, _read)
