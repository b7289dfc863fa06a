"""Settings of `compare-methods`."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Collection
from typing import Annotated, Literal

from pydantic import Field, model_validator

from stages.settings.crop import CROP, DEFAULT_CROP, EvaluationCrop
from stages.settings.groups import Group
from stages.settings.stage_settings import KeepRatios, Seeds, StageSettings
from stages.tables import METHODS
from stages.tasks.mask_values import parse_mask_values

Truth = Literal["masks", "boxes"]
NAME = r"[A-Za-z][A-Za-z0-9_-]*"
"""Of a data set or label: it becomes part of a folder's name, and of what numbers do not begin."""


@dataclasses.dataclass(frozen=True)
class NamedData:
    """A data set."""

    name: str
    shards: str


@dataclasses.dataclass(frozen=True)
class MethodRun:
    """A method, and the model, ranker or store that it looks through."""

    method: str
    label: str | None
    """What sets it apart from other runs of the same method that differ in more than their seed."""
    path: str | None

    @property
    def line(self) -> str:
        """What tables call it: runs of one line differ in their seed alone."""
        return f"{self.method} ({self.label})" if self.label else self.method

    @property
    def folder(self) -> str:
        """Of its stores; a dot is in no method's name."""
        return f"{self.method}.{self.label}" if self.label else self.method


class CompareMethodsConfig(StageSettings):
    """Settings of `compare-methods`."""

    data: Annotated[list[str], Group.DATA] = Field(
        min_length=1,
        description="Data set with masks or boxes, as NAME=SHARDS: a folder, glob, brace pattern or index file; give "
        "it again for several.",
    )
    method: Annotated[list[str], Group.MODEL] = Field(
        min_length=1,
        description="Method of rank, as NAME or NAME=MODEL: the model, ranker or store of scores that it looks "
        "through. Several of one name are runs with other seeds; LABEL:NAME=MODEL sets other trainings apart. In a "
        "store's path {data} stands for the data set.",
    )
    out: Annotated[str, Group.DATA] = Field(
        description="Folder for ranks, table and plot; created, or resumed if it exists."
    )
    learned: Annotated[list[str], Group.DATA] = Field(
        [],
        description="Classes that a method learned, as NAME=FILE, one per line, or NAME=imagenet; by default those "
        "that the folders of its models name.",
    )
    judge: Annotated[list[str], Group.MODEL] = Field(
        [],
        description="Model that judges what is kept of a data set, as NAME=MODEL: a folder of train-task, normally "
        "trained on all patches, whose metric is told beside the coverage. Several of one data set are seeds of one "
        "training.",
    )
    keep_ratio: Annotated[KeepRatios, Group.RECIPE] = Field(
        [0.1, 0.25, 0.5], description="Fractions of patches to keep."
    )
    seeds: Annotated[Seeds, Group.RECIPE] = Field(
        [0], description="Seeds of methods that draw at random: one run per seed."
    )
    truth: Annotated[Literal["auto", "masks", "boxes"], Group.RECIPE] = Field(
        "auto", description="What is to be covered; 'auto': masks if the first sample of a data set has one."
    )
    ignore_classes: list[str] = Field(
        [], description="Mask value to ignore, besides 255: VALUE, or NAME:VALUE for one data set."
    )
    mask_values: list[str] = Field(
        [], description="Value of masks that means another one: FROM=TO, or NAME:FROM=TO for one data set."
    )
    image_size: Annotated[int | None, Group.MODEL] = Field(
        None, ge=1, description="Side of the views in pixels, where no model decides it; by default that of the models."
    )
    patch_size: Annotated[int | None, Group.MODEL] = Field(
        None, ge=1, description="Side of a patch in pixels, where no model decides it; by default that of the models."
    )
    crop: EvaluationCrop = Field(DEFAULT_CROP, description=CROP)
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Group.MODEL] = Field(
        "auto", description="Arithmetic; 'auto': what the store has, or fp32 on a CPU and fp16 on a GPU."
    )
    batch_size: int | None = Field(None, ge=1, description="Images per batch; by default what suits model and device.")
    decode_threads: int = Field(2, ge=1, description="Threads that decode images beside the computation.")

    @property
    def data_sets(self) -> list[NamedData]:
        """Raises ValueError for what is no NAME=SHARDS, and for a name that several have."""
        found: dict[str, NamedData] = {}
        for text in self.data:
            name, _, shards = text.partition("=")
            if not re.fullmatch(NAME, name) or not shards:
                raise ValueError(
                    f"data: expected NAME=SHARDS with a name of letters, digits, '-' and '_', got {text!r}"
                )
            if name in found:
                raise ValueError(
                    f"data: expected a name for each data set, got {name} twice: {found[name].shards} and {shards}"
                )
            found[name] = NamedData(name, shards)
        return list(found.values())

    @property
    def runs(self) -> list[MethodRun]:
        """In their order. Raises ValueError for what is no [LABEL:]NAME[=MODEL], an unknown method, and one that is
        there twice."""
        found: list[MethodRun] = []
        for text in self.method:
            run = _read_run(text)
            if run in found:
                raise ValueError(f"method: expected each once, got {text} twice")
            found.append(run)
        for run in found:
            if run.path is None and sum(other.line == run.line for other in found) > 1:
                raise ValueError(
                    f"method: expected a model for each of several runs of {run.line}, got one without: set it "
                    f"apart as LABEL:{run.method}"
                )
        return found

    @property
    def learned_files(self) -> dict[str, str]:
        """By line. Raises ValueError for what is no [LABEL:]NAME=FILE of a method that is compared, or there twice."""
        lines, found = {run.line for run in self.runs}, dict[str, str]()
        for text in self.learned:
            run = _read_run(text, "learned")
            if run.path is None:
                raise ValueError(f"learned: expected NAME=FILE, got {text!r}")
            if run.line not in lines:
                raise ValueError(
                    f"learned: expected a method that is compared ({', '.join(sorted(lines))}), got {run.line}"
                )
            if found.setdefault(run.line, run.path) != run.path:
                raise ValueError(f"learned: expected one file for {run.line}, got {found[run.line]} and {run.path}")
        return found

    @property
    def judges(self) -> dict[str, tuple[str, ...]]:
        """Folders of models by name of the data set. Raises ValueError for what is no NAME=MODEL, an unknown data set,
        and a model that is there twice."""
        names, found = [each.name for each in self.data_sets], dict[str, tuple[str, ...]]()
        for text in self.judge:
            name, _, model = text.partition("=")
            if not name or not model:
                raise ValueError(f"judge: expected NAME=MODEL, got {text!r}")
            if name not in names:
                raise ValueError(f"judge: {text!r}: expected a data set of {', '.join(names)}, got {name!r}")
            if model in found.get(name, ()):
                raise ValueError(f"judge: expected each once, got {text} twice")
            found[name] = (*found.get(name, ()), model)
        return found

    def refuse_unheeded(self, truths: Collection[Truth]) -> None:
        """Raises ValueError for what no method has any use for, or none of the data sets, whose truths these are."""
        for name in ("image_size", "patch_size"):
            if getattr(self, name) is not None and not any(name in METHODS[run.method].takes for run in self.runs):
                raise ValueError(f"{name}: expected none, since models decide it; got {getattr(self, name)}")
        for name in ("ignore_classes", "mask_values"):
            if "masks" not in truths and (given := getattr(self, name)):
                raise ValueError(f"{name}: expected none for boxes, got {given[0]!r}")

    def ignored_of(self, data: NamedData, truth: Truth = "masks") -> list[int]:
        """Mask values. Raises ValueError for what is none, and for some of a data set of boxes."""
        given = self._of_data("ignore_classes", data, truth)
        for text in given:
            if not re.fullmatch(r"\d{1,3}", text, re.ASCII) or int(text) > 255:
                raise ValueError(f"ignore_classes: expected values from 0 to 255, got {text!r}")
        return [int(text) for text in given]

    def mask_values_of(self, data: NamedData, truth: Truth = "masks") -> list[str]:
        """As `coverage` takes them. Raises ValueError as `ignored_of`."""
        given = self._of_data("mask_values", data, truth)
        parse_mask_values(given)
        return given

    def _of_data(self, setting: str, data: NamedData, truth: Truth) -> list[str]:
        """What holds for all data sets with masks, and for this one."""
        names, found = [each.name for each in self.data_sets], []
        given: list[str] = getattr(self, setting)
        for text in given:
            name, colon, value = text.rpartition(":")
            if colon and name not in names:
                raise ValueError(f"{setting}: {text!r}: expected a data set of {', '.join(names)}, got {name!r}")
            if name == data.name and truth == "boxes":
                raise ValueError(f"{setting}: expected none for the boxes of {name}, got {text!r}")
            if name == data.name or (not colon and truth == "masks"):
                found.append(value)
        return found

    @model_validator(mode="after")
    def _can_be_read(self) -> CompareMethodsConfig:
        """Asks for everything once, so that what is wrong is refused with the settings."""
        for each in self.data_sets:
            self.ignored_of(each)
            self.mask_values_of(each)
        assert self.runs, "at least one is asked for"
        assert self.learned_files is not None
        assert self.judges is not None
        return self


def _read_run(text: str, setting: str = "method") -> MethodRun:
    whole, equals, path = text.partition("=")
    label, colon, name = whole.rpartition(":")
    if (colon and not re.fullmatch(NAME, label)) or (equals and not path):
        raise ValueError(f"{setting}: expected NAME, NAME=MODEL or LABEL:NAME=MODEL, got {text!r}")
    if name not in METHODS:
        near = difflib.get_close_matches(name[:80], METHODS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(METHODS)}"
        raise ValueError(f"{setting}: {name[:80]!r} is unknown: {hint}")
    return MethodRun(name, label or None, path or None)
