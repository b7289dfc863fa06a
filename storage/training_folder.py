"""A folder that a model is trained into: what it was begun with, so that only the same training goes on there."""

from __future__ import annotations

import json

from storage.json_files import read_json_object
from storage.location import Location
from storage.settings import Settings, refuse_differences


def begin_or_compare(place: Location, settings_file: str, finished_file: str, settings: Settings) -> None:
    """Notes the settings in the folder, where none are noted yet.

    Raises ValueError listing what differs when a training was begun there with other settings, or when
    `finished_file` stands there without any: a model that was not made here.
    """
    if not place.exists(settings_file) and place.exists(finished_file):
        raise ValueError(f"{place.url}: holds a model that was not made here: name another folder")
    if place.create(settings_file, (json.dumps(settings, indent=2) + "\n").encode()):
        return
    refuse_differences(
        place.url,
        read_json_object(place, settings_file),
        settings,
        what="the training there was begun with other settings",
        advice="Go on with its settings, or name another folder",
        holder="folder",
    )
