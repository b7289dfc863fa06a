"""Files of tensors: safetensors, and PyTorch's pickled checkpoints."""

from __future__ import annotations

from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor, nn

from ranker.named_tensors import tensors_by_name, without_wrappers
from ranker.pickled_tensors import unpickle_tensors

_LARGEST_HEADER = 100_000_000
"""Of a safetensors file, in bytes: the format's own limit."""


def encode_safetensors(model: nn.Module) -> bytes:
    """The model's weights as they are, whatever device they are on."""
    return safetensors.torch.save({name: each.detach().cpu().contiguous() for name, each in model.state_dict().items()})


def decode_safetensors(data: bytes, where: str) -> dict[str, Tensor]:
    """Tensors by name, without the prefixes of wrappers. Raises ValueError, naming `where`, for anything else."""
    try:
        return without_wrappers(safetensors.torch.load(data))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{where}: expected a whole safetensors file: {_line(error)}") from None
    except KeyError as error:  # of the dtypes that the format has and PyTorch lacks
        raise ValueError(f"{where}: expected tensors that PyTorch has a dtype for, got {error.args[0]}") from None


def is_safetensors(data: bytes) -> bool:
    """Whether it begins as such a file does: with the length of a JSON object, and that."""
    return data[8:9] == b"{" and int.from_bytes(data[:8], "little") <= _LARGEST_HEADER


def read_checkpoint(data: bytes, where: str) -> tuple[dict[str, Tensor], dict[Any, Any]]:
    """The tensors by name in a file of either kind, and all that a pickled one holds.

    Raises ValueError, naming `where`, for a file that is damaged, that has no tensors where checkpoints have them, or
    that would run code.
    """
    if is_safetensors(data):
        return decode_safetensors(data, where), {}
    content = unpickle_tensors(data, where)
    weights = tensors_by_name(content)
    if not weights:
        keys = ", ".join(sorted(str(key)[:40] for key in content)[:5]) or "nothing"
        raise ValueError(f"{where}: expected tensors by name, under a key such as 'model' or not, got {keys}")
    return weights, content


def _line(error: Exception) -> str:
    return str(error).removeprefix("Error while deserializing: ").splitlines()[0][:200]
