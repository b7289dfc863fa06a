"""Views of ranked samples as a model gets them: pixels, and the patches that are kept."""

from __future__ import annotations

import dataclasses
from threading import Lock

import numpy as np

from stages.images.decoding import decode_image
from stages.images.views import View, render
from stages.samples.ranked import RankedSample
from stages.selectors.selector import Candidates
from stages.settings.choices import Select
from stages.tables import SELECTORS
from storage.dense_scores import PatchGrid

REMEMBERED_BYTES = 2**30


@dataclasses.dataclass(frozen=True, eq=False)
class KeptView:
    view: View
    pixels: np.ndarray
    """(S, S, 3) uint8"""
    kept: np.ndarray
    """(k,) int64, ascending"""

    def mirrored(self, side: int) -> KeptView:
        """Left to right, in a grid of `side` x `side` patches; the kept patches move along."""
        row, column = np.divmod(self.kept, side)
        kept = np.sort(row * side + (side - 1 - column))
        view = dataclasses.replace(self.view, flip=not self.view.flip)
        return KeptView(view, np.ascontiguousarray(self.pixels[:, ::-1]), kept)


class KeptViews:
    """Renders views and chooses `count` of their patches.

    What is chosen belongs to the view and to nothing else, and is worked out once where all views fit into memory; a
    selector that draws anew does so in each `turn`.
    """

    def __init__(self, grid: PatchGrid, select: Select, count: int, *, seed: int, n_views: int) -> None:
        """`n_views`: of all samples together."""
        self._grid = grid
        self._select = SELECTORS[select]
        self._count = count
        self._seed = seed
        self._remembers = n_views * grid.image_size**2 * 3 <= REMEMBERED_BYTES
        self._known: dict[tuple[str, str, int], KeptView] = {}
        self._chosen = self._unscored = 0
        self._counting = Lock()

    @property
    def uses_scores(self) -> bool:
        return self._select.uses_scores

    def look(self, sample: RankedSample, number: int, turn: str | int) -> KeptView:
        """View `number` of a sample. Raises ValueError when its image cannot be used."""
        identity = (sample.tar, sample.key, number)
        known = self._known.get(identity)
        if known is None:
            view = sample.view(number)
            pixels = render(decode_image(sample.sample.image), view, self._grid.image_size)
            known = KeptView(view, pixels, self.choose(sample, number, pixels, turn))
            if self._remembers:
                self._known[identity] = known
        elif self._select.draws_anew:
            known = dataclasses.replace(known, kept=self.choose(sample, number, known.pixels, turn))
        return known

    def choose(self, sample: RankedSample, number: int, pixels: np.ndarray, turn: str | int) -> np.ndarray:
        """What `look` keeps of the view, worked out anew: (k,) int64, ascending."""
        draws = self._select.draws_of(self._seed, sample.key, number, turn)
        candidates = Candidates(sample.score[number], pixels, self._grid.patch_size, draws)
        kept = self._select(candidates, self._count)
        if self.uses_scores:
            with self._counting:
                self._chosen += len(kept)
                self._unscored += int(np.isnan(sample.score[number, kept]).sum())
        return kept

    def notes(self) -> list[str]:
        """What a reader of figures has to know of what was chosen so far."""
        if not self._unscored:
            return []
        return [f"{self._unscored / self._chosen:.1%} of the patches kept by scores have none: no mask showed them"]
