"""How good a ranker is, in a sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from stages.ranking.evaluation import Evaluation
from stages.ranking.facts import read_facts
from stages.ranking.quality import Estimate
from stages.ranking.validation import CEILING, RANKER, SELECTED_BY
from stages.reporting.models import Models
from stages.reporting.parts import Found, Part
from storage.json_files import read_json_object

SIMPLE = ("random", "position prior", "gradient energy", "colour contrast")
"""Rules that look at no model."""
Qualities = Mapping[str, Mapping[str, Estimate]]


@dataclasses.dataclass(frozen=True)
class RankerQuality:
    """Of one evaluation, or of the validation at the end of a training."""

    part: Part
    qualities: Qualities
    sentences: tuple[str, ...]
    evaluation: Evaluation | None
    """None for a validation."""
    images: int

    @property
    def own(self) -> Estimate:
        """The ranker's."""
        return self.qualities[RANKER][SELECTED_BY]


def find_qualities(found: Found, models: Models) -> tuple[list[RankerQuality], list[str]]:
    """Evaluations; of rankers that none is of the validation. Besides them what cannot be read."""
    qualities: list[RankerQuality] = []
    problems: list[str] = []
    evaluated: set[str] = set()
    for part in found.of("evaluation"):
        content = read_json_object(part.place, "evaluation.json")
        settings = content.pop("settings", {})
        try:
            evaluation = TypeAdapter(Evaluation).validate_python(content)
        except ValidationError as error:
            problems.append(f"{part.place.url}/evaluation.json: {first_of(error)}")
            continue
        if SELECTED_BY in evaluation.qualities.get(RANKER, {}):
            evaluated.add(str(settings.get("ranker", "")).rstrip("/").rpartition("/")[2])
            told = tuple(sentences_of(evaluation.qualities, evaluation.advantages))
            qualities.append(RankerQuality(part, evaluation.qualities, told, evaluation, evaluation.images))
    for part, checkpoint in models.rankers.items():
        if part.name.rpartition("/")[2] in evaluated:
            continue
        try:
            facts = read_facts(checkpoint.facts, part.place.url)
        except ValueError as error:
            problems.append(str(error))
            continue
        if facts is not None and SELECTED_BY in facts.validation.qualities.get(RANKER, {}):
            own = facts.validation.qualities
            told = tuple(sentences_of(own, {}))
            qualities.append(RankerQuality(part, own, told, None, own[RANKER][SELECTED_BY].n))
    return qualities, problems


def sentences_of(qualities: Qualities, advantages: Qualities) -> list[str]:
    """What a reader is to take away: against the strongest simple rule, and against the ceiling."""
    means = {name: each[SELECTED_BY].mean for name, each in qualities.items() if SELECTED_BY in each}
    rules = [name for name in SIMPLE if name in means]
    told = []
    if rules:
        best = max(rules, key=lambda name: means[name])
        told.append(_against(qualities, advantages, best, f"{best}, the strongest simple rule,"))
    if CEILING in means:
        told.append(_against(qualities, advantages, CEILING, "the image's other masks"))
    return told


def _against(qualities: Qualities, advantages: Qualities, other: str, called: str) -> str:
    own, theirs = qualities[RANKER][SELECTED_BY], qualities[other][SELECTED_BY]
    paired = advantages.get(other, {}).get(SELECTED_BY)
    difference = own.mean - theirs.mean if paired is None else paired.mean
    by = f"{abs(difference):.2f}"
    if paired is not None:
        interval = f"95% interval {paired.low:.2f} to {paired.high:.2f}"
        is_better, is_worse = paired.low > 0, paired.high < 0
    else:  # not image by image: only intervals that lie apart decide
        interval = f"{own.mean:.2f} against {theirs.mean:.2f}"
        is_better, is_worse = own.low > theirs.high, own.high < theirs.low
    if own.n < 2:
        return f"On a single image nothing can be said of the ranker against {called.rstrip(',')}."
    if is_better:
        return f"The ranker beats {called} by {by} ({interval})."
    if is_worse:
        return f"The ranker falls short of {called} by {by} ({interval})."
    return f"The ranker and {called} cannot be told apart: they differ by {by} ({interval})."


def first_of(error: ValidationError) -> str:
    """Of what is wrong with a file: the field and why."""
    first: dict[str, Any] = dict(error.errors(include_url=False)[0])
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
