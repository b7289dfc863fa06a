"""Which device to compute on."""

from __future__ import annotations

import torch


def resolve_device(device: str) -> str:
    """ "auto" → "cuda" where this process sees a GPU, else "cpu". Raises ValueError for a GPU that is not there."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: expected 'cpu' or 'auto', got 'cuda': no GPU found on this machine")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return device
