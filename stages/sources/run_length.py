"""COCO's run-length codes ↔ masks.

pycocotools writes them here, but does not read them: it leaves undefined what a code that is too short does not cover.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stages.samples.object_fields import run_lengths


def decode_run_lengths(code: dict[str, Any]) -> np.ndarray:
    """{"counts", "size"}, as `stages.samples.object_fields.RunLengthCode` has found right → (h, w) uint8 of 0 and 1."""
    height, width = code["size"]
    lengths = run_lengths(code["counts"])
    return np.repeat(np.arange(len(lengths), dtype=np.uint8) % 2, lengths).reshape(width, height).T


def encode_run_lengths(segment: np.ndarray) -> dict[str, Any]:
    """(h, w) uint8 → {"counts" in COCO's letters, "size": [h, w]}"""
    from pycocotools import mask  # takes long to import

    code = mask.encode(np.asfortranarray(segment))
    return {"counts": code["counts"].decode("ascii"), "size": list(segment.shape)}
