"""What the evaluation view shows of an image."""

from __future__ import annotations

from typing import Literal

WholeImage = Literal["stretch", "letterbox"]
Crop = float | WholeImage
"""The central square with this fraction of the short side, or how all of the image becomes a square."""
