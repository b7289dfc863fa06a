"""Settings of `show`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from stages.images.crop import Crop
from stages.settings.choices import DEFAULT_RANKER

KEEP, KEEP_OF_SEVERAL = (0.75, 0.5, 0.25), (0.5,)
"""Parts of the patches that are kept where none are given: by one source of scores, and by several."""
OURS = "ltrp"
"""The method that rankers are of."""
MASK_RATIO = 0.9


@dataclasses.dataclass(frozen=True)
class ShownMethod:
    """A method, and the ranker, model or store that it is to look through."""

    name: str
    path: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """What its options say."""

    images: Sequence[str]
    out: str
    ranker: Sequence[str] = ()
    method: Sequence[ShownMethod] = ()
    model: str | None = None
    """Of methods that need one and have none of their own."""
    scores: Sequence[str] = ()
    """Stores, of scores or of ranks."""
    maps: bool = True
    mae: str | None = None
    keep: Sequence[float] = ()
    """Without any, `KEEP` or `KEEP_OF_SEVERAL`."""
    patch: tuple[int, int] | None = None
    """Row and column, from 0; None for the patch that the first source puts first."""
    count: int = 12
    across: int | None = None
    """Images beside each other; None for as many as suit the page."""
    mask_ratio: float = MASK_RATIO
    crop: Crop = 0.875
    seed: int = 0

    @property
    def methods(self) -> list[ShownMethod]:
        """All that are asked for, rankers among them: where `OURS` stands, else before the others. Where nothing is
        asked for, the default ranker."""
        rankers = [ShownMethod(OURS, path) for path in self.ranker or [DEFAULT_RANKER]]
        asked = list(self.method)
        if self.ranker or not (self.method or self.scores):
            asked = asked if ShownMethod(OURS) in asked else [ShownMethod(OURS), *asked]
        expanded = [each for one in asked for each in (rankers if one == ShownMethod(OURS) else [one])]
        return list(dict.fromkeys(expanded))

    @property
    def ratios(self) -> Sequence[float]:
        """The parts of the patches that are kept."""
        return self.keep or (KEEP if len(self.methods) + len(self.scores) == 1 else KEEP_OF_SEVERAL)
