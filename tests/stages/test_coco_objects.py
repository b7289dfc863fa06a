"""Objects that are taken from COCO's annotation files: one check for writer and readers, and run-length codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import picture

from stages.samples.object_fields import RunLengthCode
from stages.sources.coco import read_coco
from stages.tasks.objects import read_objects
from storage.shard_files import Sample

NUMBERS = st.one_of(st.floats(), st.integers(-(2**40), 2**40), st.sampled_from([-1, 0, 1, 2, 10, 1e7, 1e8, "3", None]))
ANNOTATIONS = st.fixed_dictionaries(
    {
        "image_id": st.sampled_from([1, 2]),
        "category_id": st.sampled_from([0, 1, -1]),
        "bbox": st.lists(NUMBERS, max_size=5),
    },
    optional={"iscrowd": NUMBERS, "area": NUMBERS, "segmentation": st.one_of(NUMBERS, st.lists(st.lists(NUMBERS)))},
)


def corners(boxes: Sequence[Sequence[float]]) -> np.ndarray:
    """Left, top, right and bottom of boxes of x, y, width and height."""
    places = np.array(boxes, np.float64).reshape(-1, 4)
    return np.concatenate([places[:, :2], places[:, :2] + places[:, 2:]], axis=1)


@given(st.lists(ANNOTATIONS, max_size=4))
def test_what_is_taken_from_a_file_is_what_later_stages_read(
    tmp_path_factory: pytest.TempPathFactory, annotations: list[dict[str, Any]]
) -> None:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]},  # all wrong ones would be refused
            *annotations,
        ],
        "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
    }
    path = tmp_path_factory.getbasetemp() / "fuzz.json"
    path.write_text(json.dumps(content))
    coco = read_coco(path)
    assert len(coco.objects[1]) + len(coco.skipped) == 1 + len(annotations)
    facts = json.dumps({"objects": coco.objects[1]}).encode()
    assert b"NaN" not in facts
    assert b"Infinity" not in facts
    found = read_objects(Sample("a", {"png": picture(), "json": facts}))
    parts = np.clip(corners([each["bbox"] for each in coco.objects[1]]), 0, [32, 24, 32, 24])
    np.testing.assert_allclose(corners([each.box for each in found]), parts, rtol=1e-12, atol=1e-300)


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=12))
def test_a_code_of_pycocotools_is_a_sound_one(columns: list[list[bool]]) -> None:
    from pycocotools import mask

    segment = np.asfortranarray(np.array(columns, np.uint8).T)
    code = mask.encode(segment)
    letters = code["counts"].decode("ascii")
    RunLengthCode(size=code["size"], counts=letters).check(len(columns), 3)
    with pytest.raises(ValueError, match="size: expected"):
        RunLengthCode(size=code["size"], counts=letters).check(len(columns) + 1, 3)


def test_long_runs_are_decoded_as_pycocotools_encodes_them() -> None:
    from pycocotools import mask

    segment = np.zeros((700, 900), np.uint8, order="F")
    segment[300:, 5:800] = 1
    segment[::7] = 1
    code = mask.encode(segment)
    RunLengthCode(size=code["size"], counts=code["counts"].decode("ascii")).check(900, 700)
