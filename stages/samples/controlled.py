"""Scores with the geometry of masks controlled: a store of scores, read with what its masks alone say taken out.

The scores on disk stay as they are. What is taken out is fitted when it is first asked for, on images of the shards
that are done, and kept in the store as `books/control.json`, so that whoever reads it later takes out the same.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterator
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError

from stages.density.control import FOLDS, GeometryControl, fit_control
from stages.density.geometry import N_FEATURES
from stages.samples.named import evenly
from stages.settings.choices import Control
from storage import scores
from storage.json_files import json_object
from storage.patch_store import PatchStore
from storage.scores import ShardScores, check_scores, read_scores
from storage.settings import Settings, fingerprint
from storage.text import printable

CONTROL_FILE = "books/control.json"
METHOD_VERSION = 1
"""Goes up whenever features or folds come to mean something else."""
MOST_IMAGES = 1000
"""That the control is fitted on."""


class _ControlFile(BaseModel):
    model_config = ConfigDict(strict=True)

    control: Literal["geometry"]
    method: int
    scores: str
    """Fingerprint of the store's settings."""
    images: Annotated[int, Field(ge=1)]
    explained: FiniteFloat
    is_log: bool
    coefficients: list[list[FiniteFloat]]
    means: list[list[FiniteFloat]]
    sha256: str
    """Of all that stands before it."""


class ControlledStore(PatchStore):
    """A store of scores whose `read_shard` gives them controlled; everything else is as in `store`."""

    def __init__(self, store: PatchStore, control: GeometryControl, sha256: str) -> None:
        super().__init__(store.place, store.content, store.settings)
        self.control, self.sha256 = control, sha256

    def read_shard(self, shard: str) -> dict[str, np.ndarray]:
        arrays = super().read_shard(shard)
        if check_scores(arrays, self.settings)[1]:
            return arrays  # whoever reads them says what is wrong
        controlled = self.control.apply(arrays["key"].tolist(), arrays["visible"], arrays["score"])
        return {**arrays, "score": controlled}


def with_control(store: PatchStore, control: Control) -> PatchStore:
    """`store` itself for 'none'; else with its control, which is fitted and noted first where there is none yet.

    Raises ValueError for a store that holds no scores, for scores that nothing can be learnt from, and for a file that
    is damaged or of another store; OSError when it cannot be written.
    """
    if control == "none":
        return store
    if store.content != scores.CONTENT:
        raise ValueError(
            f"{store.place.url}: control: expected 'none' for a store of {store.content}, got '{control}': "
            "only scores are of masks"
        )
    try:
        return _read(store)
    except FileNotFoundError:
        fitted = fit_control(_some_scores(store), store.settings)
        store.place.write(CONTROL_FILE, _encode(fitted, store.settings))
        return _read(store)  # what whoever comes later reads


def control_settings(store: PatchStore) -> Settings:
    """What settings of trainings from `store` hold of its control: nothing without one, as in earlier versions."""
    if not isinstance(store, ControlledStore):
        return {}
    return {"control": "geometry", "control.sha256": store.sha256}


def _some_scores(store: PatchStore) -> Iterator[ShardScores]:
    """Of at most `MOST_IMAGES` images, from shards evenly over the store."""
    done = sorted(store.books.done())
    chosen = evenly(done, MOST_IMAGES)
    for shard in chosen:
        found = read_scores(store, shard)
        some = slice(-(-MOST_IMAGES // len(chosen)))
        yield dataclasses.replace(
            found, **{field.name: getattr(found, field.name)[some] for field in dataclasses.fields(found)}
        )


def _encode(control: GeometryControl, settings: Settings) -> bytes:
    content = {
        "control": "geometry",
        "method": METHOD_VERSION,
        "scores": fingerprint(settings),
        "images": control.images,
        "explained": control.explained,
        "is_log": control.is_log,
        "coefficients": control.coefficients.tolist(),
        "means": control.means.tolist(),
    }
    return (json.dumps({**content, "sha256": _checksum(content)}) + "\n").encode()


def _read(store: PatchStore) -> ControlledStore:
    url = f"{store.place.url}/{CONTROL_FILE}"
    advice = "Delete it: the next run that needs it fits it anew"
    content = json_object(store.place.read(CONTROL_FILE), url)
    try:
        file = _ControlFile.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"{url}: damaged: {printable(field)}: {printable(first['msg'])}. {advice}") from None
    if _checksum({name: value for name, value in content.items() if name != "sha256"}) != file.sha256:
        raise ValueError(f"{url}: damaged: its content does not have the checksum that it names. {advice}")
    expected = {"scores": fingerprint(store.settings), "method": METHOD_VERSION}
    for name, value in expected.items():
        if getattr(file, name) != value:
            raise ValueError(f"{url}: {name}: expected {value}, got {printable(str(getattr(file, name)))}. {advice}")
    coefficients, means = np.array(file.coefficients), np.array(file.means)
    shapes = ((FOLDS, N_FEATURES), (FOLDS, store.settings["patches"]))
    if (coefficients.shape, means.shape) != shapes:
        raise ValueError(
            f"{url}: expected numbers of the shapes {shapes}, got {(coefficients.shape, means.shape)}. {advice}"
        )
    control = GeometryControl(coefficients, means, file.explained, file.images, file.is_log)
    return ControlledStore(store, control, file.sha256)


def _checksum(content: Settings) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
