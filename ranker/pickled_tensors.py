"""PyTorch's pickled checkpoints, read without running what is in them."""

from __future__ import annotations

import argparse
import io
from typing import Any

import torch
from torch import Tensor


def unpickle_tensors(data: bytes, where: str) -> dict[Any, Any]:
    """The dictionary in a .pth file: of tensors and plain values, and of the `argparse.Namespace` of options that
    published codes save beside them. Raises ValueError, naming `where`, for anything else."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for a bad file, and what they share is their meaning
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ValueError(f"{where}: not a checkpoint of tensors that can be read safely: {reason}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{where}: expected a dictionary of tensors, came {type(content).__name__}")
    return content


def tensors_by_name(content: dict[Any, Any]) -> dict[str, Tensor]:
    """The tensors of such a dictionary, under its key 'model' if it has one."""
    named = content.get("model", content)
    items = named.items() if isinstance(named, dict) else ()
    return {str(name): tensor for name, tensor in items if isinstance(tensor, Tensor)}
