"""A method has one colour in every plot."""

from __future__ import annotations

from stages.calibrate import CHOICES
from stages.plots.colours import COLOURS, GREY, SPARE, colours_of
from stages.ranking.choice_agreement import Choice
from stages.tables import METHODS, SELECTORS


def test_every_method_of_the_table_has_a_colour_of_its_own() -> None:
    colours = colours_of(METHODS)
    assert set(METHODS) <= COLOURS.keys()
    assert len(set(colours.values())) == len(colours)
    assert not set(colours.values()) & {GREY, *SPARE}


def test_a_selector_is_known_by_itself_or_by_whose_scores_it_takes() -> None:
    lines = [f"ltrp {name}" if SELECTORS[name].uses_scores else name for name in SELECTORS]
    assert not set(colours_of(lines).values()) & set(SPARE)


def test_other_names_of_a_method_and_its_selectors_share_its_colour() -> None:
    found = colours_of(["ranker", "ltrp topk", "ltrp topk+cluster", "colour contrast", "contrast", "mae topk"])
    assert found["ranker"] == found["ltrp topk"] == found["ltrp topk+cluster"] == COLOURS["ltrp"]
    assert found["colour contrast"] == found["contrast"] == COLOURS["contrast"]
    assert found["mae topk"] == COLOURS["mae"]
    assert colours_of(["ltrp topk+cluster (trained on all patches)"]).popitem()[1] == COLOURS["ltrp"]
    assert colours_of(["random (trained on ltrp topk at 0.25)"]).popitem()[1] == COLOURS["random"]


def test_names_that_users_give_get_spare_colours_which_no_method_has() -> None:
    found = colours_of(["mine", "ltrp", "<b>", "mine"])
    assert found == {"mine": SPARE[0], "ltrp": COLOURS["ltrp"], "<b>": SPARE[1]}
    assert not set(SPARE) & set(COLOURS.values())


def test_choices_of_calibrate_have_colours_of_the_same_table() -> None:
    choices = [Choice("random", "full").name, *(choice.name for choice in CHOICES)]
    found = colours_of(choices)
    assert len(set(found.values())) == len(choices)
    assert not set(found.values()) & {GREY, *SPARE}
    assert found["partition, full"] == COLOURS["mae"]
