"""A ranker as a program that runs without this project: torch.export (.pt2), and ONNX.

Both take `images` (B, 3, S, S) float32, normalised, and give `scores` (B, L), for any number of images B of the
ranker's own size S. They are written in float32, for the CPU, whole or not at all.
"""

from __future__ import annotations

import copy
import importlib
import importlib.util
import io
import os
import secrets
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ranker.patch_ranker import PatchRanker

INPUT, OUTPUT = "images", "scores"
TOLERANCE = 1e-4
"""Largest difference to the ranker that passes, as a part of the spread of its scores."""
PROGRAM_ENDING = ".pt2"
"""By which PyTorch knows its programs."""
CHECKED_BATCHES = (1, 3)


def export_program(ranker: PatchRanker, path: Path) -> None:
    """Writes what `torch.export.load(path).module()` turns into a function of images. Raises ValueError as
    `check_name`."""
    check_name(str(path))
    content = io.BytesIO()
    torch.export.save(_exported(ranker), content)
    _write(path, content.getvalue())


def check_name(path: str) -> None:
    """Raises ValueError unless the name has a program's ending."""
    if not path.endswith(PROGRAM_ENDING):
        raise ValueError(f"{path}: expected a name that ends in {PROGRAM_ENDING} for a program of torch.export")


def export_onnx(ranker: PatchRanker, path: Path) -> None:
    """Writes an ONNX model. Raises ValueError when a package for it is missing."""
    _require("onnx", "onnxscript")
    program = torch.onnx.export(
        _exported(ranker), dynamo=True, input_names=[INPUT], output_names=[OUTPUT], verbose=False
    )
    assert program is not None
    _write(path, program.model_proto.SerializeToString())


def check_program(path: Path, ranker: PatchRanker) -> float:
    """The largest difference between the scores of the file and of the ranker.

    Raises ValueError when it is above `TOLERANCE` of the spread of scores."""
    return _largest_difference(torch.export.load(path).module(), path, ranker)


def check_onnx(path: Path, ranker: PatchRanker) -> float:
    """As `check_program`, run by onnxruntime."""
    _require("onnxruntime")
    session = importlib.import_module("onnxruntime").InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return _largest_difference(
        lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0]), path, ranker
    )


def _exported(ranker: PatchRanker) -> ExportedProgram:
    network = copy.deepcopy(ranker.network).cpu().float()
    size = ranker.config.image_size
    return torch.export.export(network, (torch.zeros(2, 3, size, size),), dynamic_shapes=({0: Dim("batch")},))


def _largest_difference(exported: Callable[[Tensor], Tensor], path: Path, ranker: PatchRanker) -> float:
    generator = torch.Generator().manual_seed(0)
    size = ranker.config.image_size
    got, expected = [], []
    for batch in CHECKED_BATCHES:
        images = torch.randn(batch, 3, size, size, generator=generator)
        got.append(exported(images))
        expected.append(ranker.rank(images.to(ranker.mean.device)).cpu())
    scores = torch.cat(expected)
    difference = (torch.cat(got) - scores).abs().max().item()
    allowed = TOLERANCE * (scores.max() - scores.min()).item()
    if not difference <= allowed:  # NaN is refused too
        raise ValueError(f"{path}: expected the ranker's scores to {allowed:.1e}, got a difference of {difference:.1e}")
    return difference


def _require(*packages: str) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"ONNX needs {' and '.join(missing)}: pip install 'ltrp-pipeline[onnx]'")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
