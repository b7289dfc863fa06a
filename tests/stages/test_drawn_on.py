"""Which way annotations of turned photographs were drawn: what tells it, what is asked, and what people are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import encoded
from pydantic import ValidationError
from turned_photographs import pack, write_coco, write_masks
from turned_pictures import (
    HEIGHT,
    ORIENTATIONS,
    WIDTH,
    photograph,
    upright_mask,
)

from stages.settings.shard import ShardConfig
from stages.tables import TASKS
from stages.tasks.task import TaskOptions
from storage.locations import locate
from storage.shard_files import Sample
from storage.shard_index import read_index

QUARTERS = (5, 6, 7, 8)
UNTOLD = (2, 3, 4)
"""Orientations that leave the size as it is."""


# which way annotations were drawn


@pytest.mark.parametrize("kind", ["coco", "masks"])
@pytest.mark.parametrize("drawn", ["upright", "stored"])
def test_sizes_tell_what_annotations_were_drawn_on_and_where_they_do_not_the_image_is_skipped(
    drawn: str, kind: str, tmp_path: Path
) -> None:
    given = write_coco(tmp_path / "auto", drawn) if kind == "coco" else write_masks(tmp_path / "auto", drawn)
    summary, samples = pack(tmp_path / "auto", **{kind: given})
    assert sorted(samples) == [1, *QUARTERS]
    assert [each.path for each in summary.left_out] == [f"{each}.png" for each in UNTOLD]
    assert summary.left_out[0].reason == (
        "EXIF orientation 2: nothing tells whether its annotations were drawn on the upright picture or on the stored "
        "pixels; say it with --drawn-on upright or --drawn-on stored"
    )
    assert summary.orientation == {str(each): 1 for each in QUARTERS}
    assert read_index(locate(summary.out)).info["orientation"] == summary.orientation
    given = write_coco(tmp_path / "said", drawn) if kind == "coco" else write_masks(tmp_path / "said", drawn)
    _, said = pack(tmp_path / "said", **{kind: given}, drawn_on=drawn)
    assert {each: said[each] for each in samples} == samples


def test_an_image_without_objects_needs_nothing_to_be_told(tmp_path: Path) -> None:
    coco = write_coco(tmp_path, "upright", change=lambda content: content.update(annotations=[]))
    summary, samples = pack(tmp_path, coco=coco)
    assert sorted(samples) == list(ORIENTATIONS)
    assert not summary.left_out


def resized(each: int, width: int, height: int) -> Any:
    def change(content: dict[str, Any]) -> None:
        content["images"][each - 1].update(width=width, height=height)

    return change


def without_code(content: dict[str, Any]) -> None:
    resized(6, 36, 48)(content)
    del content["annotations"][11]["segmentation"]


@pytest.mark.parametrize(
    ("change", "image", "reason"),
    [
        (resized(6, 10, 20), 6, "36x48 (48x36 upright), but its annotations are for 10x20"),
        (resized(3, 36, 48), 3, "48x36, but its annotations are for 36x48"),
        (without_code, 6, "EXIF orientation 6: its annotations are for 36x48, as it is stored, but --drawn-on says "
                          "upright"),
    ],
)  # fmt: skip
def test_sizes_that_contradict_are_reasons(change: Any, image: int, reason: str, tmp_path: Path) -> None:
    summary, _ = pack(tmp_path, coco=write_coco(tmp_path, "upright", change=change), drawn_on="upright")
    assert {each.path: each.reason for each in summary.left_out}[f"{image}.png"] == reason


def test_boxes_that_fit_into_the_picture_the_other_way_alone_are_asked_about(tmp_path: Path) -> None:
    """What a tool writes that shows pictures upright, and takes width and height from the file."""

    def change(content: dict[str, Any]) -> None:
        resized(6, 36, 48)(content)
        content["annotations"][11].pop("segmentation")
        content["annotations"][10]["bbox"] = [30, 2, 17, 17]

    summary, _ = pack(tmp_path, coco=write_coco(tmp_path, "upright", change=change))
    assert {each.path: each.reason for each in summary.left_out}["6.png"] == (
        "EXIF orientation 6: its annotations are for 36x48, as it is stored, but their boxes fit into 48x36 alone: "
        "correct the size, or say how they were drawn with --drawn-on"
    )


def test_what_annotations_were_drawn_on_is_not_asked_where_there_are_none(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="drawn_on belongs to coco, masks or voc"):
        ShardConfig(images="images", out="out", drawn_on="upright")


@pytest.mark.parametrize("orientation", QUARTERS)
def test_annotations_of_the_upright_picture_in_a_tar_of_others_are_refused_saying_so(orientation: int) -> None:
    facts = {"objects": [], "width": WIDTH, "height": HEIGHT}
    image, mask = photograph(orientation), encoded(upright_mask())
    fields = {"png": image, "json": json.dumps(facts).encode(), "seg.png": mask}
    hint = (
        f"; by its EXIF orientation {orientation} it is 48x36 upright: annotations are expected in pixels as they are "
        "stored, as shard writes them"
    )
    messages = {
        "detect": "json: expected objects of an image of 48x36, got one of 36x48",
        "segment": "seg.png: the mask is 48x36, the image 36x48",
    }
    tasks: dict[Any, str] = messages
    for task, message in tasks.items():
        for image, expected in ((fields["png"], message + hint), (encoded(np.zeros((48, 36), np.uint8)), message)):
            with pytest.raises(ValueError, match=r".") as caught:
                TASKS[task].read_truth(Sample("a", {**fields, "png": image}), TaskOptions(image_size=32))
            assert str(caught.value) == expected
