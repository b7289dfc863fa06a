"""The models that a run has made, loaded once: what images are shown by, and what stores are held against."""

from __future__ import annotations

import dataclasses

from ranker.pretrained import RankerCheckpoint
from stages.density.mae_checkpoints import MaeCheckpoint, load_mae
from stages.ranking.load_ranker import load_ranker
from stages.reporting.parts import Found, Part

MOST = 3
"""Of each kind that are loaded, the first by their paths."""


@dataclasses.dataclass(frozen=True)
class Models:
    maes: dict[Part, MaeCheckpoint]
    rankers: dict[Part, RankerCheckpoint]
    is_all: bool
    """Whether no finished one is missing here."""
    problems: tuple[str, ...]


def load_models(found: Found) -> Models:
    maes: dict[Part, MaeCheckpoint] = {}
    rankers: dict[Part, RankerCheckpoint] = {}
    problems: list[str] = []
    finished = [part for part in found.of("mae", "ranker") if part.is_finished]
    for kind in ("mae", "ranker"):
        for part in [each for each in finished if each.kind == kind][:MOST]:
            try:
                if kind == "mae":
                    maes[part] = load_mae(part.place.url)
                else:
                    rankers[part] = load_ranker(part.place.url)
            except (ValueError, OSError) as error:
                problems.append(str(error))
    return Models(maes, rankers, len(maes) + len(rankers) == len(finished), tuple(problems))
