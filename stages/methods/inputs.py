"""The settings that only some methods need or take; what a method is loaded from."""

from __future__ import annotations

INPUTS = ("ranker", "model", "scores", "image_size", "patch_size")
