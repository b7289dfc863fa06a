"""MAE checkpoints: three published families in, our own in and out.

| family | what `path` is | architecture from |
| --- | --- | --- |
| ours | a folder with `mae.json` and `mae.safetensors` | `mae.json` |
| Hugging Face `ViTMAEForPreTraining` | a folder with `config.json`, or `hf://ORGANISATION/NAME` | `config.json` |
| facebookresearch/mae | a `.pth` file | the weights' shapes; `FILE.json` beside it for unpublished numbers of heads |

Nothing is unpickled but tensors (and the `argparse.Namespace` of options that facebookresearch/mae saves beside them).
All names and every tensor must be accounted for; an encoder without its decoder is refused by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from ranker.pickled_tensors import unpickle_tensors
from stages.density.mae import MaeConfig, MaskedAutoencoder
from storage.locations import Location, locate

CONFIG_FILE = "mae.json"
WEIGHTS_FILE = "mae.safetensors"

StateDict = dict[str, Tensor]


@dataclasses.dataclass(frozen=True)
class MaeCheckpoint:
    """Weights under facebookresearch/mae's names, with what is known of them."""

    config: MaeConfig
    weights: StateDict
    family: str

    @property
    def sha256(self) -> str:
        """Checksum of names, shapes and float32 values: the same for one model in each of the families."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.float().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def build(self) -> MaskedAutoencoder:
        """The model with these weights."""
        model = MaskedAutoencoder(self.config)
        model.load_state_dict(self.weights)
        return model


def load_mae(path: str) -> MaeCheckpoint:
    """Reads a checkpoint of any family, from local disk, an object store or the Hugging Face hub.

    Raises FileNotFoundError, or ValueError naming the file, what was expected and what came.
    """
    if path.startswith("hf://"):
        path = _download(path)
    place = locate(path)
    if place.exists(CONFIG_FILE):
        config, weights, family = _read_ours(place)
    elif place.exists("config.json"):
        config, weights, family = _read_hugging_face(place)
    elif path.endswith((".pth", ".pt")):
        config, weights, family = _read_facebook(path)
    elif place.names():
        raise ValueError(f"{path}: expected an MAE: a folder with {CONFIG_FILE} or config.json, or a .pth file")
    else:
        raise FileNotFoundError(
            f"{path}: no MAE there: expected a folder with {CONFIG_FILE} or config.json, or a .pth file"
        )
    _refuse_other_weights(path, config, weights)
    return MaeCheckpoint(config, weights, family)


def save_mae(model: MaskedAutoencoder, path: str, facts: Mapping[str, Any]) -> None:
    """Writes our family, with `facts` (how it was trained) in the JSON, which comes last: with it the MAE is there."""
    place = locate(path)
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    place.write(WEIGHTS_FILE, safetensors.torch.save(weights))
    description = {"config": dataclasses.asdict(model.config), **facts}
    place.write(CONFIG_FILE, (json.dumps(description, indent=2) + "\n").encode())


def _read_ours(place: Location) -> tuple[MaeConfig, StateDict, str]:
    description = _read_json(place, CONFIG_FILE)
    with _naming(f"{place.url}/{CONFIG_FILE}"):
        config = MaeConfig(**description["config"])
    return config, _read_safetensors(place, WEIGHTS_FILE), "ltrp-pipeline"


def _read_hugging_face(place: Location) -> tuple[MaeConfig, StateDict, str]:
    description = _read_json(place, "config.json")
    url = f"{place.url}/config.json"
    if description.get("model_type") != "vit_mae":
        raise ValueError(
            f"{url}: expected model_type 'vit_mae', came {description.get('model_type')!r}; "
            "an encoder without its decoder, such as timm's *.mae, cannot score"
        )
    with _naming(url):
        expected = {
            "intermediate_size": 4 * description["hidden_size"],
            "decoder_intermediate_size": 4 * description["decoder_hidden_size"],
            "hidden_act": "gelu",
        }
        for name, value in expected.items():
            if description[name] != value:
                raise ValueError(f"expected {name} {value!r}, came {description[name]!r}")
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
    if place.exists("model.safetensors"):
        weights = _read_safetensors(place, "model.safetensors")
    else:
        weights = unpickle_tensors(place.read("pytorch_model.bin"), f"{place.url}/pytorch_model.bin")
    return config, _from_hugging_face(weights), "huggingface"


_HUGGING_FACE_NAMES = (
    (r"^vit\.embeddings\.cls_token$", "cls_token"),
    (r"^vit\.embeddings\.position_embeddings$", "pos_embed"),
    (r"^vit\.embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^vit\.layernorm\.", "norm."),
    (r"^vit\.(encoder\.layer|layers)\.", "blocks."),
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


def _from_hugging_face(weights: StateDict) -> StateDict:
    renamed: StateDict = {}
    for name, tensor in weights.items():
        for pattern, replacement in _HUGGING_FACE_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for name in [name for name in renamed if ".attn.q." in name]:
        parts = [renamed.pop(name.replace(".attn.q.", f".attn.{part}."), None) for part in "qkv"]
        if any(part is None for part in parts):
            raise ValueError(f"{name}: expected q, k and v beside each other")
        renamed[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat([part for part in parts if part is not None])
    return renamed


_PUBLISHED_HEADS = {768: 12, 1024: 16, 1280: 16}
_PUBLISHED_DECODER_HEADS = {512: 16}


def _read_facebook(path: str) -> tuple[MaeConfig, StateDict, str]:
    folder, slash, name = path.rpartition("/")
    place = locate(folder + slash or ".")
    content = unpickle_tensors(place.read(name), path)
    weights = content.get("model", content)
    if not isinstance(weights, dict) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{path}: expected tensors by name, under the key 'model' or not, came {sorted(content)[:5]}")
    _refuse_encoder_only(path, weights)
    described = _read_json(place, f"{name}.json") if place.exists(f"{name}.json") else {}
    options = content.get("args")
    if "_full" in name or getattr(options, "norm_pix_loss", False):
        described.setdefault("pixel_target", "normalized")
    elif "visualize" in name or options is not None:
        described.setdefault("pixel_target", "raw")
    architecture = {**_architecture_from_shapes(path, weights), **described}
    for heads in ("heads", "decoder_heads"):
        if architecture[heads] is None:
            raise ValueError(
                f"{path}: the weights do not tell the number of {heads}; put it into {path}.json, "
                'for example {"heads": 12, "decoder_heads": 16, "pixel_target": "raw"}'
            )
    with _naming(f"{path}.json"):
        return MaeConfig(**architecture), weights, "facebookresearch"


def _architecture_from_shapes(path: str, weights: StateDict) -> dict[str, int | None]:
    def shape(name: str, dimensions: int) -> torch.Size:
        if name not in weights:
            raise ValueError(f"{path}: not the weights of an MAE: {name} is missing")
        if weights[name].ndim != dimensions:
            raise ValueError(f"{path}: {name}: expected {dimensions} dimensions, came {tuple(weights[name].shape)}")
        return weights[name].shape

    def depth(prefix: str) -> int:
        return len({name.split(".")[1] for name in weights if name.startswith(f"{prefix}.")})

    width, _, patch_size, _ = shape("patch_embed.proj.weight", 4)
    decoder_width = shape("decoder_embed.weight", 2)[0]
    return {
        "image_size": patch_size * round((shape("pos_embed", 3)[1] - 1) ** 0.5),
        "patch_size": patch_size,
        "width": width,
        "depth": depth("blocks"),
        "heads": _PUBLISHED_HEADS.get(width),
        "decoder_width": decoder_width,
        "decoder_depth": depth("decoder_blocks"),
        "decoder_heads": _PUBLISHED_DECODER_HEADS.get(decoder_width),
    }


def _refuse_other_weights(path: str, config: MaeConfig, weights: StateDict) -> None:
    _refuse_encoder_only(path, weights)
    with torch.device("meta"):
        expected = MaskedAutoencoder(config).state_dict()
    wrong = [f"{name} is missing" for name in expected if name not in weights]
    wrong += [f"{name} is not an MAE's" for name in weights if name not in expected]
    wrong += [
        f"{name}: expected shape {tuple(tensor.shape)}, came {tuple(weights[name].shape)}"
        for name, tensor in expected.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    wrong += [f"{name} holds NaN or infinity" for name, tensor in weights.items() if not tensor.isfinite().all()]
    if wrong:
        more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
        raise ValueError(f"{path}: not the weights of its architecture: {'; '.join(wrong[:3])}{more}")


def _refuse_encoder_only(path: str, weights: Mapping[str, Tensor]) -> None:
    if not any(name.startswith("decoder_") for name in weights):
        raise ValueError(
            f"{path}: holds an encoder without its decoder, which cannot reconstruct and so cannot score. Expected "
            "mae_visualize_vit_*.pth or mae_pretrain_vit_*_full.pth of facebookresearch/mae, or facebook/vit-mae-* of "
            "Hugging Face; mae_pretrain_vit_*.pth and timm's *.mae are encoders only"
        )


def _download(url: str) -> str:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return snapshot_download(
            url.removeprefix("hf://"), allow_patterns=["config.json", "model.safetensors", "pytorch_model.bin"]
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise ValueError(f"{url}: the Hugging Face hub did not give it: {error}") from None


def _read_json(place: Location, name: str) -> dict[str, Any]:
    try:
        description = json.loads(place.read(name))
    except ValueError as error:
        raise ValueError(f"{place.url}/{name}: expected JSON: {error}") from None
    if not isinstance(description, dict):
        raise ValueError(f"{place.url}/{name}: expected a JSON object, came {type(description).__name__}")
    return description


def _read_safetensors(place: Location, name: str) -> StateDict:
    try:
        return safetensors.torch.load(place.read(name))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{place.url}/{name}: not a whole safetensors file: {error}") from None


@contextmanager
def _naming(url: str) -> Iterator[None]:
    """Names the file in which an architecture is wrong."""
    try:
        yield
    except KeyError as error:
        raise ValueError(f"{url}: {error} is missing") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"{url}: not the architecture of an MAE: {error}") from None
