"""What is found in folders and annotation files, and the keys that it gets."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import fill, mask, picture
from PIL import Image

from stages.images.decoding import UnusableImage
from stages.settings.shard import ShardConfig
from stages.sources.sample_fields import sample_fields, scale_object
from stages.sources.sample_keys import safe_keys
from stages.sources.scenes import CATEGORIES
from stages.sources.source import Example, Source
from stages.sources.table import find_images


def find(**settings: Any) -> Source:
    texts = {name: _text(value) for name, value in settings.items()}
    return find_images(ShardConfig(out="out", **texts).model_dump())


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def fields_of(source: Source, number: int = 0, **limits: Any) -> dict[str, bytes]:
    item = source.items[number]
    limits = {"min_side": 1, "max_pixels": 10**6, "max_side": None, **limits}
    return sample_fields(item.path, item.load(), source.facts.get("classes", []), **limits).fields


# keys


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("a.jpg", "a"),
        ("cat/IMG_0001.JPEG", "cat/IMG_0001"),
        ("a-b/c_d.png", "a-b/c_d"),
        ("a.b.jpg", "a_b-e7fdb2c98438"),
        ("a#b.jpg", "a_b-2f107d3d6785"),
        ("a b.jpg", "a_b-1f97f74b9360"),
        ("v1.0/a.jpg", "v1_0/a-41ecf1925d2b"),
        ("größe/ü.jpg", "gr__e/_-fe6f564e392c"),
        ("__MACOSX__/a.jpg", "x__MACOSX__/a-cfa2ccd45486"),
    ],
)
def test_a_key_is_the_path_made_safe_whatever_else_there_is(path: str, key: str) -> None:
    assert safe_keys([path]) == [key]
    assert safe_keys(["other.jpg", path, "third/x.png"])[1] == key


def test_paths_that_would_collide_get_different_keys() -> None:
    paths = ["a.b.jpg", "a#b.jpg", "a b.jpg", "a_b.jpg", "a_b.png", "c.jpg"]
    keys = safe_keys(paths)
    assert len(set(keys)) == len(paths)
    assert keys[-1] == "c"
    assert all(key.startswith("a_b-") for key in keys[:-1])
    assert safe_keys(paths[::-1]) == keys[::-1]


def test_two_paths_that_no_hash_tells_apart_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.sources.sample_keys.HASH_LENGTH", 0)
    with pytest.raises(ValueError, match=r"'a b\.jpg' and 'a#b\.jpg' both get the key 'a_b--'"):
        safe_keys(["a b.jpg", "a#b.jpg"])


# folders


def test_classes_are_the_first_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    fill(tmp_path, "b/1.png", "a/deep/er/2.png", "B/3.png", "a/4.png")
    source = find(images=tmp_path)
    assert source.facts == {"kind": "class folders", "classes": ["B", "a", "b"]}
    labels = {item.path: item.load().label for item in source.items}
    assert labels == {"B/3.png": 0, "a/4.png": 1, "a/deep/er/2.png": 1, "b/1.png": 2}
    assert fields_of(source)["cls"] == b"0"
    assert json.loads(fields_of(source)["json"])["class"] == "B"


@pytest.mark.parametrize("paths", [["1.png", "2.png"], ["1.png", "a/2.png"]])
def test_without_a_folder_for_every_image_there_are_no_classes(tmp_path: Path, paths: list[str]) -> None:
    source = find(images=fill(tmp_path, *paths))
    assert source.facts == {"kind": "folder"}
    assert sorted(fields_of(source)) == ["json", "png"]


def test_hidden_files_and_other_files_are_no_images_and_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "a.png", ".hidden.png", "notes.txt", "b.JPG", "README", ".git/c.png")
    source = find(images=tmp_path)
    assert [item.path for item in source.items] == ["a.png", "b.JPG"]
    assert source.ignored == 3


def test_links_are_followed_without_loops_and_without_repetition(tmp_path: Path) -> None:
    fill(tmp_path / "data", "a/1.png")
    fill(tmp_path / "elsewhere", "2.png")
    os.symlink(tmp_path / "data", tmp_path / "data" / "a" / "loop")
    os.symlink(tmp_path, tmp_path / "data" / "up")
    os.symlink(tmp_path / "elsewhere", tmp_path / "data" / "b")
    os.symlink(tmp_path / "elsewhere", tmp_path / "elsewhere" / "self")
    os.symlink(tmp_path / "data" / "a" / "1.png", tmp_path / "data" / "a" / "3.png")
    assert [item.path for item in find(images=tmp_path / "data").items] == ["a/1.png", "a/3.png", "b/2.png"]


def test_what_cannot_be_read_is_unusable_with_its_reason(tmp_path: Path) -> None:
    os.symlink(tmp_path / "gone", tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    for item in find(images=tmp_path).items:
        with pytest.raises(UnusableImage, match="no such file, or not a plain one"):
            item.load()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": "{0}/none"}, "images: expected a local folder, found none at .*none"),
        ({"images": "s3://bucket/x"}, "images: expected a local folder"),
        (
            {"images": "{0}/empty"},
            r"images: no images in .*empty \(1 other files\); expected files that end in .jpg",
        ),
        ({"images": "{0}/full", "masks": "{0}/none"}, "masks: expected a local folder"),
        ({"images": "{0}/full", "masks": "{0}/full"}, "lies in the folder of images"),
        ({"images": "{0}/full", "coco": "{0}/none.json"}, "coco: cannot read .*none.json: No such file"),
    ],
)
def test_a_source_that_is_not_there_is_named(tmp_path: Path, settings: dict[str, str], message: str) -> None:
    fill(tmp_path, "full/a.png", "empty/a.txt")
    with pytest.raises(ValueError, match=message):
        find(**{name: value.format(tmp_path) for name, value in settings.items()})


# masks


def test_images_and_masks_pair_up_by_path(tmp_path: Path) -> None:
    fill(tmp_path / "images", "x/a.png", "b.jpg")
    fill(tmp_path / "masks", "x/a.png", "b.png", "c.png", data=mask())
    source = find(images=tmp_path / "images", masks=tmp_path / "masks")
    assert [item.path for item in source.items] == ["b.jpg", "x/a.png"]
    assert fields_of(source, 1)["seg.png"] == mask()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (None, "mask: no such file"),
        (mask(30, 24), "mask: the mask is 30x24, the image 32x24"),
        (mask()[:60], "mask: truncated"),
        (picture(), "mask: expected a mask of 8-bit greyscale"),
    ],
)
def test_an_image_without_a_sound_mask_is_unusable(tmp_path: Path, data: bytes | None, reason: str) -> None:
    fill(tmp_path / "images", "a.jpg")
    (tmp_path / "masks").mkdir()
    if data is not None:
        fill(tmp_path / "masks", "a.png", data=data)
    with pytest.raises(UnusableImage, match=reason):
        fields_of(find(images=tmp_path / "images", masks=tmp_path / "masks"))


def test_a_mask_is_found_whatever_the_case_of_its_extension(tmp_path: Path) -> None:
    fill(tmp_path / "images", "a.jpg", "sub/b.c.JPG")
    fill(tmp_path / "masks", "a.PNG", "sub/b.c.Png", data=mask(16, 16))
    source = find(images=tmp_path / "images", masks=tmp_path / "masks")
    assert [item.load().mask for item in source.items] == [mask(16, 16)] * 2


@pytest.mark.parametrize(
    ("images", "masks", "message"),
    [
        (["sub/a.png"], ["sub/a.PNG", "sub/a.png"], "expected one mask called sub/a, got sub/a.PNG and sub/a.png"),
        (["a.jpg", "a.png"], ["a.png"], "masks: expected one image of the mask a.png, got a.jpg and a.png"),
    ],
)
def test_images_and_masks_that_do_not_pair_up_one_to_one_are_refused_with_both_names(
    tmp_path: Path, images: list[str], masks: list[str], message: str
) -> None:
    fill(tmp_path / "images", "b.png", *images)
    fill(tmp_path / "masks", "b.png", *masks, data=mask())
    with pytest.raises(ValueError, match=rf"{re.escape(message)}\Z"):
        find(images=tmp_path / "images", masks=tmp_path / "masks")


def test_images_that_share_a_name_and_masks_that_no_image_has_are_nobodys_loss(tmp_path: Path) -> None:
    fill(tmp_path / "images", "a.jpg", "a.png", "sub/b.png", "b.png")
    fill(tmp_path / "masks", "sub/b.png", "b.png", "c.png", "c.PNG", data=mask())
    assert len(find(images=tmp_path / "images", masks=tmp_path / "masks").items) == 4


# scenes, and making smaller


def test_scenes_come_with_class_boxes_and_mask() -> None:
    source = find(scenes=3, scene_size=64, seed=5)
    fields = fields_of(source, 2)
    facts = json.loads(fields["json"])
    assert sorted(fields) == ["cls", "json", "png", "seg.png"]
    assert facts["class"] == CATEGORIES[int(fields["cls"])]
    assert int(fields["cls"]) in facts["categories"]
    assert set(np.unique(np.asarray(Image.open(io.BytesIO(fields["seg.png"]))))) == {
        0,
        *(1 + c for c in facts["categories"]),
    }
    assert fields == fields_of(find(scenes=5, scene_size=64, seed=5), 2) != fields_of(find(scenes=3, scene_size=64), 2)


def test_only_larger_images_are_made_smaller_with_all_that_refers_to_their_pixels() -> None:
    objects = [
        {
            "category": 1,
            "bbox": [8.0, 6, 16, 12],
            "area": 100.0,
            "segmentation": [[8.0, 6, 24, 18]],
            "iscrowd": 0,
        }
    ]
    example = Example("bmp", picture(32, 24, format_="BMP"), objects=objects, mask=mask())
    limits: dict[str, Any] = {"min_side": 1, "max_pixels": 10**6}
    same = sample_fields("a", example, [], max_side=32, **limits).fields
    assert same["bmp"] == example.image
    assert same["seg.png"] == example.mask
    small = sample_fields("a", example, [], max_side=16, **limits).fields
    facts = json.loads(small["json"])
    assert Image.open(io.BytesIO(small["png"])).size == (16, 12) == (facts["width"], facts["height"])
    assert facts["objects"] == [
        {"category": 1, "bbox": [4, 3, 8, 6], "area": 25, "segmentation": [[4, 3, 12, 9]], "iscrowd": 0}
    ]
    small_mask = np.asarray(Image.open(io.BytesIO(small["seg.png"])))
    assert small_mask.shape == (12, 16)
    assert set(np.unique(small_mask)) <= set(range(5))


@pytest.mark.parametrize(("extension", "expected"), [("jpeg", "jpg"), ("webp", "jpg"), ("png", "png"), ("tiff", "png")])
def test_smaller_images_stay_lossless_if_they_were(extension: str, expected: str) -> None:
    example = Example(extension, picture(64, 32))
    fields = sample_fields("a", example, [], min_side=1, max_pixels=10**6, max_side=32).fields
    assert sorted(fields) == sorted([expected, "json"])


def test_run_length_codes_are_dropped_when_scaled() -> None:
    scaled = scale_object(
        {"category": 1, "bbox": [0, 0, 2, 2], "segmentation": {"counts": "x", "size": [2, 2]}}, 0.5, 0.5
    )
    assert scaled == {"category": 1, "bbox": [0, 0, 1, 1]}
