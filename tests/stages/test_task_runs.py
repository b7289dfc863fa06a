"""The runs of a comparison: which there are, and what their folders are called."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from stages.settings.stage_settings import KeepRatios, Seeds, Selects
from stages.tasks.runs import TaskRun, plan_runs


@pytest.mark.parametrize(
    ("selects", "ratios", "seeds", "expected"),
    [
        (["topk"], [0.25], [0], [("topk", 0.25, 0)]),
        (["topk"], [0.5, 0.25], [1, 0], [("topk", 0.5, 1), ("topk", 0.5, 0), ("topk", 0.25, 1), ("topk", 0.25, 0)]),
        (["topk", "random"], [0.25, 1.0], [0], [("topk", 0.25, 0), ("full", 1.0, 0), ("random", 0.25, 0)]),
        (["full"], [0.25, 0.5], [0, 1], [("full", 1.0, 0), ("full", 1.0, 1)]),
        (["full", "random"], [0.5, 1.0], [7], [("full", 1.0, 7), ("random", 0.5, 7)]),
        (["topk", "topk"], [0.5, 0.5], [3, 3], [("topk", 0.5, 3)]),
    ],
)
def test_every_way_at_every_ratio_with_every_seed_and_the_full_model_once(selects, ratios, seeds, expected) -> None:
    assert list(plan_runs(selects, ratios, seeds)) == [TaskRun(*each) for each in expected]


@pytest.mark.parametrize(
    ("run", "name"),
    [
        (TaskRun("topk", 0.25, 0), "topk-0.25-seed0"),
        (TaskRun("topk+cluster", 0.5, 12), "topk+cluster-0.5-seed12"),
        (TaskRun("full", 1.0, 3), "full-seed3"),
        (TaskRun("random", 0.105, 1), "random-0.105-seed1"),
    ],
)
def test_names_tell_what_a_run_is(run, name) -> None:
    assert run.name == name


def test_no_two_runs_share_a_folder() -> None:
    ratios = [0.05, 0.1, 0.105, 0.25, 0.5, 0.75, 1 / 3, 0.3, 0.3333, 0.3333334, 0.33333341, 1.0]
    runs = list(plan_runs(["topk", "topk+cluster", "random", "centre", "lowest", "full"], ratios, range(11)))
    assert len({run.name for run in runs}) == len(runs)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(KeepRatios, [0.25, 1.0]), (KeepRatios, [1e-6]), (Selects, ["topk", "full"]), (Seeds, [0, 5])],
)
def test_settings_that_make_sense_are_taken(kind, value) -> None:
    assert TypeAdapter(kind).validate_python(value) == value


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (KeepRatios, []),
        (KeepRatios, [0.0]),
        (KeepRatios, [0.5, 1.01]),
        (KeepRatios, [-0.25]),
        (KeepRatios, [float("nan")]),
        (Selects, []),
        (Selects, ["best"]),
        (Seeds, []),
        (Seeds, [0.5]),
    ],
)
def test_settings_that_make_none_are_refused(kind, value) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)
