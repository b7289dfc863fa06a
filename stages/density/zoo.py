"""MAEs by name: those that the package includes, and those on the Hugging Face hub.

Each of ours is a folder of `models/`: its weights in half precision, its description, and its card, README.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ranker.hub import download, is_on_hub

MODELS = Path(__file__).parent / "models"


def shipped_maes() -> list[str]:
    """The names of those that the package includes."""
    return sorted(each.parent.name for each in MODELS.glob("*/mae.json"))


def is_shipped_mae(path: str) -> bool:
    """Whether `path` is the name of one, and not of something that lies here."""
    return path in shipped_maes() and not Path(path).exists()


def local_path(path: str, files: Sequence[str]) -> str:
    """Where the MAE that `path` names lies: in the package, or with its `files` downloaded from the hub. Any other
    `path` stays as it is. Raises ValueError with the hub's reason."""
    if is_on_hub(path):
        return download(path, files)
    return str(MODELS / path) if is_shipped_mae(path) else path
