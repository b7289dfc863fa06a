"""Which tars there are, and what each should hold: the index in the format of `wids`, and what a user may
give as shards.

An index is `index.json` beside the tars: {"__kind__": "wids-shard-index-v1", "wids_version": 1, "name",
"info", "shardlist": [{"url", "nsamples", "filesize", "md5sum"}]}, each url relative to the index. Indexes
that others wrote may leave out `filesize` and `md5sum`, or name tars elsewhere.
"""

from __future__ import annotations

import json
import logging
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from braceexpand import braceexpand
from pydantic import BaseModel, Field, ValidationError

from storage.location import Location, checked_path
from storage.locations import locate, scheme_of
from storage.shard_names import refuse_unusable
from storage.text import printable
from storage.wrong_fields import first_wrong_field

log = logging.getLogger(__name__)

INDEX_NAME = "index.json"
TAR = ".tar"
COMPRESSED = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


Count = Annotated[int, Field(ge=0, lt=2**63)]
"""Of samples or bytes, where it is read from a file."""


@dataclass(frozen=True)
class ShardEntry:
    """One tar; what its index does not say is None."""

    url: str
    nsamples: Count | None = None
    filesize: Count | None = None
    md5sum: str | None = None

    @property
    def name(self) -> str:
        """What results are stored under: the file's name without `.tar`."""
        if self.url.endswith(TAR):  # what PurePosixPath takes shows where there are 10⁶
            return self.url[self.url.rfind("/") + 1 : -len(TAR)] or TAR
        return PurePosixPath(self.url).stem


@dataclass(frozen=True)
class ShardIndex:
    """An index as read: `shards` with whole URLs, in its order; `info` as its writer left it."""

    name: str
    info: Any
    shards: tuple[ShardEntry, ...]


class _Shard(BaseModel):
    url: str
    nsamples: Count
    filesize: Count | None = None
    md5sum: str | None = Field(None, pattern="^[0-9a-f]{32}$")


class _IndexFile(BaseModel):
    kind: Literal["wids-shard-index-v1"] = Field(alias="__kind__")
    wids_version: Literal[1]
    shardlist: list[_Shard]
    name: str = ""
    base: str | None = None
    info: Any = None


def index_bytes(name: str, info: dict[str, Any], shards: Sequence[ShardEntry]) -> bytes:
    """The content of an index that lies beside its tars."""
    shardlist = [{**asdict(shard), "url": PurePosixPath(shard.url).name} for shard in shards]
    content = {
        "__kind__": "wids-shard-index-v1",
        "wids_version": 1,
        "name": name,
        "info": info,
        "shardlist": shardlist,
    }
    return (json.dumps(content, indent=1) + "\n").encode()


def read_index(folder: Location, file_name: str = INDEX_NAME) -> ShardIndex:
    """Raises ValueError naming the file and the field that is wrong.

    A relative url stays below the index's folder. Whole URLs are followed as if the user had given them,
    since indexes may gather tars from several places; but an index from an object store may not point at this
    machine's files.
    """
    url = f"{folder.url}/{file_name}"
    try:
        content = _IndexFile.model_validate_json(folder.read(file_name).removeprefix(BOM_UTF8))
    except ValidationError as error:
        raise ValueError(f"{url}: not an index of shards: {printable(first_wrong_field(error))}") from None
    shards = []
    for number, shard in enumerate(content.shardlist):
        try:
            shard_url = _whole_url(folder, content.base or "", shard.url)
        except ValueError as error:
            raise ValueError(f"{url}: shardlist.{number}.url: {error}") from None
        shards.append(ShardEntry(shard_url, shard.nsamples, shard.filesize, shard.md5sum))
    return ShardIndex(content.name, content.info, tuple(shards))


def expand_shards(spec: Sequence[str]) -> list[ShardEntry]:
    """The tars that the user means, sorted by URL, each once: `spec` holds folders, globs, brace patterns,
    tars or index files, local or in object stores. Counts and checksums come from the index beside the tars,
    where there is one.

    Raises ValueError if nothing is found, a tar is missing, is not in the index beside it, or is compressed,
    and if two tars have the same name, under which their results would be stored.
    """
    folders: dict[str, _Folder] = {}
    found: dict[str, ShardEntry] = {}
    for one in spec:
        for pattern in _without_braces(one):
            for entry in _expand(pattern, folders):
                found[entry.url] = entry
    if not found:
        raise ValueError(f"no tars found in {', '.join(spec) or 'an empty list'}: expected .tar files")
    by_name: dict[str, str] = {}
    for url, entry in sorted(found.items()):
        folder, name = _split(url)
        if name not in _folder(folder, folders).names:
            raise ValueError(f"{url}: no such tar")
        refuse_unusable(entry.name, url)
        if by_name.setdefault(entry.name, url) != url:
            raise ValueError(f"{by_name[entry.name]} and {url} have the same name, under which results are stored")
    return [found[url] for url in sorted(found)]


def index_infos(shards: Sequence[ShardEntry]) -> list[tuple[str, Any]]:
    """URL and `info` of each index that lies beside the shards."""
    folders = dict.fromkeys(_split(shard.url)[0] for shard in shards)
    places = [place for place in map(locate, folders) if place.exists(INDEX_NAME)]
    return [(f"{place.url}/{INDEX_NAME}", read_index(place).info) for place in places]


class _Folder:
    """A folder, listed once and its index read once."""

    def __init__(self, url: str) -> None:
        self.location = locate(url)

    @cached_property
    def names(self) -> set[str]:
        return set(self.location.names())

    @cached_property
    def index(self) -> dict[str, ShardEntry] | None:
        """The entries of the index by URL; None if there is no index."""
        if INDEX_NAME not in self.names:
            return None
        return {entry.url: entry for entry in read_index(self.location).shards}

    def entry(self, name: str) -> ShardEntry:
        url = f"{self.location.url}/{name}"
        if self.index is None:
            return ShardEntry(url)
        if url not in self.index:
            raise ValueError(
                f"{url}: not in {INDEX_NAME} beside it, so that its number of samples is unknown: "
                f"remove the tar, or the index if it is out of date"
            )
        return self.index[url]


def _expand(pattern: str, folders: dict[str, _Folder]) -> Iterator[ShardEntry]:
    if any(sign in pattern for sign in "*?[") and not Path(pattern).exists():
        for path in _glob(pattern, folders):
            yield from _expand(path, folders)
        return
    folder, name = _split(pattern)
    if pattern.endswith(COMPRESSED):
        raise ValueError(f"{pattern}: compressed tars cannot be read: unpack them to .tar (images hardly shrink)")
    if pattern.endswith(".json"):
        yield from read_index(_folder(folder, folders).location, name).shards
    elif pattern.endswith(".tar"):
        yield _folder(folder, folders).entry(name)
    else:
        inside = _folder(pattern, folders)
        yield from (inside.index or {}).values()
        for tar in sorted(inside.names):
            if tar.startswith(".") and tar.endswith(".tar"):  # as a Mac leaves beside each file on other disks
                log.warning("%s/%s: passed over, since its name begins with a dot", inside.location.url, tar)
            elif tar.endswith((".tar", *COMPRESSED)):
                yield from _expand(f"{inside.location.url}/{tar}", folders)


def _glob(pattern: str, folders: dict[str, _Folder]) -> Iterator[str]:
    """Paths that match a pattern with `*`, `?` or `[…]` in any of its parts after the scheme and bucket."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if any(sign in part for sign in "*?["))
    folder = "/".join(parts[:first]) or ("/" if first else ".")
    rest = parts[first + 1 :]
    for name in sorted(_folder(folder, folders).names):
        if fnmatchcase(name, parts[first]) and not name.startswith("."):
            path = "/".join([_folder(folder, folders).location.url.rstrip("/"), name, *rest])
            if any(sign in part for part in rest for sign in "*?["):
                yield from _glob(path, folders)
            elif not name.endswith(".json"):  # "FOLDER/*" means its tars
                yield path


def _folder(url: str, folders: dict[str, _Folder]) -> _Folder:
    key = locate(url).url if scheme_of(url) in ("", "file") else url.rstrip("/")
    if key not in folders:
        folders[key] = _Folder(key)
    return folders[key]


def _split(url: str) -> tuple[str, str]:
    folder, slash, name = url.rstrip("/").rpartition("/")
    return folder or ("/" if slash else "."), name


def _without_braces(text: str) -> Iterator[str]:
    if Path(text).exists():  # a name may hold braces
        return iter([text])
    try:
        return braceexpand(text)
    except ValueError as error:
        raise ValueError(f"'{printable(text)}': {error}") from None


def _whole_url(folder: Location, base: str, url: str) -> str:
    if base:
        url = f"{base.rstrip('/')}/{url}"
    is_local = scheme_of(url) == "file" or url.startswith("/")
    if is_local and folder.local_path() is None:
        raise ValueError(f"{printable(url)} is a local path, in an index that is not local")
    if is_local:
        return locate(url).url
    if scheme_of(url):
        return url
    return f"{folder.url}/{checked_path(url, folder.url)}"
