"""Files in an object store, through the obstore package: Amazon S3 and what speaks its protocol, Google Cloud
Storage, Azure, and one in memory for tests.

Nothing is renamed, and nothing but what is asked for is listed. Requests that fail for a moment are repeated; for how
long, and where credentials come from, says `storage.bucket`.
"""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import Any, BinaryIO, TypeVar, cast

from storage.file_errors import naming
from storage.location import Location, checked_path

try:
    import obstore
    import obstore.exceptions

    from storage.bucket import PATIENCE, BucketUnusable, open_bucket, repeat
    from storage.bucket_errors import is_missing_bucket, why
except ImportError:  # `ObjectStore` says what to install
    obstore = None  # type: ignore[assignment]

EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "memory": "s3"}
LISTED_IN_PARTS = ("s3", "gs", "gcs")
"""What can begin a listing in the middle; elsewhere it would be listed from its start, and thrown away."""
READ_AHEAD = 8 * 2**20  # a request takes tens of milliseconds before its first byte
T = TypeVar("T")


class ObjectStore(Location):
    """The files below `prefix` in a bucket. What a store refuses is an `OSError` that names the URL."""

    def __init__(self, scheme: str, bucket: str, prefix: str, store: Any = None) -> None:
        self.scheme, self.bucket, self.prefix = scheme, bucket, prefix
        self.url = f"{scheme}://{bucket}/{prefix}".rstrip("/")
        if obstore is None:
            extra = EXTRAS[scheme]
            raise ValueError(f"{self.url}: {scheme}:// needs obstore: pip install 'ltrp-pipeline[{extra}]'")
        self._store = store

    @property
    def store(self) -> Any:
        """obstore's. OSError when the bucket is missing or does not answer: it is opened when it is first used."""
        if self._store is None:
            self._store = open_bucket(self.scheme, self.bucket)
        return self._store

    def local_path(self, path: str = "") -> None:
        return None

    def child(self, path: str) -> ObjectStore:
        return ObjectStore(self.scheme, self.bucket, self._key(path), self._store)

    def read(self, path: str = "") -> bytes:
        return self._ask("read", path, lambda key: bytes(obstore.get(self.store, key).bytes()))

    def read_stamped(self, path: str) -> tuple[bytes, str]:
        def get(key: str) -> tuple[bytes, str]:
            found = obstore.get(self.store, key)
            return bytes(found.bytes()), _stamp(found.meta)

        return self._ask("read", path, get)

    def open(self, path: str = "") -> BinaryIO:
        return io.BufferedReader(cast(io.RawIOBase, _Stream(self, path)), READ_AHEAD)

    def exists(self, path: str = "") -> bool:
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str = "") -> int:
        return self._ask("read", path, lambda key: obstore.head(self.store, key)["size"])

    @contextmanager
    def writer(self, path: str) -> Iterator[BinaryIO]:
        place = f"{tempfile.gettempdir()}, a temporary file for {self.url}/{path}"
        with naming(place), tempfile.TemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.flush()

            def upload(key: str) -> None:
                file.seek(0)
                obstore.put(self.store, key, file)  # its parts appear as one object, at the end

            self._ask("write", path, upload)

    def create(self, path: str, data: bytes) -> str | None:
        """None, too, when a first attempt had succeeded but its answer was lost: who must know reads the file."""

        def put(key: str) -> str | None:
            try:
                return _stamp(obstore.put(self.store, key, data, mode="create"))
            except obstore.exceptions.AlreadyExistsError:
                return None

        return self._ask("write", path, put)

    def names(self, prefix: str = "") -> list[str]:
        found = self._ask("list", prefix, lambda key: obstore.list_with_delimiter(self.store, key))
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return sorted(path.rpartition("/")[2] for path in paths)

    def walk(self, prefix: str = "") -> list[str]:
        found = self._ask("list", prefix, lambda key: obstore.list(self.store, key).collect())
        return sorted(each["path"].removeprefix(self.prefix).lstrip("/") for each in found)

    def stamps(self, folder: str, cuts: Sequence[str] = ()) -> dict[str, str]:
        if self.scheme not in LISTED_IN_PARTS:
            cuts = ()
        starts, ends = ["", *cuts], [*cuts, ""]
        with ThreadPoolExecutor(len(starts)) as pool:
            parts = list(pool.map(lambda start, end: self._stamps_between(folder, start, end), starts, ends))
        if None in parts:  # not in the order of names: then a listing's end cannot be told
            parts = [self._stamps_between(folder, "", "")]
        return {path: stamp for part in parts for path, stamp in (part or {}).items()}

    def _stamps_between(self, folder: str, after: str, last: str) -> dict[str, str] | None:
        """Those of paths after `after` and up to `last`, if given. None if paths come in another order."""

        def list_some(key: str) -> dict[str, str] | None:
            found: dict[str, str] = {}
            before = after.encode()
            for page in obstore.list(self.store, key, offset=f"{key}/{after}" if after else None, chunk_size=1000):
                paths = [facts["path"].removeprefix(f"{key}/") for facts in page]
                order = [before, *(path.encode() for path in paths)]
                # The whole page, also what lies behind `last`: in another order that does not mean the end.
                if (after or last) and any(one >= other for one, other in pairwise(order)):
                    return None
                before = order[-1]
                for path, facts in zip(paths, page, strict=True):
                    if last and path.encode() > last.encode():
                        return found
                    found[path] = _stamp(facts)
            return found

        return self._ask("list", folder, list_some)

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):  # some stores say so, some do not
            self._ask("delete", path, lambda key: obstore.delete(self.store, key))

    def _key(self, path: str) -> str:
        return "/".join(filter(None, (self.prefix, checked_path(path, self.url))))

    def _ask(self, act: str, path: str, request: Callable[[str], T]) -> T:
        """`request(key)`, repeated while it fails for a moment. Its errors name the URL and what was tried."""
        key, url = self._key(path), f"{self.url}/{path}".rstrip("/")
        started = time.monotonic()

        def told(error: Exception) -> str:
            return f"{url}: {why(error, act, self.scheme, self.bucket, time.monotonic() - started)}"

        try:
            return repeat(lambda: request(key), PATIENCE, told)
        except BucketUnusable as error:
            raise OSError(f"{url}: {error}") from error
        except (FileNotFoundError, obstore.exceptions.BaseError) as error:
            if isinstance(error, FileNotFoundError) and not is_missing_bucket(error):
                raise FileNotFoundError(f"{url}: no such file") from error
            raise OSError(told(error)) from error


def _stamp(facts: Any) -> str:
    """Of what obstore says of an object."""
    return str(facts["e_tag"])


class _Stream(io.RawIOBase):
    """An object as a file of the standard library: each read is one request, of that object and no later one."""

    def __init__(self, location: ObjectStore, path: str) -> None:
        self._location, self._path = location, path
        self._facts = location._ask("read", path, lambda key: obstore.head(location.store, key))
        self._position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def readall(self) -> bytes:
        return b"".join(iter(lambda: self._next(READ_AHEAD), b""))

    def _next(self, length: int) -> bytes:
        start, end = self._position, min(self._position + length, self._facts["size"])
        if start == end:
            return b""
        options: Any = {"range": (start, end), "if_match": self._facts["e_tag"]}

        def get(key: str) -> bytes:
            return bytes(obstore.get(self._location.store, key, options=options).bytes())

        data = self._location._ask("read", self._path, get)
        self._position += len(data)
        return data
