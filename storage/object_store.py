"""Files in an object store, through the obstore package: Amazon S3 and what speaks its protocol, Google Cloud
Storage, Azure, and one in memory for tests.

Credentials, region and endpoint come from where each cloud's own tools look: environment variables
(AWS_ENDPOINT_URL for other makers' S3), the machine's own identity and, where boto3 or google-auth are
installed, their profiles. Requests that fail for a moment are repeated by obstore.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast

from storage.locations import Location, checked_path

try:
    import obstore
    import obstore.exceptions
    import obstore.store
except ImportError:  # `ObjectStore` says what to install
    obstore = None  # type: ignore[assignment]

EXTRAS = {"s3": "s3", "gs": "gcs", "gcs": "gcs", "az": "azure", "memory": "s3"}
READ_AHEAD = 8 * 2**20  # a request takes tens of milliseconds before its first byte
REQUEST_TIMEOUT = "5m"  # obstore's 30 seconds are too few for a part of 5 MB on a slow line

_in_memory: dict[str, Any] = {}


class ObjectStore(Location):
    """The files below `prefix` in a bucket. What a store refuses is an `OSError` that names the URL."""

    def __init__(self, scheme: str, bucket: str, prefix: str, store: Any = None) -> None:
        self.scheme, self.bucket, self.prefix = scheme, bucket, prefix
        self.url = f"{scheme}://{bucket}/{prefix}".rstrip("/")
        if obstore is None:
            extra = EXTRAS[scheme]
            raise ValueError(f"{self.url}: {scheme}:// needs obstore: pip install 'ltrp-pipeline[{extra}]'")
        self.store = _open_bucket(scheme, bucket) if store is None else store

    def local_path(self, path: str = "") -> None:
        return None

    def child(self, path: str) -> ObjectStore:
        return ObjectStore(self.scheme, self.bucket, self._key(path), self.store)

    def read(self, path: str = "") -> bytes:
        with self._errors_named(path):
            return bytes(obstore.get(self.store, self._key(path)).bytes())

    def open(self, path: str = "") -> BinaryIO:
        with self._errors_named(path):
            reader = obstore.open_reader(self.store, self._key(path), buffer_size=READ_AHEAD)
        return io.BufferedReader(cast(io.RawIOBase, _Stream(reader, self, path)), READ_AHEAD)

    def exists(self, path: str = "") -> bool:
        try:
            self.size(path)
        except FileNotFoundError:
            return False
        return True

    def size(self, path: str = "") -> int:
        with self._errors_named(path):
            return obstore.head(self.store, self._key(path))["size"]

    @contextmanager
    def writer(self, path: str) -> Iterator[BinaryIO]:
        with tempfile.TemporaryFile() as file:
            yield cast(BinaryIO, file)
            file.seek(0)
            with self._errors_named(path):
                obstore.put(self.store, self._key(path), file)  # its parts appear as one object, at the end

    def create(self, path: str, data: bytes) -> bool:
        with self._errors_named(path):
            try:
                obstore.put(self.store, self._key(path), data, mode="create")
            except obstore.exceptions.AlreadyExistsError:
                return False
        return True

    def names(self, prefix: str = "") -> list[str]:
        with self._errors_named(prefix):
            found = obstore.list_with_delimiter(self.store, self._key(prefix))
        paths = [*found["common_prefixes"], *(each["path"] for each in found["objects"])]
        return sorted(path.rpartition("/")[2] for path in paths)

    def walk(self, prefix: str = "") -> list[str]:
        with self._errors_named(prefix):
            found = obstore.list(self.store, self._key(prefix)).collect()
        return sorted(each["path"].removeprefix(self.prefix).lstrip("/") for each in found)

    def delete(self, path: str) -> None:
        with self._errors_named(path), suppress(FileNotFoundError):  # some stores say so, some do not
            obstore.delete(self.store, self._key(path))

    def _key(self, path: str) -> str:
        return "/".join(filter(None, (self.prefix, checked_path(path, self.url))))

    @contextmanager
    def _errors_named(self, path: str) -> Iterator[None]:
        url = f"{self.url}/{path}".rstrip("/")
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{url}: no such file") from error
        except obstore.exceptions.BaseError as error:
            reason = str(error).partition("\n")[0]  # the lines after it are Rust's own account
            raise OSError(f"{url}: {reason}") from error


class _Stream(io.RawIOBase):
    """obstore's reader as a file object of the standard library, with its errors named."""

    def __init__(self, reader: Any, location: ObjectStore, path: str) -> None:
        self._reader, self._location, self._path = reader, location, path

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with self._location._errors_named(self._path):
            data = self._reader.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def _open_bucket(scheme: str, bucket: str) -> Any:
    if scheme == "memory":
        return _in_memory.setdefault(bucket, obstore.store.MemoryStore())
    endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
    options: dict[str, Any] = {
        "client_options": {"timeout": REQUEST_TIMEOUT, "allow_http": endpoint.startswith("http://")}
    }
    if scheme == "s3":
        return obstore.store.S3Store(bucket, credential_provider=_boto3_credentials(), **options)
    if scheme == "az":
        return obstore.store.AzureStore(bucket, **options)
    return obstore.store.GCSStore(bucket, credential_provider=_google_credentials(), **options)


def _boto3_credentials() -> Any:
    """Credentials of a profile; None where obstore finds them itself, or where there are none to find."""
    if os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_SKIP_SIGNATURE"):
        return None
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider

        return Boto3CredentialProvider()
    except (ImportError, ValueError):  # without boto3, or without credentials
        return None


def _google_credentials() -> Any:
    if os.environ.get("GOOGLE_SERVICE_ACCOUNT") or os.environ.get("GOOGLE_SKIP_SIGNATURE"):
        return None
    try:
        from google.auth.exceptions import GoogleAuthError
        from obstore.auth.google import GoogleCredentialProvider
    except ImportError:
        return None
    try:
        return GoogleCredentialProvider()
    except (ImportError, GoogleAuthError):  # without requests, or without credentials
        return None
