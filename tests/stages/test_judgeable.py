"""Where there is nothing to learn or to judge, that is refused: a model, and a number, would look perfect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stages.settings.choices import TaskName
from stages.tables import TASKS
from stages.tasks.judgeable import mask_notes, refuse_nothing_to_judge, refuse_nothing_to_learn
from stages.tasks.survey import Survey
from stages.tasks.task import Classes, TaskOptions

CLASSES = Classes((1, 4, 7), ("disc", "ring", "star"))


@pytest.mark.parametrize(
    ("task", "shown", "refuse", "expected"),
    [
        ("multilabel", {}, refuse_nothing_to_learn, "nothing to learn: no category in 3 images"),
        (
            "multilabel",
            {1: 3, 4: 3},
            refuse_nothing_to_judge,
            r"nothing to judge: each category that occurs is in all of 3 images \(disc, ring\): expected one that some "
            "lack",
        ),
        (
            "classify",
            {4: 3},
            refuse_nothing_to_learn,
            "nothing to learn: 3 images of one class alone, ring: expected at least two classes to tell apart",
        ),
    ],
)
def test_of_images_that_are_all_alike_nothing_is_learnt_or_judged(
    task: TaskName, shown: Mapping[int, int], refuse: Callable[..., Any], expected: str
) -> None:
    with pytest.raises(ValueError, match=f"^shards: {expected}$"):
        refuse(TASKS[task], Survey(3, shown=Counter(shown)), CLASSES, "shards")


def test_what_one_image_lacks_can_be_judged_unless_it_is_excluded() -> None:
    task, found = TASKS["multilabel"], Survey(3, shown=Counter({1: 2, 4: 3}))
    refuse_nothing_to_judge(task, found, CLASSES, "shards")
    refuse_nothing_to_judge(task, found, CLASSES, "shards", excluded={1})
    with pytest.raises(ValueError, match=r"to judge without the 1 excluded of 3 classes: each category .* \(ring\)"):
        refuse_nothing_to_judge(task, found, CLASSES, "shards", excluded={0})


def test_settings_that_concern_no_mask_are_told() -> None:
    options = TaskOptions(image_size=32, ignore_classes=(0, 77, 255), mask_values=((9, 1), (8, 3)))
    found = Survey(2, pixels=Counter({0: 50, 1: 25, 255: 25}))
    assert list(mask_notes(found, options, "shards")) == [
        "shards: 25.0% of the pixels of masks are 255 and count nowhere",
        "shards: no mask has the value 77 of ignore_classes",
        "shards: no mask has the value 8 of mask_values",
    ]
    assert list(mask_notes(Survey(2), options, "boxes")) == []
