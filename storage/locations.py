"""Finding the place that a user's path or URL names.

`locate` turns what a user writes into a `Location`; everything above reads and writes through it and never asks where
the files lie. Paths are relative to the location, with "/" between folders; "" is the location itself, so that
`locate(url_of_a_file).read()` works too. A file is either there, whole, or not there: writers fill a temporary file (or
upload) and put it in place at once. What was written survives a power failure.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

from storage.local_files import LocalFiles
from storage.location import TEMPORARY_SUFFIX, Location, checked_path, is_temporary
from storage.text import printable

__all__ = ["TEMPORARY_SUFFIX", "LocalFiles", "Location", "checked_path", "is_temporary", "locate", "scheme_of"]

URL_FORMS = {
    "file": "file:///ABSOLUTE/PATH",
    "s3": "s3://BUCKET/PATH",
    "gs": "gs://BUCKET/PATH",
    "gcs": "gcs://BUCKET/PATH",
    "az": "az://CONTAINER/PATH",
    "memory": "memory://NAME/PATH",
}


def locate(url: str | Path) -> Location:
    """The location of a path or URL: a local path, file://, s3://BUCKET/…, gs://BUCKET/…, az://CONTAINER/… or
    memory://NAME/… (shared within the process, for tests).

    Raises ValueError for any other scheme: above all, nothing here can run a program as webdataset's "pipe:"
    does.
    """
    text = os.fspath(url)
    scheme = scheme_of(text)
    if scheme == "":
        return LocalFiles(text)
    if scheme == "file":
        return LocalFiles(unquote(urlsplit(text).path))
    from storage.object_store import ObjectStore

    bucket, _, prefix = text.removeprefix(f"{scheme}://").partition("/")
    return ObjectStore(scheme, bucket, checked_path(prefix.rstrip("/"), text))


def scheme_of(url: str) -> str:
    """The scheme of a URL that `locate` takes, "" for a local path. ValueError for any other."""
    if not url:
        raise ValueError("an empty path names no file or folder")
    if not _is_text(url):  # which JSON, and so an index and the books of a store, cannot hold
        raise ValueError(f"'{printable(url)}': expected a path in UTF-8: rename it, or give another way there (a link)")
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]+):", url)  # two letters at least: "C:" is a drive
    if match is None:
        return ""
    scheme = match[1]
    if scheme not in URL_FORMS:
        known = ", ".join(f"{name}://" for name in URL_FORMS)
        raise ValueError(
            f"'{printable(url)}': cannot read from {printable(scheme)}:, only from local paths and {known} "
            f"(a local name with a colon: ./{printable(url)})"
        )
    if not re.match(r"file:///|(?!file)\w+://[^/]", url):
        raise ValueError(f"'{printable(url)}' is not complete: expected {URL_FORMS[scheme]}")
    return scheme


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
