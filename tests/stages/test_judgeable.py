"""Where there is nothing to learn or to judge, that is refused: a model, and a number, would look perfect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from stages.settings.choices import TaskName
from stages.tables import TASKS
from stages.tasks.judgeable import refuse_nothing_to_judge, refuse_nothing_to_learn
from stages.tasks.survey import Survey
from stages.tasks.task import Classes

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
