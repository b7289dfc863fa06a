"""Checksums: of a model's weights, the same in every file format, and of the files that hold a model of ours.

Stores and trainings note the former as what they were made with; its values must not change. The latter stand in a
model's JSON file, under `sha256`, and prove that the files are those that were written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor

FIELD = "sha256"
"""Of the JSON file: an object with the checksums of `config` and `weights`. Files of earlier versions have none."""


def weights_digest(weights: Mapping[str, Tensor], begin: bytes = b"") -> str:
    """SHA-256 of `begin`, then of names, shapes and float32 values in the order of the names."""
    digest = hashlib.sha256(begin)
    for name, tensor in sorted(weights.items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def file_checksums(config: Mapping[str, Any], weights: bytes) -> dict[str, str]:
    """What goes under `FIELD`: SHA-256 of `config` as JSON with sorted keys, and of the bytes of the weights file."""
    canonical = json.dumps(config, sort_keys=True).encode()
    return {"config": hashlib.sha256(canonical).hexdigest(), "weights": hashlib.sha256(weights).hexdigest()}


def refuse_other_files(
    noted: object, config: Mapping[str, Any], weights: bytes, *, config_url: str, weights_url: str
) -> None:
    """Raises ValueError, naming the file, unless `config`, as it stands in the JSON file, and the bytes of the weights
    file are those that were `noted` under `FIELD`; None was noted by earlier versions."""
    if noted is None:
        return
    found = file_checksums(config, weights)
    if not (isinstance(noted, dict) and noted.keys() == found.keys()):
        raise ValueError(f"{config_url}: {FIELD}: expected the checksums of config and weights, got {str(noted)[:80]}")
    for part, url in (("config", config_url), ("weights", weights_url)):
        if noted[part] != found[part]:
            raise ValueError(
                f"{url}: not as it was written: expected SHA-256 {str(noted[part])[:16]}… of its {part}, got "
                f"{found[part][:16]}…; if it was changed on purpose, take {FIELD} out of {config_url}"
            )
