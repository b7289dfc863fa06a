"""Encoders that a ranker may start from: an MAE's, with or without its decoder, or one of timm's models."""

from __future__ import annotations

import argparse
import hashlib
import io
from dataclasses import dataclass

import timm
import torch
from torch import Tensor

from stages.density.mae_checkpoints import load_mae
from storage.locations import locate

TIMM = "timm:"


@dataclass(frozen=True)
class Encoder:
    """Weights under the names of timm's vision transformers, among them some that a ranker has no use for."""

    weights: dict[str, Tensor]
    where: str

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
    return Encoder(load_mae(init).weights, init)


def _timm_weights(name: str) -> dict[str, Tensor]:
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except (RuntimeError, ValueError, OSError) as error:  # a name that it does not know; a download that fails
        raise ValueError(f"{TIMM}{name}: expected a pretrained model of timm: {error}") from None


def _file_weights(path: str) -> dict[str, Tensor]:
    data = locate(path).read()
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a bad file, and what they share is their meaning
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path}: expected a checkpoint that holds tensors alone: {reason}") from None
    weights = content.get("model", content) if isinstance(content, dict) else {}
    items = weights.items() if isinstance(weights, dict) else ()
    found = {str(name): tensor for name, tensor in items if isinstance(tensor, Tensor)}
    if not found:
        raise ValueError(f"{path}: expected the weights of an encoder, found none")
    return found
