"""Encoders that training may start from: an MAE's, with or without its decoder, or one of timm's models."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import timm
from torch import Tensor

from ranker.pickled_tensors import tensors_by_name, unpickle_tensors
from stages.density.mae_checkpoints import load_mae
from storage.locations import locate

TIMM = "timm:"


@dataclass(frozen=True)
class Encoder:
    """Weights under the names of timm's vision transformers, among them some beside the encoder's."""

    weights: dict[str, Tensor]
    where: str
    heads: int | None = None
    """Of attention, where that is known: weights do not show it."""

    @property
    def sha256(self) -> str:
        """Checksum of names, shapes and float32 values."""
        digest = hashlib.sha256()
        for name, tensor in sorted(self.weights.items()):
            digest.update(f"{name}{tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().float().contiguous().numpy().tobytes())
        return digest.hexdigest()


def read_encoder(init: str) -> Encoder:
    """`init` is timm:NAME, which timm downloads unless it is there, or whatever `load_mae` reads, or a .pth file of
    facebookresearch/mae without a decoder.

    Raises FileNotFoundError, or ValueError naming the file, what was expected and what came.
    """
    if init.startswith(TIMM):
        return Encoder(_timm_weights(init.removeprefix(TIMM)), init)
    if init.endswith((".pth", ".pt")):
        return Encoder(_file_weights(init), init)
    mae = load_mae(init)
    return Encoder(mae.weights, init, mae.config.heads)


def _timm_weights(name: str) -> dict[str, Tensor]:
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except (RuntimeError, ValueError, OSError) as error:  # a name that it does not know; a download that fails
        raise ValueError(f"{TIMM}{name}: expected a pretrained model of timm: {error}") from None


def _file_weights(path: str) -> dict[str, Tensor]:
    found = tensors_by_name(unpickle_tensors(locate(path).read(), path))
    if not found:
        raise ValueError(f"{path}: expected the weights of an encoder, found none")
    return found
