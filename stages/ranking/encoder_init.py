"""Encoders that a ranker may start from: an MAE's, with or without its decoder, or one of timm's models."""

from __future__ import annotations

import argparse
import hashlib
import io
import pickle
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
            digest.update(tensor.float().contiguous().numpy().tobytes())
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
    except RuntimeError as error:  # also of names that it does not know
        raise ValueError(f"{TIMM}{name}: expected a pretrained model of timm: {error}") from None


def _file_weights(path: str) -> dict[str, Tensor]:
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(io.BytesIO(locate(path).read()), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path}: expected a checkpoint that holds tensors alone: {reason}") from None
    weights = content.get("model", content) if isinstance(content, dict) else {}
    found = {name: tensor for name, tensor in weights.items() if isinstance(tensor, Tensor)}
    if not found:
        raise ValueError(f"{path}: expected the weights of an encoder, found none")
    return found
