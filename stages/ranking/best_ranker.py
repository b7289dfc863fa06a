"""The weights that validated best: during training in best/, which is a ranker too, then where the ranker is to be."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import torch

from ranker.network import PatchRankingTransformer
from ranker.pretrained import CONFIG_FILE, WEIGHTS_FILE, encode_ranker
from stages.ranking.facts import RankerFacts, read_facts
from stages.ranking.load_ranker import load_ranker
from stages.ranking.validation import RankerValidation, ValidationReport
from storage.locations import Location
from storage.training_folder import BEST_FOLDER

BEST_FILES = (f"{BEST_FOLDER}/{WEIGHTS_FILE}", f"{BEST_FOLDER}/{CONFIG_FILE}")


class BestRanker:
    """Of the ranker that is trained into `place`. `facts`: what is known of it with a report."""

    def __init__(
        self,
        place: Location,
        validation: RankerValidation,
        facts: Callable[[ValidationReport], RankerFacts],
    ) -> None:
        self._validation = validation
        self._facts = facts
        self._out = place
        self._place = place.child(BEST_FOLDER)
        self._best = read_report(self._place) if self._place.exists(CONFIG_FILE) else None

    def validate(
        self, model: PatchRankingTransformer, device: torch.device, *, epoch: int, step: int, steps: int
    ) -> ValidationReport:
        """How good `model` is; its weights are kept if they are the best so far."""
        report = self._validation.report(model, device, epoch=epoch, step=step, steps=steps)
        # A step that was done before, and again after an interruption, gives the same weights.
        if self._best is None or report.selected_by > self._best.selected_by or report.step == self._best.step:
            self._best = report = dataclasses.replace(report, is_best=True)
            self._place.delete(CONFIG_FILE)  # a kill in between must not leave these facts beside other weights
            _write(self._place, encode_ranker(model, self._facts(report).to_json()))
        return report

    def finish(self) -> ValidationReport:
        """Puts the best in the place of the finished ranker."""
        assert self._best is not None, "the last step ends an epoch"
        _write(self._out, {name: self._place.read(name) for name in (WEIGHTS_FILE, CONFIG_FILE)})
        return self._best


def read_report(place: Location) -> ValidationReport:
    """Of the ranker there. Raises ValueError when it was not trained here."""
    facts = read_facts(load_ranker(place.url).facts, place.url)
    if facts is None:
        raise ValueError(f"{place.url}: holds a ranker that was not trained here: name another folder")
    return facts.validation


def _write(place: Location, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        place.write(name, data)
