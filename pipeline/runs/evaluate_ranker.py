"""Runs `evaluate-ranker`."""

from __future__ import annotations

import json

from pipeline.progress.watch import Watch, counting
from stages.evaluate_ranker import evaluate_ranker
from stages.plots.files import write_plot
from stages.ranking.evaluation import Evaluation
from stages.ranking.plot import draw_agreement
from stages.settings.evaluate_ranker import EvaluateRankerConfig
from storage.locations import locate
from storage.recognition import refuse_mixing

FIGURES_FILE = "evaluation.json"
PLOT = "agreement"


def run_evaluate_ranker(config: EvaluateRankerConfig, watch: Watch) -> Evaluation:
    """Evaluates, whether or not it was done before, and writes figures and plot."""
    place = locate(config.out)
    refuse_mixing(place)
    with watch.display("evaluate-ranker", "images") as display:
        found = evaluate_ranker(config, counting(display))
    place.write(
        FIGURES_FILE, (json.dumps({**found.to_json(), "settings": config.model_dump()}, indent=1) + "\n").encode()
    )
    write_plot(place, PLOT, draw_agreement(found), config.model_dump())
    return found
