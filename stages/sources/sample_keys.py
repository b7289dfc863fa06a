"""File paths → keys of samples: what names an image in tars, stores and reports.

A key is the path without its extension, folders kept, with every character that means something to tar
readers, shells or object stores replaced. It depends on the image's own path, and on others only where two
would collide.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

UNSAFE = re.compile(r"[^A-Za-z0-9_/-]")
HASH_LENGTH = 12


def safe_keys(paths: Sequence[str]) -> list[str]:
    """The key of each of the relative `paths`, which must differ: all unique, of letters, digits, "_", "-"
    and "/".

    A hash of the whole path is appended where characters were replaced, and to all that would share a key,
    such as `a.jpg` and `a.png`. Raises ValueError naming two paths if that is not enough.
    """
    keys = [_safe_key(path) for path in paths]
    counts = Counter(keys)
    keys = [key if counts[key] == 1 else _with_hash(key, path) for key, path in zip(keys, paths, strict=True)]
    owners: dict[str, str] = {}
    for key, path in zip(keys, paths, strict=True):
        if owners.setdefault(key, path) != path:
            raise ValueError(f"{owners[key]!r} and {path!r} both get the key {key!r}: rename one of them")
    return keys


def _safe_key(path: str) -> str:
    stem = str(PurePosixPath(path).with_suffix(""))
    key = UNSAFE.sub("_", stem)
    if key.startswith("__"):  # webdataset passes over names like __this__
        key = f"x{key}"
    return key if key == stem else _with_hash(key, path)


def _with_hash(key: str, path: str) -> str:
    return f"{key}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:HASH_LENGTH]}"
