"""The ranking model of patches, usable alone: nothing here needs another part of this project."""

from ranker.kept_patches import KeptPatches
from ranker.patch_ranker import PatchRanker

__distribution__ = "ltrp-pipeline"
__all__ = ["KeptPatches", "PatchRanker"]
