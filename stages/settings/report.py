"""Settings of `report`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What its options say."""

    work: str
    """A folder of a run, or of any part of one, on disk or in a bucket."""
    out: str
    """The page."""
    images: int = 36
    """Most images to show."""
