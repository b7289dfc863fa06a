"""Pascal VOC as a source: its layout, its boxes, and what a wrong one is told."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import encoded, fill, mask, picture
from PIL import Image

from stages.images.decoding import UnusableImage
from stages.settings.shard import ShardConfig
from stages.shard import run_shard
from stages.sources.plain_xml import parse_xml
from stages.sources.source import Source
from stages.sources.table import find_images
from stages.sources.voc import CLASSES, read_voc
from stages.tasks.objects import category_names, read_objects
from stages.tasks.segment import Segment
from stages.tasks.task import TaskOptions
from storage.shard_files import read_shard
from storage.shard_index import expand_shards, index_infos

WIDTH, HEIGHT = 32, 24


def object_xml(name: str = "person", box: tuple[float, ...] = (3, 4, 12, 20), **marks: int | str) -> str:
    sides = "".join(
        f"<{side}>{value}</{side}>" for side, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    )
    told = "".join(f"<{mark}>{value}</{mark}>" for mark, value in marks.items())
    return f"<object><name>{name}</name>{told}<bndbox>{sides}</bndbox></object>"


def annotation(*objects: str, size: tuple[int, int] | None = (WIDTH, HEIGHT)) -> bytes:
    told = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>x.jpg</filename>{told}{''.join(objects)}</annotation>".encode()


def write_voc(folder: Path, annotations: dict[str, bytes], sets: dict[str, str] | None = None) -> Path:
    for name, content in annotations.items():
        fill(folder, f"JPEGImages/{name}.jpg", data=picture(WIDTH, HEIGHT, format_="JPEG"))
        fill(folder, f"Annotations/{name}.xml", data=content)
    for name, lines in (sets or {}).items():
        fill(folder, f"ImageSets/{name}.txt", data=lines.encode())
    return folder


def find(folder: Path, **settings: Any) -> Source:
    return find_images(ShardConfig(voc=str(folder), out="out", **settings).model_dump())


def objects_of(source: Source) -> list[dict[str, Any]]:
    """Of its first image."""
    objects = source.items[0].load().objects
    assert objects is not None
    return objects


def test_a_box_holds_the_pixels_from_its_first_to_its_last_counted_from_one() -> None:
    (found,) = read_voc(annotation(object_xml(box=(3, 4, 12, 20)))).objects
    pixels = np.zeros((HEIGHT + 1, WIDTH + 1), bool)
    pixels[4:21, 3:13] = True  # rows 4 to 20, columns 3 to 12, as VOC counts them
    rows, columns = np.nonzero(pixels[1:, 1:])
    x, y, width, height = found.box
    assert (x, y) == (columns.min(), rows.min())
    assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
    assert width * height == pixels.sum()


def test_difficult_objects_count_neither_for_nor_against_and_marks_are_kept() -> None:
    found = read_voc(
        annotation(object_xml("cat", difficult=1, truncated=0), object_xml("dog", difficult=0, truncated=1))
    )
    assert [each.written(7) for each in found.objects] == [
        {"category": 7, "bbox": [2, 3, 10, 17], "iscrowd": 1, "difficult": 1, "truncated": 0},
        {"category": 7, "bbox": [2, 3, 10, 17], "iscrowd": 0, "difficult": 0, "truncated": 1},
    ]


@pytest.mark.parametrize(
    ("written", "is_difficult"),
    [("1", 1), (" true\n", 1), ("Yes", 1), ("0", 0), ("FALSE", 0), ("no ", 0), ("", 0), (" ", 0)],
)
def test_difficult_is_what_is_written_in_words_too(written: str, is_difficult: int) -> None:
    (found,) = read_voc(annotation(object_xml(difficult=written))).objects
    assert (found.written(7)["iscrowd"], found.written(7)["difficult"]) == (is_difficult, is_difficult)


def test_an_object_that_repeats_another_is_skipped(tmp_path: Path) -> None:
    others = [object_xml("cat"), object_xml(box=(3, 4, 12, 21)), object_xml(difficult=1)]
    source = find(write_voc(tmp_path, {"a": annotation(object_xml(), *others, object_xml()), "b": annotation()}))
    (skipped,) = source.skipped_objects
    assert (skipped.path, skipped.annotation, skipped.reason) == ("a.jpg", "object 4", "repeats object 0")
    assert [item.skipped_objects for item in source.items] == [1, 0]
    assert len(objects_of(source)) == 4
    assert source.notes[0] == "Pascal VOC, all annotated images: 20 categories, 4 objects."


def test_tars_of_an_earlier_version_are_gone_on_with(tmp_path: Path) -> None:
    """The plan tells annotations by what they were as text then, repeated objects too."""
    source = find(write_voc(tmp_path, {"a": annotation(object_xml(), object_xml())}))
    person = "VocObject(name='person', box=(2.0, 3.0, 10.0, 17.0), is_difficult=False, is_truncated=False)"
    text = f"('a', VocAnnotation(size=(32, 24), objects=({person}, {person}), wrong=()))"
    assert source.facts["annotations_sha256"] == hashlib.sha256(text.encode()).hexdigest()


def test_a_person_is_one_object_whatever_parts_it_has() -> None:
    part = "<part><name>head</name><bndbox><xmin>5</xmin><ymin>5</ymin><xmax>6</xmax><ymax>6</ymax></bndbox></part>"
    whole = object_xml().replace("</object>", f"{part}</object>")
    (found,) = read_voc(annotation(whole)).objects
    assert (found.name, found.box) == ("person", (2, 3, 10, 17))


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (object_xml(box=(12, 4, 3, 20)), "bndbox: expected xmin <= xmax and ymin <= ymax, got x 12 to 3 and y 4 to 20"),
        (object_xml().replace("12", "twelve"), "bndbox.xmax: expected a number, got 'twelve'"),
        (object_xml().replace("<xmax>12</xmax>", ""), "bndbox.xmax: expected a number, got none"),
        (object_xml().replace("12", "nan"), "bndbox.xmax: expected a number, got 'nan'"),
        (object_xml().replace("12", "1e9"), "bbox.2: expected at most 10000000, got 999999998.0"),
        (object_xml(name=" "), "name: expected some text, got none"),
        ("<object><name>cat</name></object>", "bndbox: expected a box, got none"),
        (object_xml(difficult="2"), "difficult: expected 1 or 0, got '2'"),
        (object_xml(difficult="Unspecified"), "difficult: expected 1 or 0, got 'Unspecified'"),
    ],
)
def test_a_wrong_object_is_skipped_and_named_and_the_others_stay(tmp_path: Path, wrong: str, reason: str) -> None:
    source = find(write_voc(tmp_path, {"a": annotation(object_xml("dog"), wrong), "b": annotation()}))
    (skipped,) = source.skipped_objects
    assert (skipped.path, skipped.annotation, skipped.reason) == ("a.jpg", "object 1", reason)
    assert [item.skipped_objects for item in source.items] == [1, 0]
    assert [len(item.load().objects or []) for item in source.items] == [1, 0]


def test_a_box_beyond_the_image_is_taken_as_coco_s_are(tmp_path: Path) -> None:
    source = find(write_voc(tmp_path, {"a": annotation(object_xml(box=(-3, 20, 40, 30)))}))
    assert source.skipped_objects == ()
    assert objects_of(source)[0]["bbox"] == [-4, 19, 44, 11]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"<annotation><object>", "annotation: not well-formed XML: no element found: line 1, column 20"),
        (b"", "annotation: not well-formed XML: no element found: line 1, column 0"),
        (b"<coco/>", "annotation: expected an element 'annotation', got 'coco'"),
        (
            b'<!DOCTYPE a [<!ENTITY b "&c;&c;"><!ENTITY c "cccc">]><annotation>&b;</annotation>',
            "annotation: expected XML without a document type, got one",
        ),
        (
            b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/a.dtd"><annotation/>',
            "annotation: expected XML without a document type, got one",
        ),
    ],
)
def test_an_image_whose_annotation_cannot_be_read_is_skipped(tmp_path: Path, content: bytes, reason: str) -> None:
    source = find(write_voc(tmp_path, {"a": content, "b": annotation(object_xml())}))
    with pytest.raises(UnusableImage) as raised:
        source.items[0].load()
    assert str(raised.value) == reason
    assert source.items[1].load().objects


def test_xml_that_is_too_large_is_not_read() -> None:
    with pytest.raises(ValueError, match="expected at most 4194304 bytes of XML, got 4194305"):
        parse_xml(b"<" + b"a" * 2**22)


def test_categories_are_numbered_as_the_values_of_masks_or_by_name_where_names_are_others(tmp_path: Path) -> None:
    own = find(write_voc(tmp_path / "voc", {"a": annotation(object_xml("tvmonitor"), object_xml("aeroplane"))}))
    assert own.facts["categories"] == [{"id": id_, "name": name} for id_, name in enumerate(CLASSES, 1)]
    assert [each["category"] for each in objects_of(own)] == [20, 1]
    assert list(CLASSES) == sorted(CLASSES)
    other = find(write_voc(tmp_path / "other", {"a": annotation(object_xml("zebra"), object_xml("cat"))}))
    assert other.facts["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "zebra"}]


def test_a_list_says_which_images_and_one_of_a_class_those_that_show_it(tmp_path: Path) -> None:
    sets = {"Main/train": "b\nd\n", "Main/cat_train": "a  1\nb -1\nc  0\nd  1\n", "Layout/val": "c 1\n"}
    folder = write_voc(tmp_path, dict.fromkeys("abcd", annotation(object_xml())), sets)
    assert [item.path for item in find(folder, voc_set="train").items] == ["b.jpg", "d.jpg"]
    assert [item.path for item in find(folder, voc_set="Main/train").items] == ["b.jpg", "d.jpg"]
    assert [item.path for item in find(folder, voc_set="cat_train").items] == ["a.jpg", "d.jpg"]
    assert [item.path for item in find(folder, voc_set="Layout/val").items] == ["c.jpg"]
    assert [item.path for item in find(folder).items] == ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]


def test_names_with_spaces_are_told_from_flags_by_what_is_there(tmp_path: Path) -> None:
    sets = {
        "Main/train": "photo 0\nphoto 1\nmy image 1\n",
        "Main/cat_train": "photo 0  1\nphoto 1 -1\nmy image 1  0\nphoto  1\nlost  1\n",
    }
    folder = write_voc(
        tmp_path, dict.fromkeys(["photo", "photo 0", "photo 1", "my image 1"], annotation(object_xml())), sets
    )
    assert [item.path for item in find(folder, voc_set="train").items] == [
        "my image 1.jpg",
        "photo 0.jpg",
        "photo 1.jpg",
    ]
    assert [item.path for item in find(folder, voc_set="cat_train").items] == ["lost.jpg", "photo 0.jpg", "photo.jpg"]
    (folder / "Annotations/photo 1.xml").unlink()  # its image alone tells it, too
    assert len(find(folder, voc_set="train").items) == 3


def test_images_of_a_list_that_are_not_there_are_skipped_and_images_without_annotation_told(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, {"a": annotation(object_xml())}, {"Main/train": "a\nlost\nbare\n"})
    fill(folder, "JPEGImages/bare.jpg", "Annotations/alone.xml", data=annotation())
    fill(folder, "JPEGImages/bare.jpg", data=picture(format_="JPEG"))
    reasons = {}
    for item in find(folder, voc_set="train").items[1:]:
        with pytest.raises(UnusableImage) as raised:
            item.load()
        reasons[item.path] = str(raised.value)
    assert reasons == {"bare.jpg": "annotation: none", "lost.jpg": "no such file, or not a plain one"}
    everything = find(folder)
    assert "1 image has no annotation, and is in no tar: bare.jpg" in everything.notes
    assert [item.path for item in everything.items] == ["a.jpg", "alone.jpg"]


@pytest.mark.parametrize(
    ("sets", "voc_set", "message"),
    [
        ({"Main/val": "a\n", "Segmentation/val": "a\n"}, "train", "train.txt; there are Main/val, Segmentation/val"),
        ({}, "train", "train.txt; there are none"),
        ({"Main/val": "a\n../../a\n"}, "val", "val.txt: line 2: '../../a' leads out of"),
        ({"Main/val": "a\nb\na\n"}, "val", "val.txt: line 3: a is in line 1 already"),
        ({"Main/val": "a b c\n"}, "val", "val.txt: line 1: expected a name, or a name and 1, 0 or -1, got 'a b c'"),
        ({"Main/val": "a -1\n"}, "val", "val.txt: expected names of images, got none"),
        ({"Main/val": "a\n"}, "../val", "'../val.txt' leads out of"),
    ],
)
def test_a_list_that_cannot_be_right_is_refused(tmp_path: Path, sets: dict, voc_set: str, message: str) -> None:
    folder = write_voc(tmp_path, dict.fromkeys("ab", annotation(object_xml())), sets)
    with pytest.raises(ValueError) as raised:  # noqa: PT011
        find(folder, voc_set=voc_set)
    assert message in str(raised.value)


def test_a_folder_of_several_years_is_refused_with_their_names(tmp_path: Path) -> None:
    write_voc(tmp_path / "VOCdevkit" / "VOC2012", {"a": annotation()})
    with pytest.raises(
        ValueError, match=r"voc: expected a folder with JPEGImages, got .*VOCdevkit; VOC2012 below it has"
    ):
        find(tmp_path / "VOCdevkit")


def test_images_of_a_list_for_segmentation_come_with_masks_and_their_names(tmp_path: Path) -> None:
    folder = write_voc(
        tmp_path / "voc", dict.fromkeys("abc", annotation(object_xml("cat"))), {"Segmentation/train": "a\nb\nc\n"}
    )
    values = np.full((HEIGHT, WIDTH), 8, np.uint8)
    values[:2], values[2:4] = 0, 255
    coloured = Image.fromarray(values, "P")
    coloured.putpalette([channel for value in range(256) for channel in (value, 255 - value, 7)])
    fill(folder, "SegmentationClass/a.png", data=encoded(coloured))
    fill(folder, "SegmentationClass/b.png", data=mask(16, 16))
    out = tmp_path / "tars"
    config = ShardConfig(voc=str(folder), voc_set="Segmentation/train", out=str(out), shuffle=False)
    summary = run_shard(config, lambda *_: None)
    assert {each.path: each.reason for each in summary.left_out} == {
        "b.jpg": "mask: the mask is 16x16, the image 32x24",
        "c.jpg": "mask: no such file, or not a plain one",
    }
    shards = expand_shards([str(out)])
    (sample,) = read_shard(shards[0])
    (found,) = read_objects(sample)
    assert found.box == (2, 3, 10, 17)
    ((_, info),) = index_infos(shards)
    assert category_names(info)[found.category] == "cat"
    truth = Segment().read_truth(sample, TaskOptions(image_size=32))
    np.testing.assert_array_equal(truth, values)
    assert not [note for note in find(folder, voc_set="Segmentation/train").notes if "unknown" in note]
    names = Segment().class_names(info)
    assert (names[0], names[8], len(names)) == ("background", "cat", 21)


@pytest.mark.parametrize("objects", [["scratch", "dent"], ["cat", "dent"], []])
def test_masks_have_voc_s_names_only_where_the_objects_have(tmp_path: Path, objects: list[str]) -> None:
    folder = write_voc(tmp_path / "voc", {"a": annotation(*map(object_xml, objects))}, {"Segmentation/train": "a\n"})
    fill(folder, "SegmentationClass/a.png", data=mask(WIDTH, HEIGHT))
    config = ShardConfig(voc=str(folder), voc_set="Segmentation/train", out=str(tmp_path / "tars"))
    source = find_images(config.model_dump())
    (note,) = [note for note in source.notes if "names of the values of masks are unknown" in note]
    assert "--class-names" in note
    run_shard(config, lambda *_: None)
    ((_, info),) = index_infos(expand_shards([config.out]))
    assert Segment().class_names(info) == {}


def test_extensions_of_masks_are_taken_in_any_case(tmp_path: Path) -> None:
    folder = write_voc(tmp_path, dict.fromkeys(["a", "b.c"], annotation()), {"Segmentation/train": "a\nb.c\n"})
    fill(folder, "SegmentationClass/a.PNG", "SegmentationClass/b.c.Png", data=mask(WIDTH, HEIGHT))
    assert [item.load().mask for item in find(folder, voc_set="Segmentation/train").items] == [mask(WIDTH, HEIGHT)] * 2


def test_the_same_folder_is_gone_on_with_wherever_it_lies_and_a_changed_annotation_is_refused(tmp_path: Path) -> None:
    folder = write_voc(tmp_path / "here", {"a": annotation(object_xml())})
    out = str(tmp_path / "tars")
    run_shard(ShardConfig(voc=str(folder), out=out), lambda *_: None)
    folder.rename(tmp_path / "there")
    summary = run_shard(ShardConfig(voc=str(tmp_path / "there"), out=out), lambda *_: None)
    assert summary.written == 0
    fill(tmp_path / "there", "Annotations/a.xml", data=annotation(object_xml("cow")))
    with pytest.raises(ValueError, match="was made from other images or with other settings"):
        run_shard(ShardConfig(voc=str(tmp_path / "there"), out=out), lambda *_: None)
