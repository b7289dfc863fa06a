"""What a method learned, by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from vit_methods import write_task

from stages.comparison.learned_classes import Split, read_learned, split_classes, trained_classes
from stages.tasks.task import Classes

ANIMALS = Classes((0, 2, 5), ("Cat", "guinea_pig", "tench, Tinca tinca"))


def test_methods_that_learned_the_same_of_some_classes_share_a_split_and_all_or_nothing_is_none() -> None:
    learned = {
        "a": frozenset({"cat", "dog"}),
        "b": frozenset({"cat"}),
        "c": frozenset({"guinea pig", "tench"}),
        "all": frozenset({"cat", "guinea pig", "tench", "dog"}),
        "none": frozenset({"dog"}),
    }
    assert split_classes(ANIMALS, learned) == [Split(("a", "b"), (0,), (2, 5)), Split(("c",), (2, 5), (0,))]


def test_folders_of_trained_models_tell_what_they_learned_and_others_tell_nothing(tmp_path: Path) -> None:
    write_task(tmp_path / "task")
    assert trained_classes(str(tmp_path / "task")) == {"ball", "box", "cone"}
    (tmp_path / "gfnet.json").write_text(json.dumps({"classes": {"ids": [0, 1], "names": ["A_b", "c"]}}))
    assert trained_classes(str(tmp_path)) == {"a b", "c"}
    assert trained_classes(str(tmp_path / "nothing")) is None
    assert trained_classes("timm:vit_tiny_patch16_224") is None


@pytest.mark.parametrize("classes", [None, {"ids": [0]}, {"ids": [0, 1], "names": ["a"]}, {"ids": [], "names": []}])
def test_a_damaged_description_is_named(classes: object, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text(json.dumps({"classes": classes}))
    with pytest.raises(ValueError, match=r"task\.json: classes: expected"):
        trained_classes(str(tmp_path))


def test_names_come_from_a_file_or_from_the_lists_that_come_along(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("# comment\nChain_saw  # n03000684\n\nchurch\n")
    assert read_learned(str(tmp_path / "names")) == {"chain saw", "church"}
    coco = read_learned("imagenet:coco")
    assert {"bicycle", "sports ball"} <= coco
    assert "person" not in coco
    assert coco < read_learned("imagenet")
