"""What view 0 shows of an image."""

from __future__ import annotations

from typing import Literal

WholeImage = Literal["stretch", "letterbox"]
Crop = float | WholeImage
"""The central square with this fraction of the short side, or all of the image."""
