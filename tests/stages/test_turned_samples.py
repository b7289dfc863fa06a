"""Photographs of every EXIF orientation through shard → view → coverage: pixels, boxes, polygons and masks agree."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from pictures import encoded
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask
from turned_photographs import pack, write_coco, write_masks, write_photographs
from turned_pictures import (
    BAR,
    BAR_BOX,
    GROUND,
    HEIGHT,
    L_BOX,
    L_SHAPE,
    ORIENTATIONS,
    WIDTH,
    box_of,
    inside,
    photograph,
    stored,
    upright_mask,
)

from pipeline.cli import main
from stages.images.decoding import decode_image
from stages.images.views import View, evaluation_view, random_view
from stages.tables import TASKS
from stages.tasks.covered import box_areas, mask_areas
from stages.tasks.task import TaskOptions
from storage.shard_files import Sample

SIDE = 4
"""Patches a side of a view."""
SMALL = 24
"""Half the longer side: edges of objects stay between pixels."""


def as_packed(upright: np.ndarray, orientation: int, turned: bool, small: bool) -> np.ndarray:
    """A drawing on the upright picture, as it is to lie in the tar."""
    drawing = upright if turned else stored(upright, orientation)
    return drawing[::2, ::2] if small else drawing


def levels(pixels: np.ndarray) -> np.ndarray:
    """The grey of the picture that each pixel is nearest to."""
    greys = np.array([L_SHAPE, BAR, GROUND])
    return greys[np.abs(pixels[..., :1].astype(int) - greys).argmin(axis=-1)]


def views_of(height: int, width: int) -> list[View]:
    random = [random_view(0, "photograph", number, width, height, (0.3, 1.0)) for number in (1, 2)]
    assert {view.flip for view in random} == {False, True}
    return [evaluation_view(width, height), *random]


def areas_by_counting(drawing: np.ndarray, view: View) -> dict[int, np.ndarray]:
    """By value of a drawing: its area in each patch of a view, with pixels cut into as many parts as there are patches,
    so that each part lies in one patch."""
    cropped = drawing[view.top : view.top + view.height, view.left : view.left + view.width]
    parts = np.kron(cropped, np.ones((SIDE, SIDE), drawing.dtype))
    parts = parts[:, ::-1] if view.flip else parts
    patches = parts.reshape(SIDE, view.height, SIDE, view.width).swapaxes(1, 2).reshape(SIDE**2, -1)
    return {int(value): (patches == value).sum(axis=1) / SIDE**2 for value in np.unique(cropped)}


def boxed(box: list[int]) -> np.ndarray:
    drawing = np.zeros((HEIGHT, WIDTH), np.uint8)
    x, y, width, height = box
    drawing[y : y + height, x : x + width] = 1
    return drawing


def assert_picture_is_whole(sample: Sample, orientation: int, turned: bool, small: bool) -> np.ndarray:
    """Whoever applies what EXIF says sees the picture upright; returns the greys of what `decode_image` reads."""
    shown = ImageOps.exif_transpose(Image.open(io.BytesIO(sample.image)))
    assert np.array_equal(levels(np.asarray(shown.convert("RGB"))), as_packed(upright_mask(), 1, True, small))
    seen = levels(np.asarray(decode_image(sample.image)))
    assert np.array_equal(seen, as_packed(upright_mask(), orientation, turned, small))
    facts = json.loads(sample.fields["json"])
    assert (facts["height"], facts["width"]) == seen.shape
    return seen


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools
@pytest.mark.parametrize(
    ("format_", "max_side"), [("PNG", None), ("TIFF", None), ("JPEG", None), ("JPEG", SMALL), ("WEBP", SMALL)]
)
@pytest.mark.parametrize("drawn", ["upright", "stored"])
@pytest.mark.parametrize("orientation", ["keep", "apply"])
def test_boxes_polygons_and_run_lengths_lie_on_their_pixels(
    orientation: str, drawn: str, max_side: int | None, format_: str, tmp_path: Path
) -> None:
    coco = write_coco(tmp_path, drawn, format_)
    summary, samples = pack(tmp_path, coco=coco, orientation=orientation, drawn_on=drawn, max_side=max_side)
    assert not summary.left_out
    assert summary.orientation == {str(each): 1 for each in ORIENTATIONS[1:]}
    turned, small = orientation == "apply" or format_ == "TIFF", max_side is not None
    for each in ORIENTATIONS:
        sample = samples[each]
        seen = assert_picture_is_whole(sample, each, turned, small)
        if not small and (orientation == "keep" or each == 1):
            assert sample.image == photograph(each, format_), "untouched"
        else:
            tag = Image.open(io.BytesIO(sample.image)).getexif().get(0x0112, 1)
            assert tag == (1 if turned else each)
        shape, bar = json.loads(sample.fields["json"])["objects"]
        assert (shape["bbox"], bar["bbox"]) == (box_of(seen == L_SHAPE), box_of(seen == BAR))
        assert np.array_equal(inside(shape["segmentation"][0], *seen.shape[::-1]), seen == L_SHAPE)
        assert bar["area"] == (seen == BAR).sum()
        if small:
            assert "segmentation" not in bar
        else:
            assert np.array_equal(run_lengths_of(bar, seen.shape), seen == BAR)

        objects = TASKS["detect"].read_truth(sample, TaskOptions(image_size=32))
        for view in views_of(*seen.shape):
            found = box_areas(np.array([each.box for each in objects]), [1, 2], view, SIDE)
            for category, box in ((1, L_BOX), (2, BAR_BOX)):
                expected = areas_by_counting(as_packed(boxed(box), each, turned, small), view).get(1)
                assert (category in found) == (expected is not None)
                np.testing.assert_allclose(found.get(category, 0), 0 if expected is None else expected, atol=1e-9)


def run_lengths_of(object_: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    code = object_["segmentation"]
    assert tuple(code["size"]) == shape
    if isinstance(code["counts"], list):
        code = coco_mask.frPyObjects(code, *shape)
    return coco_mask.decode(code).astype(bool)


@pytest.mark.parametrize("max_side", [None, SMALL])
@pytest.mark.parametrize("drawn", ["upright", "stored"])
@pytest.mark.parametrize("orientation", ["keep", "apply"])
def test_masks_lie_on_their_pixels(orientation: str, drawn: str, max_side: int | None, tmp_path: Path) -> None:
    masks = write_masks(tmp_path, drawn)
    summary, samples = pack(tmp_path, masks=masks, orientation=orientation, drawn_on=drawn, max_side=max_side)
    assert not summary.left_out
    turned, small = orientation == "apply", max_side is not None
    for each in ORIENTATIONS:
        seen = assert_picture_is_whole(samples[each], each, turned, small)
        truth = TASKS["segment"].read_truth(samples[each], TaskOptions(image_size=32))
        assert np.array_equal(truth, seen)
        for view in views_of(*seen.shape):
            found = mask_areas(truth, view, SIDE)
            expected = areas_by_counting(as_packed(upright_mask(), each, turned, small), view)
            assert found.keys() == expected.keys()
            for value, area in found.items():
                np.testing.assert_allclose(area, expected[value], atol=1e-9)


@pytest.mark.parametrize("orientation", ["keep", "apply"])
def test_the_colour_profile_is_kept_where_an_image_is_written_anew(orientation: str, tmp_path: Path) -> None:
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = profile[:16] + b"GRAY" + profile[20:]
    (tmp_path / "images").mkdir()
    for number, (icc, format_) in enumerate([(profile, "JPEG"), (profile, "PNG"), (grey, "JPEG"), (grey, "PNG")]):
        data = photograph(6, format_, icc_profile=icc)
        (tmp_path / "images" / f"{number}.{format_.lower()}").write_bytes(data)
    _, samples = pack(tmp_path, max_side=SMALL, orientation=orientation)
    found = [Image.open(io.BytesIO(samples[number].image)).info.get("icc_profile") for number in range(4)]
    assert found == [profile, profile, None, None]


def test_nothing_but_the_orientation_of_exif_is_written(tmp_path: Path) -> None:
    """A place where somebody lives, and a thumbnail that shows what was cut away, are not."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E], exif.get_ifd(0x8825)[1] = 8, "at home", "N"
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "8.jpg").write_bytes(encoded(np.dstack([upright_mask()] * 3), "JPEG", exif=exif))
    _, samples = pack(tmp_path, max_side=SMALL)
    assert dict(Image.open(io.BytesIO(samples[8].image)).getexif()) == {0x0112: 8}


# what earlier versions made


def test_a_folder_of_an_earlier_version_goes_on_and_says_where_nobody_looked(tmp_path: Path) -> None:
    write_photographs(tmp_path)
    summary, samples = pack(tmp_path, shard_size=4)
    out = tmp_path / "out"
    plan = json.loads((out / "sharding" / "plan.json").read_text())
    del plan["orientation"], plan["drawn_on"]
    (out / "sharding" / "plan.json").write_text(json.dumps(plan))
    receipt = json.loads((out / "sharding" / "t-000000.json").read_text())
    del receipt["orientation"]
    (out / "sharding" / "t-000000.json").write_text(json.dumps(receipt))
    (out / "t-000001.tar").unlink()
    again, found = pack(tmp_path, shard_size=4)
    assert (again.written, again.unoriented, found) == (1, 1, samples)
    assert (summary.unoriented, sum(summary.orientation.values())) == (0, 7)
    with pytest.raises(ValueError, match="orientation: 'keep' then, 'apply' now"):
        pack(tmp_path, shard_size=4, orientation="apply")


# what people are told


@pytest.mark.parametrize(
    ("orientation", "done"),
    [
        (
            "keep",
            "pixels are kept as they are stored, and seen so by models; --orientation apply turns them upright.",
        ),
        ("apply", "turned upright."),
    ],
)
def test_the_command_tells_of_orientations(orientation: str, done: str, tmp_path: Path) -> None:
    write_photographs(tmp_path)
    arguments = ["--images", str(tmp_path / "images"), "--out", str(tmp_path / "out"), "--orientation", orientation]
    result = CliRunner().invoke(main, ["shard", *arguments])
    assert result.exit_code == 0, result.output
    kinds = "2: 1, 3: 1, 4: 1, 5: 1, 6: 1, 7: 1, 8: 1"
    assert f"7 images have an EXIF orientation other than 1 ({kinds}): {done}" in result.output.splitlines()
