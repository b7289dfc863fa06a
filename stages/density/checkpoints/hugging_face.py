"""Hugging Face's `ViTMAEForPreTraining`: a folder with `config.json` and weights, or `hf://ORGANISATION/NAME`."""

from __future__ import annotations

import re

import torch

from ranker.tensor_files import decode_safetensors, read_checkpoint
from stages.density.checkpoints.family import Family, StateDict, naming
from stages.density.mae import MaeConfig
from storage.json_files import read_json_object
from storage.locations import Location, locate

CONFIG_FILE = "config.json"
_SAFETENSORS, _PICKLED = "model.safetensors", "pytorch_model.bin"


def _is_at(place: Location) -> bool:
    return place.exists(CONFIG_FILE)


def _read(path: str) -> tuple[MaeConfig, StateDict]:
    place = locate(path)
    description = read_json_object(place, CONFIG_FILE)
    url = f"{place.url}/{CONFIG_FILE}"
    if description.get("model_type") != "vit_mae":
        raise ValueError(
            f"{url}: expected model_type 'vit_mae', got {description.get('model_type')!r}; "
            "an encoder without its decoder, such as timm's *.mae, cannot score"
        )
    with naming(url):
        config = MaeConfig(
            image_size=description["image_size"],
            patch_size=description["patch_size"],
            width=description["hidden_size"],
            depth=description["num_hidden_layers"],
            heads=description["num_attention_heads"],
            decoder_width=description["decoder_hidden_size"],
            decoder_depth=description["decoder_num_hidden_layers"],
            decoder_heads=description["decoder_num_attention_heads"],
            norm_eps=description["layer_norm_eps"],
            pixel_target="normalized" if description.get("norm_pix_loss") else "raw",
        )
        expected = {
            "intermediate_size": 4 * config.width,
            "decoder_intermediate_size": 4 * config.decoder_width,
            "hidden_act": "gelu",
        }
        for name, value in expected.items():
            if description[name] != value:
                raise ValueError(f"expected {name} {value!r}, got {description[name]!r}")
    if place.exists(_SAFETENSORS):
        weights = decode_safetensors(place.read(_SAFETENSORS), f"{place.url}/{_SAFETENSORS}")
    elif place.exists(_PICKLED):
        weights, _ = read_checkpoint(place.read(_PICKLED), f"{place.url}/{_PICKLED}")
    else:
        raise FileNotFoundError(f"{place.url}: expected {_SAFETENSORS} or {_PICKLED} beside {CONFIG_FILE}")
    with naming(place.url):
        return config, _renamed(weights)


_NAMES = (
    (r"^(vit\.)?embeddings\.cls_token$", "cls_token"),
    (r"^(vit\.)?embeddings\.position_embeddings$", "pos_embed"),
    (r"^(vit\.)?embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^(vit\.)?layernorm\.", "norm."),
    (r"^(vit\.)?(encoder\.layer|layers)\.", "blocks."),
    (r"^decoder\.(decoder_layers|decoder_encoder\.layer)\.", "decoder_blocks."),
    (r"^decoder\.", ""),
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.attention\.(output\.dense|o_proj)\.", ".attn.proj."),
    (r"\.attention\.(attention\.)?(query|q_proj)\.", ".attn.q."),
    (r"\.attention\.(attention\.)?(key|k_proj)\.", ".attn.k."),
    (r"\.attention\.(attention\.)?(value|v_proj)\.", ".attn.v."),
    (r"\.(intermediate\.dense|mlp\.fc1)\.", ".mlp.fc1."),
    (r"\.(output\.dense|mlp\.fc2)\.", ".mlp.fc2."),
)
"""Both the names of the published files and those that transformers 5 has in memory."""


def _renamed(weights: StateDict) -> StateDict:
    renamed: StateDict = {}
    for name, tensor in weights.items():
        for pattern, replacement in _NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for name in [name for name in renamed if ".attn.q." in name]:
        parts = [renamed.pop(name.replace(".attn.q.", f".attn.{part}."), None) for part in "qkv"]
        found = [part for part in parts if part is not None]
        if len(found) < 3 or len({(part.dtype, part.shape) for part in found}) > 1:
            raise ValueError(f"{name}: expected q, k and v of one shape and dtype beside each other")
        renamed[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat(found)
    return renamed


HUGGING_FACE = Family(
    "huggingface", f"a folder with {CONFIG_FILE}", (CONFIG_FILE, _SAFETENSORS, _PICKLED), _is_at, _read
)
