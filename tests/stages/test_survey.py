"""The look through all truth before training: what is missing or wrong is refused by name, and classes are known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded
from ranked_tars import GRID, SIDE, scene_fields, shards_of, write_ranked

from stages.samples.ranked import StoredRanks
from stages.settings.choices import TaskName
from stages.tables import TASKS
from stages.tasks.excluded_classes import read_excluded
from stages.tasks.survey import Survey, choose_classes, read_class_names, refuse_unknown, survey_truths
from stages.tasks.task import Classes, TaskOptions
from stages.tasks.truths import TruthReader

TARS = {"a": ["a1", "bad", "a2"], "b": ["b1", "b2"]}
KEYS = [key for keys in TARS.values() for key in keys if key != "bad"]
Fields = Mapping[str, bytes]


def survey(folder: Path, task: TaskName, **options) -> Survey:
    source = StoredRanks(write_ranked(folder, TARS, **options))
    truths = TruthReader(TASKS[task], TaskOptions(image_size=GRID.image_size), {})
    return survey_truths(truths, source, source.join(shards_of(folder)), 2)


def facts_of(key: str) -> dict:
    return json.loads(scene_fields(key)["json"])


@pytest.mark.parametrize(
    ("task", "of"),
    [
        ("classify", lambda key: {int(scene_fields(key)["cls"])}),
        ("multilabel", lambda key: set(facts_of(key)["categories"])),
        ("detect", lambda key: {each["category"] for each in facts_of(key)["objects"]}),
        ("segment", lambda key: {0} | {1 + category for category in facts_of(key)["categories"]}),
    ],
)
def test_each_class_is_found_with_the_first_sample_that_has_it(task, of, tmp_path: Path) -> None:
    expected: dict[int, str] = {}
    for key in KEYS:
        for id_ in of(key):
            expected.setdefault(id_, f"{tmp_path}/tars/{key[0]}.tar: {key}")
    found = survey(tmp_path, task)
    assert found.first == expected
    assert found.n_images == len(KEYS)
    assert found.shown == Counter(id_ for key in KEYS for id_ in of(key))
    assert sum(found.pixels.values()) == (len(KEYS) * SIDE**2 if task == "segment" else 0)
    assert len(expected) > 1


def without(name: str) -> Callable[[Fields], Fields]:
    return lambda fields: {each: data for each, data in fields.items() if each != name}


def replaced(name: str, data: bytes) -> Callable[[Fields], Fields]:
    return lambda fields: {**fields, name: data}


def facts(**changes) -> Callable[[Fields], Fields]:
    """The field json with changes; None takes away."""
    return lambda fields: {
        **fields,
        "json": json.dumps(
            {name: value for name, value in {**json.loads(fields["json"]), **changes}.items() if value is not None}
        ).encode(),
    }


SMALL_MASK = encoded(np.zeros((SIDE, SIDE - 1), np.uint8))
BOX = {"category": 1, "bbox": [1, 2, 3, 4]}
WRONG = [
    ("classify", without("cls"), "expected a class in the field cls, the sample holds json, png, seg.png"),
    ("classify", replaced("cls", b"cat"), "cls: expected the number of a class, got 'cat'"),
    ("classify", replaced("cls", b"-1"), "cls: expected the number of a class, got '-1'"),
    ("segment", without("seg.png"), "expected a mask in the field seg.png, the sample holds cls, json, png"),
    ("segment", replaced("seg.png", SMALL_MASK), "seg.png: the mask is 39x40, the image 40x40"),
    ("segment", replaced("seg.png", b"no mask"), r"seg.png: not an image of a known format \(PNG\)"),
    ("segment", lambda fields: {**fields, "seg.png": fields["seg.png"][:60]}, "seg.png: "),
    ("multilabel", without("json"), "expected .*json"),
    ("multilabel", replaced("json", b"{"), "json: "),
    ("multilabel", replaced("json", b"[]"), "json: "),
    ("multilabel", replaced("json", b"\xff"), "json: "),
    ("multilabel", facts(categories=None, objects=None), "json: expected a list of categories or of objects"),
    ("multilabel", facts(categories=["cat"]), "json: "),
    ("detect", without("json"), "expected .*json"),
    ("detect", replaced("json", b'{"objects": [1'), "json: "),
    ("detect", facts(objects=None), "json: expected a list of objects, found none"),
    ("detect", facts(objects=[{"category": 1}]), "json: "),
    ("detect", facts(objects=[{**BOX, "bbox": [1, 2, -3, 4]}]), "json: "),
    ("detect", facts(objects=[BOX], width=99), "json: expected objects of an image of 99x40, got one of 40x40"),
]


@pytest.mark.parametrize(("task", "change", "message"), WRONG)
def test_a_truth_that_is_missing_or_wrong_is_refused_with_tar_and_sample(task, change, message, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"tars/b\.tar: b2: {message}") as refused:
        survey(tmp_path, task, change=lambda key, fields: change(fields) if key == "b2" else fields)
    assert "\n" not in str(refused.value)


def test_of_several_wrong_truths_the_first_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.tar: a2: "):
        survey(tmp_path, "classify", change=lambda key, fields: {**fields, "cls": b"?"} if key != "a1" else fields)


@pytest.mark.parametrize(
    ("found", "names", "ignored", "ids", "expected"),
    [
        ({2: "x", 0: "y"}, {0: "a", 1: "b", 2: "c"}, (), (0, 1, 2), ("a", "b", "c")),
        ({}, {3: "a", 1: "b"}, (), (1, 3), ("b", "a")),
        ({2: "x"}, {0: "a", 1: "b", 2: "c"}, [0, 99], (1, 2), ("b", "c")),
        ({17: "x", 4: "y"}, {}, (), (4, 17), ("4", "17")),
    ],
)
def test_classes_are_all_that_have_names_or_else_those_that_occur(found, names, ignored, ids, expected) -> None:
    assert choose_classes(found, names, ignored) == Classes(ids, expected)


@pytest.mark.parametrize("ignored", [(), (1,)])
def test_a_class_without_a_name_is_refused_with_its_sample_where_others_have_names(ignored) -> None:
    found = {0: "a.tar: a1", 7: "b.tar: b2", 9: "b.tar: b3"}
    with pytest.raises(ValueError, match=r"^b\.tar: b2: class 7: expected one of \d, from 0 to \d$"):
        choose_classes(found, {0: "cat", 1: "dog", 2: "cow"}, ignored)
    with pytest.raises(ValueError, match=r"^b\.tar: b2: class 7: "):
        refuse_unknown(found, Classes((0, 9), ("cat", "cow")))
    refuse_unknown(found, Classes((0, 7, 9), ("cat", "dog", "cow")))


def test_without_any_class_nothing_can_be_learnt() -> None:
    with pytest.raises(ValueError, match="expected at least one class"):
        choose_classes({}, {})


def write(folder: Path, text: str | bytes) -> str:
    path = folder / "file.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat\ndog\n", {0: "cat", 1: "dog"}),
        ("\ufeffcat\r\nguide dog ", {0: "cat", 1: "guide dog"}),
        ("größer\n#1\n", {0: "größer", 1: "#1"}),
    ],
)
def test_class_names_are_the_lines_of_a_file(text, expected, tmp_path: Path) -> None:
    assert read_class_names(write(tmp_path, text)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\n\ndog\n", "line 2: expected the name of class 1, got nothing"),
        ("\n", "line 1: expected the name of class 0, got nothing"),
        ("", "line 1: expected the name of class 0, got nothing"),
        (b"caf\xe9\n", "expected text in UTF-8"),
    ],
)
def test_a_file_that_does_not_name_each_class_is_refused(text, message, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"file\.txt: {message}"):
        read_class_names(write(tmp_path, text))


CLASSES = Classes((0, 3, 5, 7), ("cat", "guide dog", "7", "cow"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cat\n", {0}),
        ("# unseen:\n\n guide dog  # as in the paper\n3\n", {1}),
        ("0\n5\ncow", {0, 2, 3}),
        ("7\n", {2}),
    ],
)
def test_excluded_classes_are_listed_by_name_or_else_by_number(text, expected, tmp_path: Path) -> None:
    assert read_excluded(write(tmp_path, text), CLASSES) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat\n\nunicorn\n", r"line 3: expected the name or number of a class \(cat, .*\), got 'unicorn'"),
        ("1\n", "line 1: expected the name or number of a class .*, got '1'"),
        ("guide\n", "line 1: .* got 'guide'"),
        ("cat\nguide dog\n7\ncow\n", "expected to leave at least one class, all 4 are excluded"),
        (b"caf\xe9\n", "expected text in UTF-8"),
    ],
)
def test_an_excluded_class_that_is_none_is_refused_and_so_are_all(text, message, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"file\.txt: {message}"):
        read_excluded(write(tmp_path, text), CLASSES)


def test_a_name_that_two_classes_have_does_not_tell_which_is_excluded(tmp_path: Path) -> None:
    classes = Classes((134, 517, 600), ("crane", "crane", "hook"))
    assert read_excluded(write(tmp_path, "517\n"), classes) == {1}
    with pytest.raises(ValueError, match=r"file\.txt: line 1: expected .* got 'crane', which is .* 134 and 517"):
        read_excluded(write(tmp_path, "crane\n"), classes)
    assert read_excluded(write(tmp_path, "crane (517)\n"), classes) == {1}  # as results call it


@pytest.mark.parametrize(
    ("ids", "names", "expected"),
    [
        ((1, 2), ("cat", "dog"), ("cat", "dog")),
        ((1, 2, 5), ("cat", "dog", "cat"), ("cat (1)", "dog", "cat (5)")),
        ((1, 2, 3), ("cat", "cat", "cat (1)"), ("cat (1) (1)", "cat (2)", "cat (1) (3)")),
        ((0, 3), ("", ""), (" (0)", " (3)")),
    ],
)
def test_labels_tell_classes_of_one_name_apart(ids, names, expected) -> None:
    assert Classes(ids, names).labels == expected
