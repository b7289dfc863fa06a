"""Settings of stages: what may be chosen is what there is."""

from __future__ import annotations

import typing

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from pipeline.config import SECTIONS, section_model
from ranker import network
from stages.density.removal import REMOVALS
from stages.settings.choices import Distance, Head, Loss, Removal, Select, TaskName
from stages.settings.groups import Group
from stages.settings.score import ScoreConfig
from stages.tables import DISTANCES, LOSSES, SELECTORS, TASKS


@pytest.mark.parametrize(
    ("choices", "table"), [(Removal, REMOVALS), (Head, typing.get_args(network.Head))], ids=["removal", "head"]
)
def test_what_can_be_chosen_is_what_there_is(choices: object, table: typing.Iterable[str]) -> None:
    assert list(typing.get_args(choices)) == list(table)


@pytest.mark.parametrize(
    ("choices", "table"),
    [(Distance, DISTANCES), (Loss, LOSSES), (Select, SELECTORS), (TaskName, TASKS)],
    ids=["distance", "loss", "select", "task"],
)
def test_what_is_chosen_by_a_table_stands_in_it(choices: typing.Any, table: typing.Mapping[str, object]) -> None:
    chosen: TypeAdapter[str] = TypeAdapter(choices)
    assert [chosen.validate_python(name) for name in table] == list(table)
    assert all(table[name] for name in table), "what stands there can be imported"
    with pytest.raises(ValidationError, match=f"Input should be '{next(iter(table))}', .* or '{list(table)[-1]}'"):
        chosen.validate_python("none")


@pytest.mark.parametrize("section", SECTIONS)
def test_what_must_be_given_is_not_among_the_advanced_settings(section: str) -> None:
    model: type[BaseModel] = section_model(section)
    for name, field in model.model_fields.items():
        groups = [each for each in field.metadata if isinstance(each, Group)]
        assert len(groups) <= 1, name
        assert groups or not field.is_required() or name == "task", name


@pytest.mark.parametrize(
    ("setting", "value"),
    [("seed", 2**63), ("seed", -(2**63) - 1), ("crop", float("nan")), ("view_scale", float("inf"))],
)
def test_numbers_that_nothing_can_compute_with_are_refused(setting: str, value: float) -> None:
    needed = {"shards": ["a"], "mae": "b", "out": "c"}
    ScoreConfig.model_validate(needed)
    with pytest.raises(ValidationError, match=setting):
        ScoreConfig.model_validate({**needed, setting: value})
