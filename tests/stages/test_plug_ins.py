"""What other packages add to the tables: names without an import, and one line for what does not work."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from installed_packages import install, see
from vit_methods import Asked

from stages.compute.randomness import draws_for
from stages.plug_ins import Table
from stages.selectors.selector import Candidates
from stages.tables import METHODS, SELECTORS, TASKS

CODE = """
import numpy as np
from stages.methods.grid import GridMethod
from stages.methods.method import Method
from stages.selectors.selector import selector
from stages.tasks.classify import Classify

@selector(uses_scores=False, version=3)
def first(candidates, count):
    return np.arange(count)

def plain(candidates, count):
    return np.arange(count)

class Colour(Classify):
    needs = "colour"

class Half:
    needs = "half"

class Even(GridMethod):
    def score(self, images, views):
        return images.new_ones(len(images), self.grid.n_patches).float()

class Idle(Method):
    pass
"""


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Table[Any]]]:
    """As where the packages `lent` and `other` are installed."""
    selectors = [
        "first = lent:first",
        "plain = lent:plain",
        "gone = lent:gone",
        "elsewhere = nowhere_at_all:first",
        "../up = lent:first",
        "twice = lent:first",
        "topk = lent:first",
    ]
    tasks = ["colour = lent:Colour", "half = lent:Half", "first = lent:first"]
    methods = ["even = lent:Even", "idle = lent:Idle", "half = lent:Half"]
    points = {"ltrp_pipeline.selectors": selectors, "ltrp_pipeline.tasks": tasks, "ltrp_pipeline.methods": methods}
    install(tmp_path, "lent", CODE, points)
    install(tmp_path, "other", "", {"ltrp_pipeline.selectors": ["twice = other:first"]})
    see(tmp_path, monkeypatch)
    yield {
        "selectors": Table("selectors", SELECTORS.rows, SELECTORS.made),
        "tasks": Table("tasks", TASKS.rows, TASKS.made),
        "methods": Table("methods", METHODS.rows, METHODS.made),
    }
    sys.modules.pop("lent", None)


def test_names_of_others_stand_behind_ours_and_nothing_is_imported_for_them(tables: dict[str, Table[Any]]) -> None:
    selectors = tables["selectors"]
    assert list(selectors) == [*SELECTORS.rows, "../up", "elsewhere", "first", "gone", "plain", "twice"]
    assert len(selectors) == len(SELECTORS.rows) + 6
    assert list(tables["tasks"]) == [*TASKS.rows, "colour", "first", "half"]
    assert "first" in selectors
    assert "second" not in selectors
    assert "lent" not in sys.modules


def test_what_they_add_is_used_like_ours(tables: dict[str, Table[Any]]) -> None:
    candidates = Candidates(np.zeros(9, np.float32), np.zeros((9, 9, 3), np.uint8), 3, draws_for(0))
    first = tables["selectors"]["first"]
    assert first(candidates, 4).tolist() == [0, 1, 2, 3]
    assert first.noted_version == 3
    assert tables["tasks"]["colour"].needs == "colour"
    even = tables["methods"]["even"].load(Asked(image_size=16))
    assert even.score(torch.zeros(1, 3, 16, 16, dtype=torch.uint8), []).tolist() == [[1.0] * 4]


@pytest.mark.parametrize(
    ("kind", "name", "expected"),
    [
        (
            "selectors",
            "plain",
            "expected a function under stages.selectors.selector.selector(...), got <function plain",
        ),
        ("selectors", "gone", "AttributeError: module 'lent' has no attribute 'gone'"),
        ("selectors", "elsewhere", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("selectors", "../up", "expected a name of letters, digits, '-', '_' and '+', got '../up'"),
        (
            "tasks",
            "half",
            "expected a class with all of stages.tasks.task.Task, got <class 'lent.Half'>",
        ),
        ("tasks", "first", "TypeError: "),
        (
            "methods",
            "idle",
            "expected a class with all of stages.methods.method.Method, got <class 'lent.Idle'> without load",
        ),
        ("methods", "half", "expected a subclass of stages.methods.method.Method, got <class 'lent.Half'>"),
    ],
)
def test_what_does_not_work_is_one_line_with_package_and_entry_point(
    kind: str, name: str, expected: str, tables: dict[str, Table[Any]]
) -> None:
    begin = re.escape(f"package lent 1.0, entry point {name} = ")
    with pytest.raises(ValueError, match=f"^{begin}.* of ltrp_pipeline.{kind}: {re.escape(expected)}") as told:
        tables[kind][name]
    assert len(str(told.value).splitlines()) == 1


def test_a_name_of_two_packages_is_refused(tables: dict[str, Table[Any]]) -> None:
    with pytest.raises(ValueError, match=r"^twice: expected one entry point of that name, got package .* and package "):
        tables["selectors"]["twice"]


def test_a_name_of_ours_stays_ours_and_that_is_told(
    tables: dict[str, Table[Any]], caplog: pytest.LogCaptureFixture
) -> None:
    assert tables["selectors"]["topk"] is SELECTORS["topk"]
    assert "lent" not in sys.modules
    assert set(caplog.messages) == {
        "package lent 1.0, entry point topk = lent:first of ltrp_pipeline.selectors: not used, since topk is ours"
    }
