"""Photographs of every EXIF orientation on disk, their annotations beside them, and what shard makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pictures import encoded
from turned_pictures import (
    ORIENTATIONS,
    objects_of,
    photograph,
    stored,
    upright_mask,
)

from stages.settings.shard import ShardConfig
from stages.shard import ShardSummary, run_shard
from storage.shard_files import Sample, read_shard
from storage.shard_index import expand_shards


def pack(folder: Path, **settings: Any) -> tuple[ShardSummary, dict[int, Sample]]:
    """The summary, and the samples by the orientation of their photographs."""
    config = ShardConfig(name="t", images=str(folder / "images"), out=str(folder / "out"), workers=1, **settings)
    summary = run_shard(config, lambda *_: None)
    samples = [sample for shard in expand_shards([summary.out]) for sample in read_shard(shard)]
    return summary, {int(sample.key): sample for sample in samples}


def write_photographs(folder: Path, format_: str = "PNG") -> None:
    (folder / "images").mkdir(parents=True)
    for each in ORIENTATIONS:
        (folder / "images" / f"{each}.{format_.lower()}").write_bytes(photograph(each, format_))


def write_coco(folder: Path, drawn: str, format_: str = "PNG", change: Any = lambda content: None) -> str:
    write_photographs(folder, format_)
    content: dict[str, Any] = {"images": [], "annotations": []}
    content["categories"] = [{"id": 1, "name": "L"}, {"id": 2, "name": "bar"}]
    for each in ORIENTATIONS:
        (width, height), objects = objects_of(drawn, each)
        name = f"{each}.{format_.lower()}"
        content["images"].append({"id": each, "file_name": name, "width": width, "height": height})
        content["annotations"] += [{"image_id": each, **object_} for object_ in objects]
    change(content)
    (folder / "coco.json").write_text(json.dumps(content))
    return str(folder / "coco.json")


def write_masks(folder: Path, drawn: str) -> str:
    write_photographs(folder)
    (folder / "masks").mkdir()
    for each in ORIENTATIONS:
        mask = upright_mask() if drawn == "upright" else stored(upright_mask(), each)
        (folder / "masks" / f"{each}.png").write_bytes(encoded(mask))
    return str(folder / "masks")
