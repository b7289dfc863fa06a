"""Our own MAEs: a folder with `mae.json`, which has the architecture, and `mae.safetensors`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from ranker.digest import FIELD, file_checksums, refuse_other_files
from ranker.tensor_files import decode_safetensors, encode_safetensors
from stages.density.checkpoints.family import Family, StateDict, naming
from stages.density.mae import MaeConfig, MaskedAutoencoder
from storage.json_files import read_json_object
from storage.locations import Location, locate

CONFIG_FILE = "mae.json"
WEIGHTS_FILE = "mae.safetensors"


def save_mae(model: MaskedAutoencoder, path: str, facts: Mapping[str, Any]) -> None:
    """Writes our family, with `facts` (how it was trained) in the JSON, which comes last: with it the MAE is there."""
    place = locate(path)
    config, weights = dataclasses.asdict(model.config), encode_safetensors(model)
    place.write(WEIGHTS_FILE, weights)
    description = {"config": config, FIELD: file_checksums(config, weights), **facts}
    place.write(CONFIG_FILE, (json.dumps(description, indent=2) + "\n").encode())


def _is_at(place: Location) -> bool:
    return place.exists(CONFIG_FILE)


def _read(path: str) -> tuple[MaeConfig, StateDict]:
    place = locate(path)
    config_url, weights_url = f"{place.url}/{CONFIG_FILE}", f"{place.url}/{WEIGHTS_FILE}"
    description = read_json_object(place, CONFIG_FILE)
    with naming(config_url):
        noted = description["config"]
        config = MaeConfig(**noted)
    if not place.exists(WEIGHTS_FILE):
        raise FileNotFoundError(f"{weights_url}: missing")
    data = place.read(WEIGHTS_FILE)
    refuse_other_files(description.get(FIELD), noted, data, config_url=config_url, weights_url=weights_url)
    return config, decode_safetensors(data, weights_url)


OURS = Family("ltrp-pipeline", f"a folder with {CONFIG_FILE}", (CONFIG_FILE, WEIGHTS_FILE), _is_at, _read)
