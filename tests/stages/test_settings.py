"""Settings of stages: light, grouped, and of the names that stand in the tables."""

from __future__ import annotations

import typing

import pytest
from pydantic import ValidationError

from pipeline.config import SECTIONS, section_model
from ranker import network
from ranker.losses import LOSSES
from stages.density.distances import DISTANCES
from stages.density.removal import REMOVALS
from stages.selectors import SELECTORS
from stages.settings.choices import Distance, Head, Loss, Removal, Select, TaskName
from stages.settings.score import ScoreConfig
from stages.tasks.table import TASKS


@pytest.mark.parametrize(
    ("choices", "table"),
    [
        (Distance, DISTANCES),
        (Removal, REMOVALS),
        (Loss, LOSSES),
        (Select, SELECTORS),
        (TaskName, TASKS),
        (Head, typing.get_args(network.Head)),
    ],
)
def test_what_can_be_chosen_is_what_there_is(choices: object, table: typing.Iterable[str]) -> None:
    assert list(typing.get_args(choices)) == list(table)


@pytest.mark.parametrize("section", SECTIONS)
def test_groups_name_settings_that_there_are_each_once(section: str) -> None:
    model = section_model(section)
    named = [name for names in getattr(model, "GROUPS").values() for name in names]  # noqa: B009
    assert len(named) == len(set(named))
    assert set(named) <= model.model_fields.keys()


@pytest.mark.parametrize(
    ("setting", "value"),
    [("seed", 2**63), ("seed", -(2**63) - 1), ("crop", float("nan")), ("view_scale", float("inf"))],
)
def test_numbers_that_nothing_can_compute_with_are_refused(setting: str, value: float) -> None:
    needed = {"shards": ["a"], "mae": "b", "out": "c"}
    ScoreConfig.model_validate(needed)
    with pytest.raises(ValidationError, match=setting):
        ScoreConfig.model_validate({**needed, setting: value})
