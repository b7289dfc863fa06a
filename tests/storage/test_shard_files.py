"""Tars out and in, and every way in which a tar can be bad."""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from storage.locations import locate
from storage.shard_files import Sample, read_shard, write_shard
from storage.shard_index import ShardEntry, expand_shards

SAMPLES = [
    ("cat/one", {"jpg": b"\xff\xd8 first", "cls": b"0", "seg.png": b"mask"}),
    ("cat/two", {"jpg": b"\xff\xd8" + b"\0" * 5000, "cls": b"0"}),  # zeros at its end, as at an archive's
    ("dog/three", {"jpg": b"third" * 300, "cls": b"1"}),
]


@pytest.fixture
def entry(tmp_path: Path) -> ShardEntry:
    return write_shard(locate(tmp_path), "train-000000.tar", SAMPLES)


def tar_of(path: Path, members: list[tuple[str, bytes]], edit: Callable[[tarfile.TarInfo], None] | None = None) -> str:
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            if edit:
                edit(info)
            tar.addfile(info, io.BytesIO(data))
    return str(path)


def keys_until_refused(entry: ShardEntry, match: str) -> list[str]:
    """The keys of the samples that came before the tar was refused; each must have been whole."""
    before: list[Sample] = []
    with pytest.raises(ValueError, match=match) as caught:
        before.extend(read_shard(entry))  # keeps what came before the error
    assert str(caught.value).startswith(entry.url)
    assert all(sample.fields == dict(SAMPLES)[sample.key] for sample in before)
    return [sample.key for sample in before]


def test_samples_come_back_in_order_and_the_books_with_them(entry: ShardEntry) -> None:
    reader = read_shard(entry)
    assert [(sample.key, sample.fields) for sample in reader] == SAMPLES
    data = Path(entry.url).read_bytes()
    assert (reader.nsamples, reader.nbytes, reader.md5) == (3, len(data), hashlib.md5(data).hexdigest())
    assert (entry.nsamples, entry.filesize, entry.md5sum) == (reader.nsamples, reader.nbytes, reader.md5)
    assert entry.name == "train-000000"


def test_the_same_samples_make_the_same_bytes(entry: ShardEntry, tmp_path: Path) -> None:
    reordered = [(key, dict(reversed(fields.items()))) for key, fields in SAMPLES]
    again = write_shard(locate(tmp_path / "again"), "train-000000.tar", reordered)
    assert again == replace(entry, url=again.url)


def test_long_keys_and_tars_without_samples_work(tmp_path: Path) -> None:
    key = "folder/" * 60 + "x" * 200
    assert [s.key for s in read_shard(write_shard(locate(tmp_path), "long.tar", [(key, {"jpg": b""})]))] == [key]
    assert list(read_shard(write_shard(locate(tmp_path), "none.tar", []))) == []


def test_a_writer_that_fails_leaves_no_tar(tmp_path: Path) -> None:
    def failing() -> object:
        yield SAMPLES[0]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_shard(locate(tmp_path), "a.tar", failing())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_tars_go_in_and_out_of_an_object_store() -> None:
    pytest.importorskip("obstore")
    entry = write_shard(locate("memory://tars/train"), "a.tar", SAMPLES)
    assert entry.url == "memory://tars/train/a.tar"
    assert [(s.key, s.fields) for s in read_shard(entry)] == SAMPLES
    assert expand_shards(["memory://tars/*/?.tar"]) == [ShardEntry(entry.url)]


def member_ends(path: str) -> list[int]:
    with tarfile.open(path) as tar:
        return [member.offset for member in tar.getmembers()] + [tar.offset]


def test_a_tar_cut_at_any_place_is_refused_and_no_part_of_a_sample_gets_through(entry: ShardEntry) -> None:
    path = Path(entry.url)
    data = path.read_bytes()
    *starts, end = member_ends(entry.url)
    cuts = {start + shift for start in starts for shift in (0, 1, 100, 511, 512, 513, 516)} | {
        end - 1,
        end,
        end + 512,
    }
    for cut in sorted(cuts - {0}):
        path.write_bytes(data[:cut])
        bare = ShardEntry(entry.url)  # what the index says is not needed to notice
        before = keys_until_refused(bare, "cut short")
        assert len(before) < len(SAMPLES), cut
        assert before == [key for key, _ in SAMPLES][: len(before)]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: b"", "empty file"),
        (lambda data: b"not a tar, " * 1000, "no tar"),
        (lambda data: b"\x1f\x8b\x08" + data[3:], "no tar"),
        (lambda data: data[:100], "no tar"),
        (lambda data: data + b"more", "data after its end"),
        (lambda data: data + data, "data after its end"),
        (lambda data: data[:1024] + b"\0" * 512 + data[1536:], "damaged at byte 1024"),
        (lambda data: data[:1034] + b"!" + data[1035:], "damaged at byte 1024"),
    ],
    ids=["empty", "text", "gzip", "short", "garbage", "twice", "zeroed header", "broken header"],
)
def test_what_is_not_a_sound_tar_is_refused(entry: ShardEntry, spoil: Callable[[bytes], bytes], message: str) -> None:
    path = Path(entry.url)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        list(read_shard(ShardEntry(entry.url)))
    assert str(caught.value).startswith(entry.url)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nsamples": 4}, "expected samples 4 by its index, found 3"),
        ({"filesize": 5}, "expected bytes 5 by its index, found 20480"),
        ({"md5sum": "0" * 32}, "expected md5 00000"),
    ],
)
def test_a_tar_that_differs_from_its_index_is_refused(
    entry: ShardEntry, change: dict[str, object], message: str
) -> None:
    keys_until_refused(replace(entry, **change), message)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.jpg", "b.jpg", "a.cls"], "key 'a' comes again after other keys"),
        (["a.jpg", "b.jpg", "a.jpg"], "key 'a' comes again after other keys"),
        (["a.jpg", "a.JPG"], "key 'a' has the field 'jpg' more than once"),
    ],
)
def test_repeated_and_scattered_keys_are_refused(tmp_path: Path, names: list[str], message: str) -> None:
    url = tar_of(tmp_path / "a.tar", [(name, b"x") for name in names])
    with pytest.raises(ValueError, match=message):
        list(read_shard(ShardEntry(url)))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_members_that_are_no_plain_files_are_refused(tmp_path: Path, kind: bytes) -> None:
    def edit(info: tarfile.TarInfo) -> None:
        info.type, info.linkname, info.size = kind, "/etc/passwd", 0

    url = tar_of(tmp_path / "a.tar", [("a.jpg", b"")], edit)
    with pytest.raises(ValueError, match=r"a\.tar: member 'a\.jpg' is not a plain file"):
        list(read_shard(ShardEntry(url)))


def test_a_sparse_member_cannot_swell(tmp_path: Path) -> None:
    def edit(info: tarfile.TarInfo) -> None:
        info.pax_headers = {
            "GNU.sparse.map": "0,1",
            "GNU.sparse.size": str(2**60),
            "GNU.sparse.name": "a.jpg",
        }

    url = tar_of(tmp_path / "a.tar", [("a.jpg", b"x")], edit)
    with pytest.raises(ValueError, match="not a plain file"):
        list(read_shard(ShardEntry(url)))


@pytest.mark.parametrize("name", ["a.jpg", "README"])
def test_a_member_that_claims_to_be_huge_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """Also one that is passed over."""
    info = tarfile.TarInfo(name)
    info.size = 2**40
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + b"x" * 4096)
    with pytest.raises(ValueError, match="cut short"):
        list(read_shard(ShardEntry(str(tmp_path / "a.tar"))))


def test_names_that_climb_stay_strings_and_members_without_a_dot_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    url = tar_of(tmp_path / "in" / "a.tar", [
        ("../../evil.jpg", b"1"), ("/etc/evil.jpg", b"2"), ("README", b"3"), ("./a.b.txt", b"4"),
    ])  # fmt: skip
    found = [(s.key, s.fields) for s in read_shard(ShardEntry(url))]
    assert found == [("../../evil", {"jpg": b"1"}), ("/etc/evil", {"jpg": b"2"}), ("./a", {"b.txt": b"4"})]
    assert [path.name for path in tmp_path.rglob("*")] == ["in", "a.tar"]


def test_names_that_are_not_utf_8_become_keys_that_can_be_written(tmp_path: Path) -> None:
    url = tar_of(tmp_path / "a.tar", [("na\udcefve.jpg", b"1"), ("naïve.jpg", b"2")])  # Latin-1, UTF-8
    assert [sample.key for sample in read_shard(ShardEntry(url))] == ["na\\xefve", "naïve"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cls": b"1", "json": b"{}"}, "expected one image, found 0: the sample holds cls, json"),
        ({"png": b"", "jpg": b""}, "expected one image, found 2: the sample holds jpg, png"),
        ({"seg.png": b""}, "expected one image, found 0: the sample holds seg.png"),
    ],
)
def test_a_sample_without_exactly_one_image_says_so(fields: dict[str, bytes], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        _ = Sample("a", fields).image


def test_the_image_of_a_sample_is_not_its_mask() -> None:
    assert Sample("a", {"jpeg": b"image", "seg.png": b"mask"}).image == b"image"
