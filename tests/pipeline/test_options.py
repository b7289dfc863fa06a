"""Options made of settings: several values in one argument, and what help says of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, Field

from pipeline.options import FiniteRange, given, options_of


class Settings(BaseModel):
    """One of each kind."""

    ratio: Annotated[list[float], Field(min_length=1)] = Field([0.25, 1.0], description="Parts.")
    select: list[Literal["topk", "random"]] = Field(["topk"], description="Ways.")
    seeds: list[int] = Field([], description="Numbers.")
    shards: list[str] = Field(description="Paths.")
    steps: int | None = Field(None, description="A number.")
    flip: bool = Field(True, description="Whether.")


@click.command()
@options_of(Settings)
def print_given(**flags: Any) -> None:
    click.echo(repr(given(flags, Settings)))


@click.command()
@options_of(Settings, without=("shards", "steps"))
def print_flags(**flags: Any) -> None:
    click.echo(repr(sorted(flags)))


def call(*arguments: str) -> Result:
    return CliRunner().invoke(print_given, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], {}),
        (["--ratio", "0.5"], {"ratio": [0.5]}),
        (["--ratio", "0.25,0.5,1"], {"ratio": [0.25, 0.5, 1.0]}),
        (["--ratio", "0.25, 0.5"], {"ratio": [0.25, 0.5]}),
        (["--ratio", "0.25,0.5", "--ratio", "1"], {"ratio": [0.25, 0.5, 1.0]}),
        (["--select", "random,topk"], {"select": ["random", "topk"]}),
        (["--seeds", "0,1,2"], {"seeds": [0, 1, 2]}),
        (["--seeds", "0"], {"seeds": [0]}),
        (["--shards", "a,b.tar", "--shards", "{c,d}"], {"shards": ["a,b.tar", "{c,d}"]}),
        (["--steps", "0", "--no-flip"], {"steps": 0, "flip": False}),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_lists_are_given_with_commas_or_one_by_one_and_only_paths_may_hold_commas(
    arguments: list[str], expected: dict[str, Any]
) -> None:
    result = call(*arguments)
    assert (result.exit_code, result.output.strip()) == (0, repr(expected))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--ratio", "0.25,half"], "--ratio': 'half' is not a valid float"),
        (["--ratio", "0.25,"], "--ratio': '' is not a valid float"),
        (["--seeds", "1,1.5"], "--seeds': '1.5' is not a valid integer"),
        (["--select", "topk,best"], "--select': 'best' is not one of 'topk', 'random'"),
    ],
    ids=lambda value: value[1] if isinstance(value, list) else "",
)
def test_the_one_of_several_values_that_is_wrong_is_named(arguments: list[str], expected: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert expected in " ".join(result.output.split())


def test_help_shows_the_kind_of_several_values_and_their_default() -> None:
    text = " ".join(call("--help").output.split())
    for part in (
        "--ratio FLOAT,... Parts. [default: 0.25,1.0]",
        "--select [topk|random],... Ways. [default: topk]",
        "--seeds INTEGER,... Numbers. --shards",
        "--shards TEXT Paths. [required]",
        "--flip / --no-flip Whether. [default: true]",
    ):
        assert part in text


def test_settings_that_are_given_otherwise_have_no_option() -> None:
    assert CliRunner().invoke(print_flags).output.strip() == "['flip', 'ratio', 'seeds', 'select']"
    assert CliRunner().invoke(print_flags, ["--steps", "3"]).exit_code == 2


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "0", "2"])
def test_numbers_are_finite_and_within_their_bounds(text: str) -> None:
    command = click.Command("x", params=[click.Option(["--part"], type=FiniteRange(0, min_open=True, max=1))])
    result = CliRunner().invoke(command, ["--part", text])
    assert result.exit_code == 2
    assert "'--part'" in result.output
    assert CliRunner().invoke(command, ["--part", "0.5"]).exit_code == 0
