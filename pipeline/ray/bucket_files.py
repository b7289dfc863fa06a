"""Buckets as a file system of fsspec, opened as `storage.bucket` opens them; importing it needs obstore."""

from __future__ import annotations

from typing import Any

from obstore.fsspec import BufferedFile, FsspecStore

from storage.bucket import open_bucket


class BucketFiles(FsspecStore):
    """Of one scheme: "s3", "gs" or "az". Paths are BUCKET/KEY."""

    def _construct_store(self, bucket: str) -> Any:
        return open_bucket(str(self.protocol), bucket)

    def _open(self, path: str, mode: Any = "rb", *_: Any, **__: Any) -> BufferedFile:
        opened: BufferedFile = _File(self, path, mode)
        return opened


class _File(BufferedFile):
    def write(self, data: Any) -> int:
        return super().write(bytes(data))  # pyarrow's buffers are of signed bytes, which obstore refuses
