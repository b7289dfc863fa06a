"""Weights beside a JSON file that tells what they are of: written last, with a checksum of both, and held to it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn

from ranker.digest import FIELD, file_checksums, refuse_other_files
from ranker.tensor_files import decode_safetensors, encode_safetensors
from stages.tasks.classes_file import refuse_odd_classes
from stages.tasks.task import Classes
from storage.json_files import read_json_object
from storage.locations import Location
from storage.recognition import refuse_what_lies


class Description(Protocol):
    """A dataclass of plain values, what the JSON file holds."""

    @property
    def classes(self) -> Classes: ...


Saved = TypeVar("Saved", bound=Description)


@dataclasses.dataclass(frozen=True)
class DescribedWeights:
    """How one kind of model lies in a folder."""

    model_file: str
    weights_file: str
    what: str
    """The model, for people."""
    command: str
    """That writes it."""
    deciding: tuple[str, ...]
    """Fields that the model's answers depend on beside the weights."""

    def save(self, place: Location, model: nn.Module, description: Mapping[str, Any]) -> None:
        weights = encode_safetensors(model)
        checksum = file_checksums(self._deciding(description), weights)
        place.write(self.weights_file, weights)
        place.write(self.model_file, (json.dumps({**description, FIELD: checksum}, indent=1) + "\n").encode())

    def load(self, place: Location, kind: type[Saved]) -> tuple[Saved, dict[str, Tensor]]:
        """Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got."""
        if not place.exists(self.model_file):
            refuse_what_lies(place, self.what, f"a folder with {self.model_file}")
        config_url, weights_url = f"{place.url}/{self.model_file}", f"{place.url}/{self.weights_file}"
        description = read_json_object(place, self.model_file)
        try:
            saved = TypeAdapter(kind).validate_json(json.dumps(description), strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(str(part) for part in first["loc"]) or "the whole"
            raise ValueError(f"{config_url}: expected what {self.command} writes: {field}: {first['msg']}") from None
        refuse_odd_classes(saved.classes, config_url)
        if not place.exists(self.weights_file):
            raise FileNotFoundError(f"{weights_url}: missing")
        data = place.read(self.weights_file)
        noted = description.get(FIELD)
        refuse_other_files(noted, self._deciding(description), data, config_url=config_url, weights_url=weights_url)
        return saved, decode_safetensors(data, weights_url)

    def _deciding(self, description: Mapping[str, Any]) -> dict[str, Any]:
        return {name: description.get(name) for name in self.deciding}
