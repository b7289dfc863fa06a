"""The result of one run of a task: what was asked, what came out, and all that decides whether two may be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stages.tabular import Tabular
from storage.locations import Location

RESULT_FILE = "result.json"
FULL = "full"
"""The selector that keeps every patch."""


class Throughput(BaseModel):
    """Speed and cost of a model on the kept patches, beside the same model on all of them (`full_...`), measured in
    turns on `device`; operations are floating-point, two for each multiplication and addition."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: str
    batch_size: int
    flops: float
    """Of the model, for one image."""
    full_flops: float
    inference: float
    """Images a second."""
    full_inference: float
    training: float
    """Images a second, forward, backward and update."""
    full_training: float
    selector_flops: float | None
    """Of scoring and choosing, for one image; None where the store does not tell what made its scores."""
    selector_seconds: float | None
    """The same in seconds an image: what is added to inference when scores are not cached."""


class TaskResult(Tabular, BaseModel):
    """One model on one set of images, or of one selector's coverage."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["ltrp-pipeline task result"] = "ltrp-pipeline task result"
    version: Literal[1] = 1
    task: str = Field(pattern=r"^[\w-]+$")
    selector: str
    """Whose scores the patches are chosen by, such as 'ltrp'; `select` itself where none are needed."""
    select: str
    select_version: int | None = None
    """The version of its selector when it was judged; None for the first."""
    keep_ratio: float = Field(gt=0, le=1)
    patches: int
    """Of an image."""
    kept: int
    seed: int
    images: int
    """That it was judged on."""
    metrics: dict[str, float | None]
    """By name, over all classes; the first is the one that comparisons draw. None: cannot be told."""
    interval: tuple[float, float] | None = None
    """Of the first metric: 95%, over images."""
    left_metrics: dict[str, float | None] | None = None
    """The same over the classes that are not `excluded`."""
    left_interval: tuple[float, float] | None = None
    excluded: list[str] = []
    """Names of classes."""
    by_class: dict[str, float | None]
    """The first metric, by name of the class."""
    recipe: dict[str, Any]
    """What must be the same in all runs that are compared: how they were trained, and on what."""
    judged_on: dict[str, Any]
    """The same of the images that they were judged on."""
    scored_by: dict[str, Any] = {}
    """What decides the scores that its patches are chosen by, such as `control`; empty where none are needed, and in
    results of earlier versions."""
    training_seconds: float | None = None
    throughput: Throughput | None = None
    trained_on: str | None = None
    """How patches were chosen in training, such as 'all patches' or 'ltrp topk at 0.25', where it was another way."""
    learnt_by: dict[str, Any] = {}
    """What made the scores that its patches were chosen by in training: checksums of weights, a method's name; empty
    as `scored_by` is."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures has to know."""

    @property
    def line(self) -> str:
        """What a comparison calls it: runs of one line differ in keep ratio and seed alone."""
        chosen = way_of_choosing(self.selector, self.select)
        return chosen if self.trained_on is None else f"{chosen} (trained on {self.trained_on})"

    @property
    def is_full(self) -> bool:
        """Whether it is the level that others are held against: all patches, in training too."""
        return self.trained_on is None and (self.select == FULL or self.keep_ratio == 1)

    def lines(self) -> list[str]:
        metrics = _told(self.metrics)
        if self.left_metrics is not None:
            metrics += f"; without {len(self.excluded)} excluded classes {_told(self.left_metrics)}"
        kept = f"{self.kept} of {self.patches} patches"
        said = f"{self.task}, {self.line}, {kept}, seed {self.seed}: {metrics} on {self.images} images"
        return [said, *(f"Note: {note}" for note in self.notes)]

    def rows(self) -> list[dict[str, Any]]:
        """One: what was asked, and the metrics by name."""
        names = ("task", "selector", "select", "trained_on", "keep_ratio", "kept", "patches", "seed", "images")
        return [{**{name: getattr(self, name) for name in names}, **self.metrics}]

    def encode(self) -> bytes:
        return (self.model_dump_json(indent=1) + "\n").encode()


def way_of_choosing(selector: str, select: str) -> str:
    """Whose scores, if any, and what takes patches by them."""
    return select if selector == select else f"{selector} {select}"


def _told(metrics: Mapping[str, float | None]) -> str:
    return ", ".join(f"{name} {'-' if value is None else f'{value:.4f}'}" for name, value in metrics.items())


def read_result(place: Location, name: str = RESULT_FILE) -> TaskResult:
    """With the `name` "" `place` is the file itself. Raises FileNotFoundError, or ValueError naming the file and the
    field that is wrong."""
    try:
        return TaskResult.model_validate_json(place.read(name))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "the whole"
        where = f"{place.url}/{name}".rstrip("/")
        raise ValueError(f"{where}: not a result of a task: {field}: {first['msg']}") from None
