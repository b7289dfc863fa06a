"""Which device to compute on."""

from __future__ import annotations

import torch


def resolve_device(device: str) -> str:
    """ "auto" → "cuda" where this process sees a GPU, else "cpu". Raises ValueError for a GPU that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: 'cuda' was asked for, but no GPU is to be seen; expected 'cpu' or 'auto'")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
