"""Boxes that reach beyond their images are kept, and told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from mixed_images import shard
from pictures import fill, picture

from stages.settings.shard import ShardConfig
from stages.sources.table import find_images

WIDTH, HEIGHT = 32, 24


def find_coco(
    folder: Path, boxes: Sequence[Sequence[float]], size: tuple[int, int] = (WIDTH, HEIGHT)
) -> dict[str, Any]:
    """The settings of a source of one image with these boxes."""
    fill(folder / "images", "a.png")
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": size[0], "height": size[1]}],
        "annotations": [
            {"id": 40 + n, "image_id": 1, "category_id": 1, "bbox": box, "area": n} for n, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    return {"images": str(folder / "images"), "coco": str(folder / "coco.json")}


def find_voc(folder: Path, boxes: list[tuple[float, ...]], told: bool = True) -> dict[str, Any]:
    sides = ("xmin", "ymin", "xmax", "ymax")
    corners = ["".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, box, strict=True)) for box in boxes]
    objects = "".join(f"<object><name>cat</name><bndbox>{each}</bndbox></object>" for each in corners)
    size = f"<size><width>{WIDTH}</width><height>{HEIGHT}</height></size>" if told else ""
    fill(folder, "JPEGImages/a.jpg", data=picture(WIDTH, HEIGHT, format_="JPEG"))
    fill(folder, "Annotations/a.xml", data=f"<annotation>{size}{objects}</annotation>".encode())
    return {"voc": str(folder)}


def notes(settings: dict[str, Any]) -> list[str]:
    found = find_images(ShardConfig(out="out", **settings).model_dump()).notes
    return [note for note in found if "beyond the image" in note]


def test_boxes_beyond_their_image_stay_and_are_told_at_each_run(tmp_path: Path) -> None:
    inside = [(2, 3, 10, 9), (20, 4, 11, 8), (12, 10, 20, 14)]
    as_corners = [[x, y, x + width, y + height] for x, y, width, height in inside]
    assert notes(find_coco(tmp_path, inside)) == []
    settings = find_coco(tmp_path, as_corners)
    told = (
        "2 of 3 boxes reach beyond the image by more than rounding, first annotations.1 (id 41) of a.png, "
        "[20, 4, 31, 12] in 32x24: are they x, y, width, height?"
    )
    out = str(tmp_path / "out")
    for written in (1, 0):
        summary = shard(**settings, out=out)
        assert (summary.written, summary.notes[1:]) == (written, (told,))
    assert summary.skipped_objects == ()


@pytest.mark.parametrize(
    ("box", "is_told"),
    [
        ([0, 0, 32, 24], False),
        ([0.5, 0, 32.5, 24], False),  # 33: the right edge of 31.5 + 0.5 with both rounded up
        ([1, 1, 32, 24], False),
        ([1, 0, 32.1, 24], True),
        ([0, 1, 32, 24.1], True),
        ([-0.9, -0.9, 9, 9], False),
        ([-1, 0, 9, 9], True),
        ([0, -1, 9, 9], True),
        ([2000, 4, 9, 9], True),
    ],
)
def test_rounding_is_not_told(tmp_path: Path, box: list[float], is_told: bool) -> None:
    assert len(notes(find_coco(tmp_path, [box]))) == is_told


def test_what_is_of_unknown_size_has_nothing_beyond_it(tmp_path: Path) -> None:
    assert notes(find_coco(tmp_path / "coco", [[2000, 4, 9, 9]], size=(0, 0))) == []
    assert notes(find_voc(tmp_path / "voc", [(1, 1, 2000, 9)], told=False)) == []


@pytest.mark.parametrize(
    ("box", "is_told"),
    [
        ((1, 1, 32, 24), False),
        ((1, 1, 33, 24), False),
        ((1, 1, 200, 24), True),
        ((0, 1, 31, 24), True),
        ((1, 0, 32, 23), True),
    ],
)
def test_voc_s_boxes_count_from_one_and_are_told_otherwise(
    tmp_path: Path, box: tuple[float, ...], is_told: bool
) -> None:
    expected = [
        f"1 of 2 boxes reaches beyond the image by more than rounding, first object 1 of a.jpg, {list(box)} in 32x24: "
        "are they xmin, ymin, xmax, ymax, counted from 1?"
    ]
    assert notes(find_voc(tmp_path, [(2, 2, 9, 9), box])) == (expected if is_told else [])
