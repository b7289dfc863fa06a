"""One MAE of random weights, saved in each family of checkpoints."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from random_maes import DEEPER, random_mae
from torch import Tensor

from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.mae_checkpoints import save_mae

CONFIG = dataclasses.replace(DEEPER, pixel_target="raw")
MODEL = random_mae(CONFIG)
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
VISIBLE = torch.tensor([[0, 3, 4, 9], [1, 2, 7, 15]])


@torch.inference_mode()
def reconstruction(model: MaskedAutoencoder) -> Tensor:
    return model.eval().reconstruct(IMAGES, VISIBLE)[0]


def save_as_ours(folder: Path) -> str:
    save_mae(MODEL, str(folder), {"steps": 7})
    return str(folder)


def save_as_facebook(path: Path, weights: dict[str, Tensor] | None = None, **more: object) -> str:
    """A .pth as facebookresearch/mae saves it; without published numbers of heads, FILE.json gives them."""
    torch.save({"model": MODEL.state_dict() if weights is None else weights, **more}, path)
    path.with_name(f"{path.name}.json").write_text('{"heads": 4, "decoder_heads": 2}')
    return str(path)


def bare_facebook(path: Path) -> str:
    save_as_facebook(path)
    torch.save(MODEL.state_dict(), path)
    return str(path)


def save_as_hugging_face(
    folder: Path, file: str = "model.safetensors", config: MaeConfig = CONFIG, **changes: object
) -> str:
    """A folder as on the Hugging Face hub, with the names that the files there have."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = published_names(MODEL.state_dict())
    if file.endswith(".bin"):
        torch.save(weights, folder / file)
    else:
        safetensors.torch.save_file(weights, folder / file, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps({**hugging_face_config(config), **changes}))
    return str(folder)


def hugging_face_config(config: MaeConfig) -> dict[str, Any]:
    return {
        "architectures": ["ViTMAEForPreTraining"],
        "attention_probs_dropout_prob": 0.0,
        "decoder_hidden_size": config.decoder_width,
        "decoder_intermediate_size": 4 * config.decoder_width,
        "decoder_num_attention_heads": config.decoder_heads,
        "decoder_num_hidden_layers": config.decoder_depth,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.0,
        "hidden_size": config.width,
        "image_size": config.image_size,
        "initializer_range": 0.02,
        "intermediate_size": 4 * config.width,
        "layer_norm_eps": config.norm_eps,
        "mask_ratio": 0.75,
        "model_type": "vit_mae",
        "norm_pix_loss": config.pixel_target == "normalized",
        "num_attention_heads": config.heads,
        "num_channels": 3,
        "num_hidden_layers": config.depth,
        "patch_size": config.patch_size,
        "qkv_bias": True,
        "torch_dtype": "float32",
    }


PUBLISHED = {
    "cls_token": "vit.embeddings.cls_token",
    "pos_embed": "vit.embeddings.position_embeddings",
    "patch_embed.proj": "vit.embeddings.patch_embeddings.projection",
    "norm": "vit.layernorm",
    "mask_token": "decoder.mask_token",
    "decoder_pos_embed": "decoder.decoder_pos_embed",
    "decoder_embed": "decoder.decoder_embed",
    "decoder_norm": "decoder.decoder_norm",
    "decoder_pred": "decoder.decoder_pred",
}
PUBLISHED_BLOCKS = {"blocks": "vit.encoder.layer", "decoder_blocks": "decoder.decoder_layers"}
PUBLISHED_IN_BLOCK = {
    "norm1": "layernorm_before",
    "attn.proj": "attention.output.dense",
    "norm2": "layernorm_after",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def published_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names in facebook/vit-mae-base on the Hugging Face hub, where q, k and v are apart."""
    renamed = {}
    for name, tensor in weights.items():
        module, _, kind = name.rpartition(".")
        if name in PUBLISHED:
            renamed[PUBLISHED[name]] = tensor
        elif module in PUBLISHED:
            renamed[f"{PUBLISHED[module]}.{kind}"] = tensor
        else:
            blocks, number, inside = module.split(".", 2)
            block = f"{PUBLISHED_BLOCKS[blocks]}.{number}"
            if inside == "attn.qkv":
                for part, values in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    renamed[f"{block}.attention.attention.{part}.{kind}"] = values.contiguous()
            else:
                renamed[f"{block}.{PUBLISHED_IN_BLOCK[inside]}.{kind}"] = tensor
    return renamed


FAMILIES = {
    "ours": lambda folder: save_as_ours(folder / "ours"),
    "facebook": lambda folder: save_as_facebook(folder / "mae_visualize_vit_small.pth"),
    "facebook, weights alone": lambda folder: bare_facebook(folder / "small.pth"),
    "hugging face": lambda folder: save_as_hugging_face(folder / "hub"),
    "hugging face, pickled": lambda folder: save_as_hugging_face(folder / "hub", "pytorch_model.bin"),
}


def changed(name: str, value: Tensor | None) -> dict[str, Tensor]:
    """The weights with one tensor added, in the place of another, or taken away."""
    weights = {**MODEL.state_dict(), name: value}
    return {name: tensor for name, tensor in weights.items() if tensor is not None}
