"""A view of a sample, and whose it is."""

from __future__ import annotations

import dataclasses

from stages.images.views import View


@dataclasses.dataclass(frozen=True)
class SampleView:
    shard: str
    """The name of the sample's tar."""
    key: str
    """The sample's, in its tar."""
    number: int
    """Of the view; 0 is the evaluation crop."""
    view: View
