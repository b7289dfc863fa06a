"""What `calibrate` found: what masks and decoding are worth, and what it advised."""

from __future__ import annotations

import dataclasses

from pydantic import TypeAdapter, ValidationError

from stages.calibrate import Calibration
from stages.comparison.table import NOTHING
from stages.reporting.outcome_tables import Table
from stages.reporting.parts import Found, Part
from stages.reporting.ranker_quality import first_of
from storage.json_files import read_json_object

FIGURES_FILE = "calibration.json"


@dataclasses.dataclass(frozen=True)
class Calibrated:
    part: Part
    found: Calibration

    @property
    def sentence(self) -> str:
        """What a reader is to take away."""
        chosen, wanted = self.found.chosen, self.found.wanted
        best = max(self.found.points, key=lambda each: each.agreement.mean)
        if chosen is None:
            return f"Nothing reaches an agreement of {wanted:.3f}; the best is {best.agreement.mean:.3f}."
        control = "" if chosen.control == "none" else f", with {chosen.control} controlled in training"
        return (
            f"An agreement of {wanted:.3f} is reached at least cost, {chosen.flops / 1e9:.3g} GFLOP an image, by "
            f"{chosen.masks} {chosen.choice.masking} masks with {chosen.choice.decode} decoding{control}: "
            f"{chosen.agreement.mean:.3f}."
        )

    @property
    def table(self) -> Table:
        """Choices below each other, rounds of masks side by side."""
        points = self.found.points
        rounds = sorted({each.rounds for each in points})
        cells = {
            (each.choice.name, each.control, each.rounds): f"{each.agreement}, {each.flops / 1e9:.3g} GFLOP"
            for each in points
        }
        names = dict.fromkeys((name, control) for name, control, _ in cells)
        rows = [
            [f"{name}{_told(control)}", *(cells.get((name, control, each), NOTHING) for each in rounds)]
            for name, control in names
        ]
        heading = ["masks, decoded", *("1 round" if each == 1 else f"{each} rounds" for each in rounds)]
        return Table("Agreement, and compute for an image", heading, rows)


def find_calibrations(found: Found) -> tuple[list[Calibrated], list[str]]:
    """Besides them what cannot be read."""
    calibrated: list[Calibrated] = []
    problems: list[str] = []
    for part in found.of("calibration"):
        try:
            content = read_json_object(part.place, FIGURES_FILE)
            calibrated.append(Calibrated(part, TypeAdapter(Calibration).validate_python(content)))
        except ValidationError as error:
            problems.append(f"{part.place.url}/{FIGURES_FILE}: {first_of(error)}")
        except (ValueError, OSError) as error:
            problems.append(str(error))
    return calibrated, problems


def _told(control: str) -> str:
    return "" if control == "none" else f", {control} controlled"
