"""Settings of `export-scores`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

KEEP_RATIO = 0.25


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportScoresConfig:
    """What its options say."""

    store: str
    """Of scores or of ranks."""
    to: str
    """The name of a format (`stages.tables.FORMATS`)."""
    out: str
    """A folder, or for a format of one file that file."""
    shards: Sequence[str] = ()
    """The store's tars, for formats with images; by default where the store was made from."""
    keep_ratio: float = KEEP_RATIO
    """Of the patches, for formats that say which are kept."""
