"""Encoders that training may start from: an MAE's, with or without its decoder, or one of timm's models."""

from __future__ import annotations

from dataclasses import dataclass

import timm
import torch
from torch import Tensor

from ranker.digest import weights_digest
from ranker.hub import is_on_hub
from ranker.named_tensors import refuse_peculiar
from ranker.tensor_files import read_checkpoint
from stages.density.mae_checkpoints import FAMILIES, load_mae
from storage.locations import locate
from storage.recognition import refuse_part

TIMM = "timm:"
PARTS = {"base_encoder.": 12, "backbone.": None}
"""Prefixes of an encoder that lies beside what it was trained with, and its heads if they are not the usual ones: MoCo
v3's files, where the small transformer has 12 heads too, and DINO's full ones."""
INTEGERS = (torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
"""Of counters and indices that may lie beside an encoder."""


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
        return weights_digest(self.weights)


def read_encoder(init: str) -> Encoder:
    """`init` is timm:NAME, which timm downloads unless it is there, or whatever `load_mae` reads, or a file of an
    encoder under timm's names, as facebookresearch/mae, DeiT, DINO and MoCo v3 have published them.

    Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got.
    """
    if init.startswith(TIMM):
        return Encoder(_timm_weights(init.removeprefix(TIMM)), init)
    if not is_on_hub(init) and locate(init).exists():
        for family in FAMILIES:
            refuse_part(init, family.files)
        weights, heads = _encoder_part(read_checkpoint(locate(init).read(), init)[0])
        refuse_peculiar({name: each for name, each in weights.items() if each.dtype not in INTEGERS}, init)
        return Encoder(weights, init, heads)
    mae = load_mae(init)
    return Encoder(mae.weights, init, mae.config.heads)


def _encoder_part(weights: dict[str, Tensor]) -> tuple[dict[str, Tensor], int | None]:
    """The encoder alone, and its heads if they are known."""
    for part, heads in PARTS.items():
        if found := {name.removeprefix(part): each for name, each in weights.items() if name.startswith(part)}:
            return found, heads
    return weights, None


def _timm_weights(name: str) -> dict[str, Tensor]:
    try:
        weights: dict[str, Tensor] = timm.create_model(name, pretrained=True).state_dict()
        return weights
    except (RuntimeError, ValueError, OSError) as error:  # a name that it does not know; a download that fails
        raise ValueError(f"{TIMM}{name}: expected a pretrained model of timm: {error}") from None
