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
from pydantic import ValidationError
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
    objects_of,
    photograph,
    stored,
    upright_mask,
)

from pipeline.cli import main
from stages.images.decoding import decode_image
from stages.images.views import View, evaluation_view, random_view
from stages.settings.shard import ShardConfig
from stages.shard import ShardSummary, run_shard
from stages.tables import TASKS
from stages.tasks.covered import box_areas, mask_areas
from stages.tasks.task import TaskOptions
from storage.locations import locate
from storage.shard_files import Sample, read_shard
from storage.shard_index import expand_shards, read_index

SIDE = 4
"""Patches a side of a view."""
QUARTERS = (5, 6, 7, 8)
UNTOLD = (2, 3, 4)
"""Orientations that leave the size as it is."""
SMALL = 24
"""Half the longer side: edges of objects stay between pixels."""


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
