"""Names of classes that look alike are told wherever names come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pictures import fill

from stages.settings.shard import ShardConfig
from stages.sources.look_alikes import note_look_alikes
from stages.sources.table import find_images

NAMES = ["caf\u00e9", "cafe\u0301", "dog"]
TOLD = r"look alike and stay 2: 'cafe\u0301' and 'caf\xe9'"


def class_folders(folder: Path) -> dict[str, Any]:
    fill(folder, *(f"{name}/a.png" for name in NAMES))
    return {"images": str(folder)}


def csv(folder: Path) -> dict[str, Any]:
    fill(folder / "images", *(f"{n}.png" for n in range(len(NAMES))))
    (folder / "labels.csv").write_text("file,label\n" + "".join(f"{n},{name}\n" for n, name in enumerate(NAMES)))
    return {"images": str(folder / "images"), "csv": str(folder / "labels.csv")}


def csv_of_several(folder: Path) -> dict[str, Any]:
    return {**csv(folder), "csv_separator": "|"}


def coco(folder: Path) -> dict[str, Any]:
    fill(folder / "images", "a.png")
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES)]
    images = [{"id": 1, "file_name": "a.png", "width": 32, "height": 24}]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
    return {"images": str(folder / "images"), "coco": str(folder / "coco.json")}


def voc(folder: Path) -> dict[str, Any]:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    objects = "".join(f"<object><name>{name}</name>{box}</object>" for name in NAMES)
    fill(folder, "JPEGImages/a.png")
    fill(folder, "Annotations/a.xml", data=f"<annotation>{objects}</annotation>".encode())
    return {"voc": str(folder)}


@pytest.mark.parametrize(
    ("source", "what"),
    [
        (class_folders, "classes"),
        (csv, "classes"),
        (csv_of_several, "labels"),
        (coco, "categories"),
        (voc, "categories"),
    ],
)
def test_names_that_look_alike_stay_apart_and_are_told(tmp_path: Path, source: Any, what: str) -> None:
    found = find_images(ShardConfig(out="out", **source(tmp_path)).model_dump())
    assert [note for note in found.notes if "look alike" in note] == [f"2 {what} {TOLD}"]
    assert len(found.facts["classes" if "classes" in found.facts else "categories"]) == 3


@pytest.mark.parametrize("other", ["Dog", "dog ", " dog", "do\u200bg", "\ufeffdog", "dog\u00a0", "DOG\t"])
def test_case_white_space_and_what_takes_no_room_do_not_make_another_look(other: str) -> None:
    (note,) = note_look_alikes(["dog", "cat", other], "class", "classes")
    assert note == f"2 classes look alike and stay 2: {' and '.join(ascii(name) for name in sorted(['dog', other]))}"


def test_other_names_and_the_same_name_again_are_not_told() -> None:
    assert note_look_alikes(["dog", "dogs", "do g", "d\u00f6g", "dog", "1", "01"], "class", "classes") == []


def test_many_names_are_one_line_that_shows_some(tmp_path: Path) -> None:
    (note,) = note_look_alikes([form(f"a{n}") for n in range(9) for form in (str.upper, str.lower)], "class", "classes")
    assert note.startswith("18 classes look alike and stay 18: 'A0' and 'a0'; 'A1' and 'a1'; ")
    assert note.endswith("'A4' and 'a4'; ...")
