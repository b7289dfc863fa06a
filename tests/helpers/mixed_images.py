"""Images of classes, good and bad ones, and what shard makes of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pictures import fill, picture, png_with_header

from stages.settings.shard import ShardConfig
from stages.shard import ShardSummary, run_shard
from storage.shard_files import read_shard
from storage.shard_index import expand_shards


def shard(**settings: Any) -> ShardSummary:
    return run_shard(ShardConfig(**{"name": "t", **settings}), lambda event, facts: None)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


BAD_IMAGES = {
    "bad/empty.jpg": (b"", "zero bytes"),
    "bad/text.png": (b"<html>", "not an image of a known format (JPEG, PNG, WEBP, BMP, PPM, TIFF, GIF)"),
    "bad/cut.png": (picture(64, 64)[:-40], "truncated"),
    "bad/small.png": (picture(8, 64), "too small: 8x64, expected sides of at least 16"),
    "bad/bomb.png": (
        png_with_header(9_000, 9_000),
        "a decompression bomb: 9000x9000, expected at most 50000000 pixels",
    ),
}


MIXED: dict[str, Any] = {"shard_size": 9, "max_pixels": 50_000_000}


def all_samples(folder: Path) -> dict[str, dict[str, bytes]]:
    return {sample.key: sample.fields for entry in expand_shards([str(folder)]) for sample in read_shard(entry)}


def write_mixed_images(folder: Path) -> Path:
    """40 good images of three classes, 5 bad ones, 1 link that leads nowhere, 1 file that is no image."""
    for number in range(40):
        fill(folder, f"class {number % 3}/{number:03}.png", data=picture(value=number))
    for path, (data, _) in BAD_IMAGES.items():
        fill(folder, path, data=data)
    os.symlink("nowhere", folder / "bad" / "link.jpg")
    fill(folder, "notes.txt")
    return folder
