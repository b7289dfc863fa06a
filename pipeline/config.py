"""Settings: `pipeline.yaml` has a section for each stage, flags win over it, and each stage validates its own.

The classes stand in `stages.settings`; here is only how a file and flags become one of them.
"""

from __future__ import annotations

import difflib
import importlib
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import cloup
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pipeline.commands import COMMANDS, in_code
from pipeline.options import WORD_FOR_NONE
from stages.settings.groups import Group
from storage.wrong_fields import expectation

DEFAULT_FILE = "pipeline.yaml"
AUTO = "auto"
RAY_ADDRESS = (
    "Cluster: 'auto', HOST[:PORT] or ray://HOST:PORT; 'local': a Ray instance of our own. "
    "By default what the environment's RAY_ADDRESS says, else 'local'."
)

Actors = Annotated[int | None, BeforeValidator(lambda value: None if value == AUTO else value)]


class ExecutionConfig(BaseModel):
    """Where shards are processed: the same for every stage that works shard by shard."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    executor: Annotated[Literal["ray", "in-process"], Group.EXECUTION] = Field(
        "ray", description="'ray': actors; 'in-process': this process alone, for debugging."
    )
    ray_address: Annotated[str | None, Group.EXECUTION] = Field(None, description=RAY_ADDRESS)
    actors: Annotated[Actors, Group.EXECUTION] = Field(
        AUTO,
        validate_default=True,
        ge=1,
        description="Actors; 'auto': one per GPU or, without GPUs, one per core that has 2 GB, as nodes come and go.",
        json_schema_extra={WORD_FOR_NONE: AUTO},
    )
    cpus_per_actor: float | None = Field(None, gt=0, description="Cores per actor.")
    gpus_per_actor: Annotated[float | None, Group.EXECUTION] = Field(
        None, gt=0, description="GPUs per actor; may be a fraction."
    )
    device: Annotated[Literal["auto", "cpu", "cuda"], Group.EXECUTION] = Field(
        "auto", description="What actors compute on."
    )
    max_attempts: int = Field(3, ge=1, description="Attempts at a shard before it counts as failed.")
    patience_minutes: float = Field(60.0, gt=0, description="How long to wait while no actor can be placed.")
    stall_minutes: float = Field(
        15.0,
        gt=0,
        description="An actor that makes no progress for this long is stopped, and its shard is retried elsewhere.",
    )
    events: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="File that receives one JSON line per event; by default OUT/books/events.jsonl."
    )


class TrainingExecutionConfig(BaseModel):
    """Where models are trained: the same for every stage that trains on several workers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)

    executor: Annotated[Literal["auto", "ray", "in-process"], Group.EXECUTION] = Field(
        "auto", description="'ray': Ray Train; 'in-process': this process alone; 'auto': Ray for workers or a cluster."
    )
    ray_address: Annotated[str | None, Group.EXECUTION] = Field(None, description=RAY_ADDRESS)
    workers: Annotated[int, Group.EXECUTION] = Field(1, ge=1, description="Processes that share each update.")
    cpus_per_worker: int | None = Field(None, ge=1, description="Cores per worker; by default all that there are.")
    device: Annotated[Literal["auto", "cpu", "cuda"], Group.EXECUTION] = Field(
        "auto", description="What workers compute on, each on one GPU; 'auto': GPUs if there are any."
    )
    max_failures: int = Field(
        3, ge=0, description="How often lost workers are replaced; training resumes from a checkpoint."
    )
    events: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="File that receives one JSON line per event; by default OUT/events.jsonl."
    )

    @property
    def chosen_executor(self) -> Literal["ray", "in-process"]:
        """What 'auto' comes to."""
        if self.executor != "auto":
            return self.executor
        return "ray" if self.workers > 1 or self.ray_address else "in-process"


SECTIONS = {
    **{in_code(name): row.settings for name, row in COMMANDS.items() if row.settings},
    "execution": "pipeline.config:ExecutionConfig",
    "training_execution": "pipeline.config:TrainingExecutionConfig",
}
"""Where each section's class stands."""


def section_model(name: str) -> type[BaseModel]:
    """The class that validates section `name`."""
    module, _, name_there = SECTIONS[name].partition(":")
    model: type[BaseModel] = getattr(importlib.import_module(module), name_there)
    return model


class PipelineFile:
    """The sections of a `pipeline.yaml`. Raises ValueError for what no section can mean."""

    def __init__(self, path: str, content: Any) -> None:
        self.path = path
        self.sections = self._checked(content or {})

    @classmethod
    def read(cls, path: str | None) -> PipelineFile:
        """The file at `path`; without one, `pipeline.yaml` where there is one."""
        found = Path(path or DEFAULT_FILE)
        if path is None and not found.exists():
            return cls(DEFAULT_FILE, {})
        from pipeline.yaml_file import read_yaml  # here, since help needs no YAML

        return cls(str(found), read_yaml(str(found)))

    def section(self, name: str, flags: Mapping[str, Any]) -> Any:
        """The settings of section `name`, with `flags` in the place of what stands there.

        Raises ValueError with a line for each setting that is wrong: where it stands, what was expected, what it got;
        OSError where the file's `out` cannot be written to, as the option says it of a flag's.
        """
        from storage.writable import refuse_unwritable  # here, since help needs no storage

        settings = self._validate(name, {**self.sections.get(name, {}), **flags}, flags)
        if "out" not in flags and (out := getattr(settings, "out", None)):
            refuse_unwritable(out, "folder")
        return settings

    def _checked(self, content: Any) -> dict[str, dict[str, Any]]:
        if not isinstance(content, dict):
            raise ValueError(f"{self.path}: expected sections {', '.join(SECTIONS)}, got {type(content).__name__}")
        for name, section in content.items():
            if name not in SECTIONS:
                raise ValueError(f"{self.path}: {unknown(name, SECTIONS)}")
            if not isinstance(section, dict):
                raise ValueError(f"{self.path}: {name}: expected settings, got {_short.repr(section)}")
            self._validate(name, section, {}, may_lack=True)
        return content

    def _validate(
        self, name: str, values: Mapping[str, Any], flags: Mapping[str, Any], may_lack: bool = False
    ) -> BaseModel | None:
        model = section_model(name)
        try:
            return model.model_validate(values)
        except ValidationError as error:
            problems = []
            for problem in error.errors(include_url=False):
                if may_lack and (problem["type"] == "missing" or not problem["loc"]):
                    continue  # flags may supply it
                problems.append(self._describe(name, model, dict(problem), flags))
        if problems:
            raise ValueError("\n".join(problems))
        return None

    def _describe(self, name: str, model: type[BaseModel], problem: dict[str, Any], flags: Mapping[str, Any]) -> str:
        path = ".".join(str(part) for part in problem["loc"])
        first = str(problem["loc"][0]) if problem["loc"] else ""
        flag = f"--{first.replace('_', '-')}"
        place = flag if first in flags else f"{self.path}: {name}.{path}".rstrip(".")
        if problem["type"] == "missing":
            return f"{flag} is missing: give it, or {name}.{first} in {self.path}"
        if problem["type"] == "extra_forbidden":
            return f"{self.path}: {name}: {unknown(first, model.model_fields)}"
        if problem["type"] == "invalid_key":
            return f"{self.path}: {name}: expected names of settings, got {_short.repr(problem['input'])}"
        return explained(problem, name, place)


def explained(problem: Mapping[str, Any], name: str, place: str) -> str:
    """What is wrong with a value of section `name`, by pydantic; `place` is what users call the setting."""
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    if problem["type"] == "value_error":
        return f"{place}: {message}" if problem["loc"] else f"{name}: {message}"
    if problem["type"] in ("too_short", "too_long", "string_too_short", "string_pattern_mismatch"):  # said better
        return f"{place}: {expectation(problem)}"
    return f"{place}: expected {message}, got {_short.repr(problem['input'])}"


_short = reprlib.Repr()
"""In a line, however much it is."""
_short.maxstring = _short.maxother = _short.maxlong = 80


def unknown(name: object, known: Mapping[str, Any]) -> str:
    """That no setting, or section, is called so, and which may be meant."""
    name = name if isinstance(name, str) else _short.repr(name)
    near = difflib.get_close_matches(name[:80], known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
    return f"{name[:80]} is unknown: {hint}"


config_option = cloup.option(
    "--config",
    metavar="FILE",
    help=f"Settings file; flags win over it.  [default: {DEFAULT_FILE}, where there is one]",
)
"""What every command that has settings takes."""
