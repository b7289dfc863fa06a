"""What a report says in plain words: whichever way it went."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_results import result_of, write

from stages.comparison.comparison import compare
from stages.ranking.quality import Estimate
from stages.ranking.validation import CEILING, RANKER, SELECTED_BY
from stages.reporting.outcomes import sentences_of as task_sentences
from stages.reporting.ranker_quality import sentences_of as ranker_sentences


def of(mean: float, half: float = 0.01, n: int = 40) -> dict[str, Estimate]:
    return {SELECTED_BY: Estimate(mean, mean - half, mean + half, n)}


@pytest.mark.parametrize(
    ("ranker", "advantage", "expected"),
    [
        (
            0.5,
            of(0.2),
            "The ranker beats colour contrast, the strongest simple rule, by 0.20 (95% interval 0.19 to 0.21).",
        ),
        (
            0.2,
            of(-0.1),
            "The ranker falls short of colour contrast, the strongest simple rule, by 0.10 "
            "(95% interval -0.11 to -0.09).",
        ),
        (
            0.31,
            of(0.01, 0.05),
            "The ranker and colour contrast, the strongest simple rule, cannot be told apart: they differ by 0.01 "
            "(95% interval -0.04 to 0.06).",
        ),
    ],
    ids=["better", "worse", "alike"],
)
def test_a_ranker_is_held_against_the_strongest_simple_rule(
    ranker: float, advantage: dict[str, Estimate], expected: str
) -> None:
    qualities = {RANKER: of(ranker), "random": of(0.0), "colour contrast": of(0.3), "gradient energy": of(0.1)}
    assert ranker_sentences(qualities, {"colour contrast": advantage, "random": of(1.0)}) == [expected]


def test_without_differences_image_by_image_intervals_must_lie_apart() -> None:
    apart = ranker_sentences({RANKER: of(0.5), CEILING: of(0.4)}, {})
    overlapping = ranker_sentences({RANKER: of(0.5, 0.2), CEILING: of(0.4)}, {})
    assert apart == ["The ranker beats the image's other masks by 0.10 (0.50 against 0.40)."]
    assert "cannot be told apart" in overlapping[0]


def test_a_single_image_proves_nothing() -> None:
    (told,) = ranker_sentences({RANKER: of(0.9, 0.0, 1), "random": of(0.0, 0.0, 1)}, {})
    assert told == "On a single image nothing can be said of the ranker against random, the strongest simple rule."


@pytest.mark.parametrize(
    ("ours", "chance", "expected"),
    [
        ([0.70, 0.72], [0.50, 0.52], "a difference of +0.200, beyond their deviation over 2 seeds."),
        ([0.40, 0.42], [0.50, 0.52], "a difference of -0.100, beyond their deviation over 2 seeds."),
        ([0.40, 0.60], [0.45, 0.65], "a difference of -0.050, within their deviation over 2 seeds."),
        ([0.7], [0.5], "a difference of +0.200, of one run each, so that nothing is known of the spread."),
    ],
    ids=["better", "worse", "alike", "one run"],
)
def test_a_task_is_told_against_patches_at_random(
    ours: list[float], chance: list[float], expected: str, tmp_path: Path
) -> None:
    results = [result_of("ltrp", seed=seed, value=value) for seed, value in enumerate(ours)]
    results += [result_of("random", seed=seed, value=value) for seed, value in enumerate(chance)]
    (told,) = task_sentences(compare(write(tmp_path, *results))["classify"])
    assert told.startswith("At keep ratio 0.25, ltrp topk reaches top-1 ")
    assert told.endswith(expected)


def test_all_patches_are_the_level_that_few_come_to(tmp_path: Path) -> None:
    results = [
        result_of("ltrp", 0.25, value=0.4),
        result_of("ltrp", 0.5, value=0.79),
        result_of("full", 1.0, value=0.8),
    ]
    (told,) = task_sentences(compare(write(tmp_path, *results))["classify"])
    assert told == "All patches reach 0.800; ltrp topk comes to 0.790 with 8 of 16 patches."
