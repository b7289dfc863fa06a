"""`shard --count-max`: some images of each class."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pictures import fill
from pydantic import ValidationError

from stages.settings.shard import ShardConfig
from stages.shard import run_shard
from stages.sources.class_limit import limited
from stages.sources.source import Item, SkippedObject, Source


def source_of(classes: dict[str, set[int] | None]) -> Source:
    def load():
        raise AssertionError("nothing is loaded")

    return Source(
        [Item(path, "", load, 0, None if each is None else frozenset(each)) for path, each in classes.items()],
        {},
        skipped_objects=tuple(SkippedObject(path, "", "") for path in classes),
    )


def taken(classes: dict[str, set[int] | None], most: int, seed: int = 0) -> list[str]:
    return [item.path for item in limited(source_of(classes), most, seed, "it").items]


def test_each_class_has_as_many_images_as_asked_for_or_all_that_there_are() -> None:
    classes: dict[str, set[int] | None] = {f"{number}.png": {number % 3} for number in range(30)}
    classes |= {"rare.png": {3}}
    found = taken(classes, 4)
    assert Counter(next(iter(classes[path] or [])) for path in found) == {0: 4, 1: 4, 2: 4, 3: 1}
    assert found == [path for path in classes if path in set(found)], "in the order that they had"


def test_the_seed_draws_them_and_a_smaller_number_takes_some_of_the_same() -> None:
    classes: dict[str, set[int] | None] = {f"{number}.png": {number % 3} for number in range(60)}
    assert taken(classes, 5) == taken(classes, 5)
    assert taken(classes, 5) != taken(classes, 5, seed=1)
    assert set(taken(classes, 2)) < set(taken(classes, 5))


def test_with_several_classes_an_image_each_has_enough_and_every_image_was_needed() -> None:
    classes: dict[str, set[int] | None] = {f"{number}.png": {0, number % 4} for number in range(40)}
    classes |= {"none.png": set()}
    found = taken(classes, 3)
    counts = Counter(each for path in found for each in classes[path] or [])
    assert all(counts[each] >= 3 for each in range(4))
    assert [counts[each] for each in (1, 2, 3)] == [3, 3, 3], "the rare ones no more often than asked for"
    assert "none.png" not in found


def test_wrong_annotations_are_those_of_the_images_that_are_taken() -> None:
    found = limited(source_of({"a": {0}, "b": {0}}), 1, 0, "it")
    assert [each.path for each in found.skipped_objects] == [item.path for item in found.items]
    assert found.notes == ("1 of 2 images are taken, 1 of each of 1 class where there are so many.",)


def test_images_whose_classes_nobody_knows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="count_max: expected images with classes, which images does not tell"):
        limited(source_of({"a": None}), 1, 0, "images")
    fill(tmp_path, "a.png")
    with pytest.raises(ValueError, match="which images does not tell"):
        run_shard(ShardConfig(images=str(tmp_path), count_max=1, out=str(tmp_path / "tars")), lambda *_: None)
    with pytest.raises(ValidationError, match="not scenes or masks"):
        ShardConfig(scenes=3, count_max=1, out="out")


def test_it_is_a_setting_of_the_tars_that_earlier_folders_do_not_have(tmp_path: Path) -> None:
    images = fill(tmp_path / "images", *(f"{name}/{number}.png" for name in "ab" for number in range(5)))
    given: dict[str, Any] = {"images": str(images), "out": str(tmp_path / "tars")}
    summary = run_shard(ShardConfig(**given, count_max=2), lambda *_: None)
    assert (summary.images, summary.samples) == (4, 4)
    assert any("4 of 10 images are taken" in note for note in summary.notes)
    with pytest.raises(ValueError, match="count_max: 2 then, None now"):
        run_shard(ShardConfig(**given), lambda *_: None)
