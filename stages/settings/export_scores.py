"""Settings of `export-scores`."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

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
    keep_ratio: float | None = None
    """Of the patches, for formats that say which are kept; by default `KEEP_RATIO`."""

    def __post_init__(self) -> None:
        if self.keep_ratio is not None and not (isinstance(self.keep_ratio, int | float) and 0 < self.keep_ratio <= 1):
            raise ValueError(f"keep_ratio: expected more than 0 and at most 1, got {self.keep_ratio!r}")

    def refuse_unheeded(self, heeds: Collection[str]) -> None:
        """Raises ValueError naming the setting that is given, and not one of those that the format `heeds`."""
        for name in ("shards", "keep_ratio"):
            value = getattr(self, name)
            if name not in heeds and value not in (None, (), []):
                raise ValueError(f"{name}: has no effect on {self.to!r}, got {value!r}: leave it out")
