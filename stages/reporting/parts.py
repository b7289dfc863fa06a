"""What lies in the folder of a run: its parts, found by the files in them and not by their names."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Literal

from stages.comparison.result import RESULT_FILE
from storage.file_errors import in_words
from storage.json_files import read_json_object
from storage.location import Location
from storage.recognition import ATTRIBUTE
from storage.shard_index import INDEX_NAME

Kind = Literal["shards", "mae", "scores", "ranker", "evaluation", "calibration", "ranks", "gfnet", "task", "methods"]
KINDS: dict[Kind, str] = {
    "shards": "Images",
    "mae": "MAE",
    "calibration": "Calibration",
    "scores": "Scores",
    "ranker": "Ranker",
    "evaluation": "Evaluation of a ranker",
    "gfnet": "Glance and Focus",
    "ranks": "Ranks",
    "task": "Task",
    "methods": "Comparison of methods",
}
"""In the order of the data, with what people call them."""

MOST_FOLDERS = 1000
MOST_DEPTH = 5
FILES = frozenset(
    [
        *(".json", ".jsonl", ".yaml", ".yml", ".csv", ".txt", ".md", ".log", ".xml", ".html", ".pdf", ".svg"),
        *(".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
        *(".tar", ".npy", ".npz", ".safetensors", ".pt", ".pth", ".pt2", ".onnx"),
    ]
)
"""Endings of names that are not looked into as folders; in a bucket each look is a request."""


@dataclasses.dataclass(frozen=True)
class Part:
    kind: Kind
    path: str
    """Below the folder of the run; "" is that folder itself."""
    place: Location
    is_finished: bool = True

    @property
    def name(self) -> str:
        return self.path or PurePosixPath(self.place.url).name


@dataclasses.dataclass(frozen=True)
class Found:
    parts: tuple[Part, ...]
    """By kind, in the order of the data, then by path."""
    is_cut: bool
    """Whether there were more folders than were looked into."""
    problems: tuple[str, ...] = ()
    """Of what looked like a part and cannot be read."""

    def of(self, *kinds: Kind) -> list[Part]:
        return [part for part in self.parts if part.kind in kinds]

    def is_compared(self, part: Part) -> bool:
        """Whether it is one of those that `compare-methods` made to compare them."""
        return part.kind == "ranks" and any(part.path.startswith(f"{each.path}/ranks/") for each in self.of("methods"))


def find_parts(work: Location) -> Found:
    """Looks into `MOST_FOLDERS` folders at most, those nearest to `work` first, and never into a store or a folder of
    tars. Raises OSError where `work` itself cannot be listed; of a folder below it that is a problem."""
    parts: list[Part] = []
    problems: list[str] = []
    waiting = deque([("", 0)])
    looked = 0
    while waiting and looked < MOST_FOLDERS:
        path, depth = waiting.popleft()
        place = work.child(path) if path else work
        looked += 1
        try:
            names = place.names()
        except OSError as error:
            if not path:  # the run itself, of which there is then nothing to tell
                raise
            problems.append(in_words(error))
            continue
        try:
            own = _recognised(place, path, set(names))
        except (ValueError, OSError) as error:
            problems.append(in_words(error) if isinstance(error, OSError) else str(error))
            own = []
        parts += own
        if depth < MOST_DEPTH and all(part.kind in ("task", "evaluation", "methods") for part in own):
            below = [name for name in names if PurePosixPath(name).suffix.lower() not in FILES and name[0] != "."]
            waiting.extend((f"{path}/{name}".lstrip("/"), depth + 1) for name in below)
    order = list(KINDS)
    parts.sort(key=lambda part: (order.index(part.kind), part.path))
    return Found(tuple(parts), bool(waiting), tuple(problems))


def _recognised(place: Location, path: str, names: Collection[str]) -> list[Part]:
    """Raises ValueError for a file of ours that cannot be read."""
    found: list[Part] = []

    def add(kind: Kind, is_finished: bool = True) -> None:
        found.append(Part(kind, path, place, is_finished))

    if "zarr.json" in names:
        if kind := _store_kind(place):
            add(kind)
    elif "mae.json" in names or "pretraining.json" in names:
        add("mae", "mae.json" in names)
    elif "ranker.json" in names:
        add("ranker")
    elif "gfnet.json" in names:
        add("gfnet")
    elif RESULT_FILE in names:
        add("task")
    elif "task.json" in names:
        add("task", False)
    elif "training.json" in names:
        training = read_json_object(place, "training.json")
        is_ranker = any(name.startswith("ranker.") for name in training)
        add("task" if "task" in training else "ranker" if is_ranker else "gfnet", False)
    elif INDEX_NAME in names or "sharding" in names or any(name.endswith(".tar") for name in names):
        add("shards", INDEX_NAME in names or "sharding" not in names)
    elif "evaluation.json" in names and "qualities" in read_json_object(place, "evaluation.json"):
        add("evaluation")
    elif "calibration.json" in names:
        add("calibration")
    elif "comparison.json" in names and {"lines", "data"} <= read_json_object(place, "comparison.json").keys():
        add("methods")
    return found


def _store_kind(place: Location) -> Kind | None:
    attributes = read_json_object(place, "zarr.json").get("attributes")
    ours = attributes.get(ATTRIBUTE) if isinstance(attributes, dict) else None
    content = ours.get("content") if isinstance(ours, dict) else None
    return content if content in ("scores", "ranks") else None
