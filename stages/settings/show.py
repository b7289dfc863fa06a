"""Settings of `show`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from stages.settings.choices import DEFAULT_RANKER

KEEP, KEEP_OF_SEVERAL = (0.75, 0.5, 0.25), (0.5,)
"""Parts of the patches that are kept where none are given: for one source of scores, and for several."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """What its options say."""

    images: Sequence[str]
    out: str
    ranker: Sequence[str] = ()
    """Without any source of scores, `DEFAULT_RANKER`."""
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
    mask_ratio: float = 0.9
    crop: float = 0.875
    seed: int = 0

    @property
    def rankers(self) -> Sequence[str]:
        """Those that are asked for, or the default one."""
        return self.ranker if self.ranker or self.scores else (DEFAULT_RANKER,)

    @property
    def ratios(self) -> Sequence[float]:
        """The parts of the patches that are kept."""
        return self.keep or (KEEP if len(self.rankers) + len(self.scores) == 1 else KEEP_OF_SEVERAL)
