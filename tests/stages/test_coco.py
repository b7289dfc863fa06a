"""COCO's annotation files: what a wrong one is told, and that what is taken from them is what later stages read."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import fill
from PIL import Image

from stages.images.decoding import UnusableImage
from stages.settings.shard import ShardConfig
from stages.shard import run_shard
from stages.sources.coco import read_coco
from stages.sources.coco_images import from_coco
from stages.sources.source import Source
from stages.tasks.objects import category_names, read_objects
from storage.shard_files import read_shard
from storage.shard_index import expand_shards, index_infos

SEGMENT = np.zeros((24, 32), np.uint8)
SEGMENT[4:9, 2:30] = 1
RUNS = [2 * 24 + 4, 5, *[19, 5] * 27, 2 * 24 + 24 - 9]


def coco_content() -> dict[str, Any]:
    return {
        "info": {"ignored": True},
        "images": [
            {"id": 7, "file_name": "b.png", "width": 32, "height": 24},
            {"id": 3, "file_name": "sub/a.png", "width": 32, "height": 24},
        ],
        "annotations": [
            {"id": 11, "image_id": 7, "category_id": 9, "bbox": [1, 2, 3.5, 4],
             "segmentation": [[1, 2, 4, 2, 4, 6]]},
            {"id": 12, "image_id": 7, "category_id": 2, "bbox": [0, 0, 8, 8], "area": 60, "iscrowd": 1,
             "segmentation": {"counts": RUNS, "size": [24, 32]}},
            {"id": 13, "image_id": 7, "category_id": 9, "bbox": [0, 0, 1, 1]},
        ],
        "categories": [{"id": 9, "name": "dog"}, {"id": 2, "name": "cat", "supercategory": "animal"}],
    }  # fmt: skip


def find_coco(folder: Path, content: Any) -> Source:
    fill(folder / "images", "b.png", "sub/a.png", "not-listed.png", "notes.txt")
    (folder / "instances.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return from_coco(str(folder / "images"), str(folder / "instances.json"))


def objects_of(source: Source, number: int = 0) -> list[dict[str, Any]]:
    objects = source.items[number].load().objects
    assert objects is not None
    return objects


def test_coco_objects_come_with_their_images(tmp_path: Path) -> None:
    source = find_coco(tmp_path, coco_content())
    assert [item.path for item in source.items] == ["b.png", "sub/a.png"]
    assert source.facts["categories"] == [{"id": 2, "name": "cat"}, {"id": 9, "name": "dog"}]
    assert source.skipped_objects == ()
    first, second, third = objects_of(source)
    assert first == {"category": 9, "bbox": [1, 2, 3.5, 4], "segmentation": [[1, 2, 4, 2, 4, 6]], "iscrowd": 0}
    assert second["segmentation"] == {"counts": RUNS, "size": [24, 32]}
    assert (second["area"], second["iscrowd"]) == (60, 1)
    assert third == {"category": 9, "bbox": [0, 0, 1, 1], "iscrowd": 0}
    assert objects_of(source, 1) == []


def test_images_of_the_folder_that_coco_does_not_list_are_told_apart_from_other_files(tmp_path: Path) -> None:
    source = find_coco(tmp_path, coco_content())
    assert source.ignored == 1
    assert source.notes == (
        "COCO annotations: 2 categories, 3 objects.",
        "1 image of the folder is not in instances.json, and so in no tar: not-listed.png",
    )


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert len(find_coco(tmp_path, "\ufeff" + json.dumps(coco_content())).items) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("categories"), "not COCO annotations: categories: expected a value, got none"),
        (lambda c: c.update(annotations=3), "not COCO annotations: annotations: expected a valid array, got 3"),
        (lambda c: c["images"][1].pop("width"), "not COCO annotations: images.1.width: expected a value, got none"),
        (lambda c: c["images"][0].update(file_name="../secret.png"), "images.0.file_name: '../secret.png' leads out"),
        (lambda c: c["images"][1].update(file_name="/etc/s.png"), "images.1.file_name: '/etc/s.png' leads out"),
        (lambda c: c["images"][1].update(file_name="./b.png"), "images.1.file_name: expected 'b.png', got './b.png'"),
        (
            lambda c: c["images"][1].update(file_name=""),
            "not COCO annotations: images.1.file_name: expected some text, got ''",
        ),
        (lambda c: c["images"][1].update(file_name="b.png"), "images: 2 entries have the file_name 'b.png'"),
        (lambda c: c["images"][1].update(id=7), "images: 2 entries have the id 7"),
        (lambda c: c["categories"][1].update(id=9), "categories: 2 entries have the id 9"),
        (
            lambda c: c["categories"][1].update(id=-1),
            "not COCO annotations: categories.1.id: expected at least 0, got -1",
        ),
        (lambda c: c["categories"][1].update(id=2**31), "not COCO annotations: categories.1.id: expected less than"),
        (
            lambda c: [each.update(image_id=8) for each in c["annotations"]],
            "none of the 3 annotations can be used: annotations.0 (id 11): image_id: expected the id of an image",
        ),
    ],
)
def test_a_file_that_contradicts_itself_is_refused_naming_file_and_entry(
    tmp_path: Path, change: Any, message: str
) -> None:
    content = coco_content()
    change(content)
    with pytest.raises(ValueError, match=rf"instances\.json: {re.escape(message)}") as raised:
        find_coco(tmp_path, content)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "not json", "[" * 100_000], ids=lambda content: content[:9])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(ValueError, match=r"instances\.json: not COCO annotations: the whole: expected JSON, got "):
        find_coco(tmp_path, content)


def test_a_list_is_no_coco_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"not COCO annotations: the whole: expected an object, got \[\]"):
        find_coco(tmp_path, "[]")


def test_an_annotation_file_that_is_a_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(ValueError, match=r"coco: expected a plain file, found something else at .*pipe\.json"):
        read_coco(tmp_path / "pipe.json")


WRONG_OBJECTS: list[tuple[dict[str, Any], str]] = [
    ({"bbox": [20, 20, -10, -10]}, "bbox.2: expected at least 0, got -10.0"),
    ({"bbox": [20, 20, 1e9, 10]}, "bbox.2: expected at most 10000000, got 1000000000.0"),
    ({"bbox": [float("nan"), 20, 10, 10]}, "bbox.0: expected a finite number, got nan"),
    ({"bbox": [0, float("-inf"), 10, 10]}, "bbox.1: expected a finite number, got -inf"),
    ({"bbox": [1, 2, 3]}, "bbox.3: expected a value, got none"),
    ({"bbox": [1, 2, 3, 4, 5]}, "bbox: expected at most 4 items, got 5"),
    ({"bbox": None}, "bbox: expected a valid list, got None"),
    ({"bbox": ["a", 2, 3, 4]}, "bbox.0: expected a valid number, unable to parse string as a number, got 'a'"),
    ({"iscrowd": 2}, "iscrowd: expected 0 or 1, got 2"),
    ({"category_id": -1}, "category_id: expected the id of a category, got -1"),
    ({"category_id": 3}, "category_id: expected the id of a category, got 3"),
    ({"image_id": 8}, "image_id: expected the id of an image, got 8"),
    ({"area": -1}, "area: expected at least 0, got -1.0"),
    ({"area": float("inf")}, "area: expected a finite number, got inf"),
    ({"segmentation": "x"}, "segmentation: expected polygons or a run-length code, got 'x'"),
    ({"segmentation": [[1, 2, float("nan"), 4]]}, "segmentation.polygons.0.2: expected a finite number, got nan"),
    ({"segmentation": [[1, 2, 3]]}, "segmentation.polygons.0: expected pairs of x and y, got 3 numbers"),
    (
        {"segmentation": {"counts": [4, float("nan")], "size": [24, 32]}},
        "segmentation.code.counts.runs.1: expected a valid integer, got nan",
    ),
    (
        {"segmentation": {"counts": [-4, 772], "size": [24, 32]}},
        "segmentation.code.counts.runs.0: expected at least 0, got -4",
    ),
    (
        {"segmentation": {"counts": [4, 4], "size": [24, 32]}},
        "segmentation.counts: expected runs of 768 pixels in all, got 8",
    ),
    (
        {"segmentation": {"counts": [768], "size": [32, 24]}},
        "segmentation.size: expected [24, 32], height and width of the image, got [32, 24]",
    ),
    (
        {"segmentation": {"counts": "\x7f", "size": [24, 32]}},
        "segmentation.counts: expected characters from '0' to 'o' in a run-length code, got '\\x7f'",
    ),
    (
        {"segmentation": {"counts": "o" * 99, "size": [24, 32]}},
        "segmentation.counts: expected characters from '0' to 'o' in a run-length code, got 'o'",
    ),
    (
        {"segmentation": {"counts": "`", "size": [24, 32]}},
        "segmentation.counts: expected a whole run-length code, got one that is cut short",
    ),
    ({"segmentation": {"counts": [768]}}, "segmentation.code.size: expected a value, got none"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "reason"), WRONG_OBJECTS, ids=lambda value: str(value)[:40])
def test_a_wrong_annotation_is_skipped_and_named_and_the_others_stay(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    content = coco_content()
    content["annotations"][2].update(change)
    source = find_coco(tmp_path, content)
    (skipped,) = source.skipped_objects
    assert skipped.annotation == "annotations.2 (id 13)"
    assert skipped.path == ("" if "image_id" in change else "b.png")
    assert skipped.reason.startswith(reason)
    assert skipped.reason.isprintable()
    assert [each["category"] for each in objects_of(source)] == [9, 2]


def test_an_annotation_that_repeats_another_is_skipped_whatever_its_id(tmp_path: Path) -> None:
    content = coco_content()
    polygons, code, box = content["annotations"]
    others = [{**box, "bbox": [0, 0, 1, 2]}, {**box, "category_id": 2}, {**box, "image_id": 3}, {**box, "iscrowd": 1}]
    segments = [{**polygons, "segmentation": [[1, 2, 4, 2, 4, 7]]}, {**box, "segmentation": [[1, 2, 4, 2, 4, 6]]}]
    content["annotations"] += [dict(each) for each in (*others, *segments)]
    for each in content["annotations"]:
        each["id"] = 0
    content["annotations"] += [{**box, "id": 5, "area": 1}, polygons, {**code, "bbox": ["0", 0, 8, 8.0]}, polygons]
    source = find_coco(tmp_path, content)
    assert [(each.path, each.annotation, each.reason) for each in source.skipped_objects] == [
        ("b.png", "annotations.9 (id 5)", "repeats annotations.2"),
        ("b.png", "annotations.10 (id 0)", "repeats annotations.0"),
        ("b.png", "annotations.11 (id 0)", "repeats annotations.1"),
        ("b.png", "annotations.12 (id 0)", "repeats annotations.0"),
    ]
    assert [item.skipped_objects for item in source.items] == [4, 0]
    assert [len(objects_of(source, number)) for number in range(2)] == [8, 1]
    assert source.notes[0] == "COCO annotations: 2 categories, 9 objects."


def test_an_annotation_that_is_no_object_at_all_is_named_by_its_place(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"].append([1])
    (skipped,) = find_coco(tmp_path, content).skipped_objects
    assert (skipped.path, skipped.annotation) == ("", "annotations.3")
    assert skipped.reason == "the whole: expected an object, got [1]"


def test_numbers_that_exporters_write_as_text_or_truth_values_are_taken(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"][2].update(category_id="9", bbox=["0", 0, 1, 1.0], iscrowd=False)
    source = find_coco(tmp_path, content)
    assert source.skipped_objects == ()
    assert objects_of(source)[2] == {"category": 9, "bbox": [0, 0, 1, 1], "iscrowd": 0}


def test_two_categories_of_one_name_stay_two_and_are_told(tmp_path: Path) -> None:
    content = coco_content()
    content["categories"][1]["name"] = "dog"
    source = find_coco(tmp_path, content)
    assert source.facts["categories"] == [{"id": 2, "name": "dog"}, {"id": 9, "name": "dog"}]
    assert source.notes[1] == "2 categories have the name dog and stay 2: ids 2, 9"


def test_an_image_that_coco_lists_but_is_missing_or_no_plain_file_is_unusable(tmp_path: Path) -> None:
    content = coco_content()
    names = ["gone.png", "folder.png", "pipe.png", "loop.png", f"{'x' * 5000}.png", "notes.txt", "new\nline.png"]
    content["images"] += [
        {"id": 100 + number, "file_name": name, "width": 32, "height": 24} for number, name in enumerate(names)
    ]
    (tmp_path / "images" / "folder.png").mkdir(parents=True)
    os.mkfifo(tmp_path / "images" / "pipe.png")
    os.symlink("loop.png", tmp_path / "images" / "loop.png")
    reasons = {}
    for item in find_coco(tmp_path, content).items:
        try:
            item.load()
        except UnusableImage as error:
            reasons[item.path] = str(error)
    no_file = "no such file, or not a plain one"
    assert reasons == {
        **dict.fromkeys(names, no_file),
        names[4]: f"cannot be read: {os.strerror(36)}",
        "notes.txt": "not an image by its name",
    }


def test_a_folder_that_cannot_be_listed_is_told_beside_listed_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.scandir

    def denying(path: Any) -> Any:
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    fill(tmp_path / "images" / "lost+found", "x.txt")
    monkeypatch.setattr(os, "scandir", denying)
    source = find_coco(tmp_path, coco_content())
    assert source.notes[-1] == f"{tmp_path}/images/lost+found: cannot list this folder (Permission denied)"


def test_objects_of_tars_that_shard_made_of_a_file_with_wrong_ones_can_be_read(tmp_path: Path) -> None:
    content = coco_content()
    content["annotations"] += [
        {"id": 100 + number, **{**content["annotations"][2], **change, "id": 100 + number}}
        for number, (change, _) in enumerate(WRONG_OBJECTS)
    ]
    find_coco(tmp_path, content)
    out = tmp_path / "out"
    config = ShardConfig(images=str(tmp_path / "images"), coco=str(tmp_path / "instances.json"), out=str(out))
    summary = run_shard(config, lambda *_: None)
    assert (summary.samples, len(summary.skipped_objects)) == (2, len(WRONG_OBJECTS))
    listed = json.loads((out / "skipped_objects.json").read_text())
    assert [each["annotation"] for each in listed] == [
        f"annotations.{3 + n} (id {100 + n})" for n in range(len(listed))
    ]
    assert len(listed) == len(WRONG_OBJECTS)
    shards = expand_shards([str(out)])
    samples = {sample.key: sample for entry in shards for sample in read_shard(entry)}
    assert [each.category for each in read_objects(samples["b"])] == [9, 2, 9]
    assert Image.open(io.BytesIO(samples["b"].image)).size == (32, 24)
    assert [category_names(info) for _, info in index_infos(shards)] == [{2: "cat", 9: "dog"}]
