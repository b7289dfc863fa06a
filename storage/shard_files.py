"""Tars of samples, in webdataset's layout: the members of a sample stand together and share their name up to
the first dot, its *key*; what follows the dot names the *field*.

Reading trusts nothing. A tar that was cut anywhere, has anything after its end, splits a sample or differs
from its index is refused by name, and no part of a sample is ever passed on as a whole one. Names are only
strings here: nothing is unpacked to disk, so that ".." or "/" in them do no harm. Folders and members without
a dot are passed over, as webdataset does; links, devices and sparse files are refused.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from storage.location import Location
from storage.locations import locate
from storage.shard_index import ShardEntry
from storage.text import printable

IMAGE_FIELDS = ("jpg", "jpeg", "png", "webp", "bmp", "ppm", "tif", "tiff", "gif")
ANNOTATIONS = ("seg", "mask", "label", "depth")
"""What images of other things are called: "seg.png"."""
NAMING = "an image is named KEY.jpg: its field is all after the first dot"
MOST_FIELDS = 1000
MOST_BYTES = 2**30
"""Of one sample, which is held in memory. One with more is skipped: most often keys were cut short by early dots."""
MOST_EMPTY_READS = 8
END_OF_ARCHIVE = 1024  # bytes: two empty blocks, says POSIX


@dataclass(frozen=True)
class Sample:
    """`fields` maps lower-case names, such as "jpg", "cls" or "seg.png", to bytes."""

    key: str
    fields: dict[str, bytes]
    problem: str = ""
    """Why it cannot be used, if so: its fields are without their bytes."""

    @property
    def image(self) -> bytes:
        """The bytes of its one image. ValueError, with the reason alone, if there is none or more than
        one."""
        found = [name for name in IMAGE_FIELDS if name in self.fields]
        if self.problem:
            raise ValueError(self.problem)
        if len(found) != 1:
            raise ValueError(f"expected one image, found {len(found)}: the sample holds {_held(found or self.fields)}")
        return self.fields[found[0]]


def _held(fields: Collection[str]) -> str:
    """For people: the first fields, and where one looks like an image's, how that is to be named."""
    names = sorted(fields)
    told = printable(", ".join(names[:4]), 60) or "nothing"
    if len(names) > 4:
        told += f" and {len(names) - 4} more"
    return f"{told}; {NAMING}" if any(map(_looks_like_an_image, names)) else told


def _looks_like_an_image(field: str) -> bool:
    """By its name, although it is none here."""
    name, dot, ending = field.rpartition(".")
    return field in ("img", "image", "input") or bool(dot and ending in IMAGE_FIELDS and name not in ANNOTATIONS)


def write_shard(location: Location, name: str, samples: Iterable[tuple[str, Mapping[str, bytes]]]) -> ShardEntry:
    """Write `name` (ending in ".tar") with the samples in their order, at once, and return what the index
    says of it. The same samples give the same bytes, at any time and on any machine."""
    # Here, not above: webdataset loads torch where there is one, which takes seconds.
    from webdataset.tariterators import base_plus_ext
    from webdataset.writer import TarWriter

    count = 0
    with location.writer(name) as file:
        measured = _Measured(file)
        with TarWriter(measured, encoder=False, mtime=0) as tar:  # sorts the fields; its owner is fixed
            for key, fields in samples:
                assert all(base_plus_ext(f"{key}.{field}") == (key, field) for field in fields), key
                tar.write({"__key__": key, **fields})
                count += 1
    return ShardEntry(f"{location.url}/{name}", count, measured.nbytes, measured.md5.hexdigest())


def read_shard(entry: ShardEntry) -> ShardReader:
    """The samples of a tar, which is opened when they are iterated over."""
    return ShardReader(entry)


class ShardReader:
    """Iterates over the samples of a tar in their order, one in memory at a time. After the last one the
    whole file has been read and found right, and `nsamples`, `nbytes` and `md5` are those of the file.

    Raises ValueError that names the tar if it was cut, is damaged, is no tar, repeats a key, or is not what
    its entry says; FileNotFoundError if it is missing.
    """

    def __init__(self, entry: ShardEntry) -> None:
        self.entry = entry
        self.nsamples = 0
        self.nbytes = 0
        self.md5 = ""

    def __iter__(self) -> Iterator[Sample]:
        # webdataset's own iterators would unpack compressed tars, pass over links, and end without a word
        # where a tar was cut. `tarfile` says where it stopped; the bytes after that, whether it was the end.
        from webdataset.tariterators import base_plus_ext

        keys: set[str] = set()
        sample: _GrowingSample | None = None
        with locate(self.entry.url).open() as stream:
            file = _Measured(stream)
            with self._tar_errors_named():
                tar = tarfile.open(  # noqa: SIM115 - owns nothing
                    fileobj=cast(BinaryIO, file),
                    mode="r|",
                    encoding="utf-8",
                    errors="backslashreplace",  # keys become text in stores, which a lone surrogate is not
                )
            while (member := self._next_plain_file(tar)) is not None:
                key, field = base_plus_ext(member.name)
                if key is None:
                    continue
                field = field.lower()
                if sample is None or sample.key != key:
                    if key in keys:
                        raise self._wrong(f"key '{printable(key)}' comes again after other keys")
                    if sample is not None:
                        yield sample.whole()
                    keys.add(key)
                    sample = _GrowingSample(key)
                if field in sample.fields:
                    raise self._wrong(f"key '{printable(key)}' has the field '{printable(field)}' more than once")
                with self._tar_errors_named():
                    sample.add(field, member.size, cast(BinaryIO, tar.extractfile(member)))
            while file.read(2**20):
                pass
        self.nsamples, self.nbytes, self.md5 = len(keys), file.nbytes, file.md5.hexdigest()
        self._check_end(tar.offset, file.content_end)
        if sample is not None:
            yield sample.whole()  # only now: had the tar been cut within it, it would look whole

    def _check_end(self, end: int, content_end: int) -> None:
        """`end` is where the archive ends by its members, `content_end` where all bytes after it are 0."""
        if self.nbytes < end + END_OF_ARCHIVE:
            raise self._wrong(f"cut short at byte {self.nbytes}: the blocks that end an archive are missing")
        if content_end > end:
            raise self._wrong(f"damaged at byte {end}, or has data after its end")
        for what, expected, found in (
            ("bytes", self.entry.filesize, self.nbytes),
            ("md5", self.entry.md5sum, self.md5),
            ("samples", self.entry.nsamples, self.nsamples),
        ):
            if expected is not None and expected != found:
                raise self._wrong(f"expected {what} {expected} by its index, found {found}")

    def _next_plain_file(self, tar: tarfile.TarFile) -> tarfile.TarInfo | None:
        with self._tar_errors_named():
            while (member := tar.next()) is not None:
                tar.members.clear()  # type: ignore[attr-defined]  # the list would grow with the tar
                if not member.isdir():
                    break
        if member is not None and (not member.isreg() or member.issparse() or member.size < 0):
            raise self._wrong(f"member '{printable(member.name)}' is not a plain file")
        return member

    @contextmanager
    def _tar_errors_named(self) -> Iterator[None]:
        try:
            yield
        except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
            raise self._wrong(f"cut short, damaged, or no tar ({printable(error)})") from None

    def _wrong(self, what: str) -> ValueError:
        return ValueError(f"{self.entry.url}: {what}")


class _GrowingSample:
    """What has been read of a sample."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.fields: dict[str, bytes] = {}
        self._nbytes = 0
        self._is_kept = True

    def add(self, field: str, size: int, content: BinaryIO) -> None:
        self._nbytes += size
        self.fields[field] = b""
        if not self._has_too_much():
            self.fields[field] = content.read()
            return
        if self._is_kept:
            self._is_kept = False
            self.fields = dict.fromkeys(self.fields, b"")
        while content.read(2**20):  # not left to be skipped: only reading tells that the tar was cut
            pass

    def whole(self) -> Sample:
        problem = ""
        if self._has_too_much():
            got = f"{len(self.fields)} fields of {self._nbytes} bytes"
            problem = f"expected one image, got {got}: the sample holds {_held(self.fields)}"
        return Sample(self.key, self.fields, problem)

    def _has_too_much(self) -> bool:
        return len(self.fields) > MOST_FIELDS or self._nbytes > MOST_BYTES


class _Measured:
    """A file that is read or written once, from start to end: its length and MD5, and where its last byte
    that is not 0 ends."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.nbytes = 0
        self.content_end = 0
        self._empty_reads = 0

    def read(self, size: int) -> bytes:
        """Raises EOFError when it is read on and on beyond its end: that is how tarfile skips a member, and one that
        claims to be huge would take it hours."""
        data = self._note(self.file.read(size))
        self._empty_reads = 0 if data else self._empty_reads + 1
        if self._empty_reads > MOST_EMPTY_READS:
            raise EOFError("unexpected end of data")
        return data

    def write(self, data: bytes) -> int:
        return self.file.write(self._note(data))

    def _note(self, data: bytes) -> bytes:
        content = len(data.rstrip(b"\0"))
        if content:
            self.content_end = self.nbytes + content
        self.nbytes += len(data)
        self.md5.update(data)
        return data
