"""Rankers by name: those that the package brings along, and those on the Hugging Face hub.

Each of ours is a folder of `models/`: its weights in half precision, its description, and its card, README.md.
"""

from __future__ import annotations

from pathlib import Path

from ranker.hub import download, is_on_hub

MODELS = Path(__file__).parent / "models"


def shipped_rankers() -> list[str]:
    """The names of those that the package brings along."""
    return sorted(each.parent.name for each in MODELS.glob("*/ranker.json"))


def is_shipped(path: str) -> bool:
    """Whether `path` is the name of one, and not of something that lies here."""
    return path in shipped_rankers() and not Path(path).exists()


def local_path(path: str, files: tuple[str, ...]) -> str:
    """Where the ranker that `path` names lies: of the package's, or with its `files` downloaded from the hub. Any other
    `path` stays as it is. Raises ValueError with the hub's reason."""
    if is_on_hub(path):
        return download(path, files)
    return str(MODELS / path) if is_shipped(path) else path
