"""A folder that models are trained into.

It notes what a training was begun with, so that only the same training goes on there; one run at a time works in it;
and what a run that was killed left of its writing goes when the next one begins.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from storage.driver_lock import DriverLock
from storage.json_files import read_json_object
from storage.location import TEMPORARY_SUFFIX, Location
from storage.recognition import refuse_mixing
from storage.settings import Settings, refuse_differences

CHECKPOINTS_FOLDER = "checkpoints"
BEST_FOLDER = "best"
"""The weights that validated best, until the training is finished."""
RAY_FOLDER = "ray-train"
"""Ray Train's notes while it runs."""
FOLDERS = (CHECKPOINTS_FOLDER, BEST_FOLDER, RAY_FOLDER)
"""Of a model in training. None of them is left when it is finished."""


def begin_or_compare(place: Location, settings_file: str, finished_file: str, settings: Settings) -> None:
    """Notes the settings in the folder, where none are noted yet.

    Raises ValueError as `compare` does.
    """
    compare(place, settings_file, finished_file, settings)
    if not place.create(settings_file, (json.dumps(settings, indent=2) + "\n").encode()):
        compare(place, settings_file, finished_file, settings)


def compare(place: Location, settings_file: str, finished_file: str, settings: Settings) -> None:
    """Writes nothing. Raises ValueError listing what differs when a training was begun there with other settings, when
    `finished_file` stands there without any: a model that was not made here; or when something else lies there."""
    if not place.exists(settings_file):
        if place.exists(finished_file):
            raise ValueError(f"{place.url}: holds a model that was not made here: name another folder")
        refuse_mixing(place, settings_file)
        return
    refuse_differences(
        place.url,
        read_json_object(place, settings_file),
        settings,
        what="the training there was begun with other settings",
        advice="Go on with its settings, or name another folder",
        holder="folder",
    )


@contextmanager
def sole_trainer(place: Location, models: Sequence[str] = ("",)) -> Iterator[DriverLock]:
    """For the one run that trains into the folder, or into the folders `models` in it; another one raises StoreBusy
    meanwhile, and a folder of models ValueError where something else lies.

    What killed runs left half written is swept first; no empty folder is left at the end, nor `place` itself if there
    was none before.
    """
    local = place.local_path()
    new = [folder for folder in (local, *local.parents) if not folder.exists()] if local else []
    if "" not in models:
        refuse_mixing(place)
    try:
        with DriverLock(place) as lock:
            for path in ("", "books/drivers", *models):
                sweep(place.child(path))
            try:
                yield lock
            finally:
                for path in models:
                    for name in FOLDERS:
                        remove_empty_folders(place.child(path).child(name))
                    if path:
                        remove_empty_folders(place.child(path))
    finally:
        remove_empty_folders(place.child("books"))
        for folder in new:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def sweep(place: Location) -> None:
    """Removes the files that a killed run never finished from where trainings write, and what Ray Train has left.
    Nothing else is looked into: the folder may be anyone's."""
    if local := place.local_path():  # an object store has no half-written files
        for folder in (local, *(local / name for name in FOLDERS)):
            for path in folder.glob(f".*{TEMPORARY_SUFFIX}"):
                path.unlink(missing_ok=True)
    notes = place.child(RAY_FOLDER)
    for file in notes.walk():
        notes.delete(file)


def remove_empty_folders(place: Location) -> None:
    """Those below `place`, and itself; an object store has none."""
    local = place.local_path()
    if local is None:
        return
    for folder, _, _ in os.walk(local, topdown=False):
        with suppress(OSError):  # it is not empty
            Path(folder).rmdir()
