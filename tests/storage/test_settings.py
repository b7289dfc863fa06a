"""Settings are compared in one way and refused in one form."""

from __future__ import annotations

import re
from typing import Any

import pytest

from storage.settings import list_differences, refuse_differences, whole_number


def test_each_setting_that_differs_is_a_line_with_what_is_there_and_what_is_asked_for() -> None:
    stored = {"seed": 0, "views": 1, "kind": "random", "old": True}
    asked = {"seed": 0, "views": 4, "kind": "partition", "new": [1]}
    with pytest.raises(ValueError, match=re.escape("work/out: was made otherwise. What differs:\n")) as refusal:
        refuse_differences("work/out", stored, asked, what="was made otherwise", advice="Name another", holder="folder")
    assert str(refusal.value).splitlines()[1:] == [
        "  kind: 'random' in the folder, 'partition' now",
        "  new: nothing in the folder, [1] now",
        "  old: True in the folder, nothing now",
        "  views: 1 in the folder, 4 now",
        "Name another",
    ]


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ({"scale": [0.2, 1.0]}, {"scale": (0.2, 1.0)}),  # as it is read again
        ({}, {"added.later": None}),
        ({"a": 1, "b": {"c": 2}}, {"b": {"c": 2}, "a": 1}),
    ],
)
def test_what_means_the_same_does_not_differ(stored: dict[str, Any], asked: dict[str, Any]) -> None:
    assert list_differences(stored, asked) == []


def test_values_of_a_strangers_file_are_told_safely() -> None:
    (line,) = list_differences({"a": "\x1b[2J" + "x" * 1000}, {"a": ""})
    assert line.isprintable()
    assert len(line) < 200


@pytest.mark.parametrize("value", [None, 0, -1, 2**31, 1.0, True, "4", [4]])
def test_a_size_that_is_no_whole_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^st/zarr.json: setting views: expected a whole number of 1 or more, got "):
        whole_number({"views": value}, "views", "st/zarr.json")
    assert whole_number({"views": 4}, "views", "st/zarr.json") == 4
