"""Where Ray Train keeps notes of its own while it runs: beside the model, and gone afterwards."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from storage.location import Location
from storage.object_store import ObjectStore
from storage.training_folder import RAY_FOLDER


@contextmanager
def ray_train_notes(out: Location) -> Iterator[dict[str, Any]]:
    """What `ray.train.RunConfig` is to be told of a place in `out`, which all workers can reach."""
    notes = out.child(RAY_FOLDER)
    try:
        if isinstance(notes, ObjectStore):
            yield {"storage_path": f"{notes.bucket}/{notes.prefix}", "storage_filesystem": _filesystem(notes.scheme)}
        else:
            yield {"storage_path": notes.url}
    finally:
        if local := notes.local_path():
            shutil.rmtree(local, ignore_errors=True)
        else:
            for path in notes.walk():
                notes.delete(path)


def _filesystem(scheme: str) -> Any:
    """The one that pyarrow has itself marks every folder by an empty object that nobody removes, and looks for
    credentials elsewhere than the rest of the training does."""
    import pyarrow.fs

    from pipeline.ray.bucket_files import BucketFiles

    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(BucketFiles(scheme)))  # type: ignore[call-overload]  # any scheme
