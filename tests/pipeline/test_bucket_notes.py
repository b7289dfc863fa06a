"""What Ray Train notes in a bucket while it runs is gone afterwards. As Ray Train does it, but without Ray."""

from __future__ import annotations

import pickle

import pytest
from pyarrow.fs import FileType

from pipeline.ray.notes import ray_train_notes
from storage.location import Location


@pytest.mark.parametrize("location", ["s3", "gs"], indirect=True)
def test_workers_see_the_notes_and_nothing_is_left_of_them(location: Location) -> None:
    location.write("model/mae.json", b"{}")
    with ray_train_notes(location.child("model")) as notes:
        files = pickle.loads(pickle.dumps(notes["storage_filesystem"]))  # to a worker
        run = f"{notes['storage_path']}/run"
        files.create_dir(run)
        for name, text in (("marker", b""), ("snapshot.json", b"{}")):
            with files.open_output_stream(f"{run}/{name}") as file:
                file.write(text)
        kinds = [found.type for found in files.get_file_info([f"{run}/marker", run, f"{run}/missing"])]
        assert kinds == [FileType.File, FileType.Directory, FileType.NotFound]
        assert files.open_input_stream(f"{run}/snapshot.json").readall() == b"{}"
        assert location.child("model").walk("ray-train") == ["ray-train/run/marker", "ray-train/run/snapshot.json"]
    assert location.walk() == ["model/mae.json"]
