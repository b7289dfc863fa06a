"""One contract for every kind of location, and what is special to each."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest
from repository import ROOT

import storage.local_files
from storage.locations import Location, is_temporary, locate


def test_what_is_written_is_read_back_whole_and_as_a_stream(location: Location) -> None:
    data = os.urandom(3_000_000)
    location.write("a/b.bin", data)
    assert location.read("a/b.bin") == data
    with location.open("a/b.bin") as stream:
        assert stream.read(10) == data[:10]
        assert stream.read() == data[10:]
    assert location.size("a/b.bin") == len(data)
    assert location.exists("a/b.bin")


def test_an_empty_file_is_a_file(location: Location) -> None:
    location.write("empty", b"")
    assert location.exists("empty")
    assert location.read("empty") == b""
    assert location.size("empty") == 0
    with location.open("empty") as stream:
        assert stream.read() == b""


def test_writing_again_replaces(location: Location) -> None:
    location.write("a", b"long before")
    location.write("a", b"after")
    assert location.read("a") == b"after"


def _write_half(file: BinaryIO) -> None:
    file.write(b"half of what was to")
    raise InterruptedError


def test_a_writer_that_fails_leaves_the_old_content_and_nothing_else(location: Location) -> None:
    location.write("a", b"before")
    with pytest.raises(InterruptedError), location.writer("a") as file:
        _write_half(file)
    assert location.read("a") == b"before"
    assert location.walk() == ["a"]


def test_a_file_shows_only_when_its_writer_is_done(location: Location) -> None:
    with location.writer("a") as file:
        file.write(b"text")
        assert not location.exists("a")
        assert location.names() == []
    assert location.names() == ["a"]


def test_only_the_first_create_succeeds_and_its_content_stays(location: Location) -> None:
    assert location.create("lock/owner", b"first")
    assert location.create("lock/owner", b"second") is None
    assert location.read("lock/owner") == b"first"
    assert location.walk() == ["lock/owner"]


def test_a_stamp_is_the_same_wherever_it_is_told_and_another_after_a_replacement(location: Location) -> None:
    created = location.create("a/b", b"text")
    location.write("a/c/d", b"text")
    first = location.stamps("a")
    assert first == {path: location.read_stamped(f"a/{path}")[1] for path in ("b", "c/d")}
    assert first["b"] == created
    location.write("a/b", b"more")
    second = location.stamps("a")
    assert second["b"] != first["b"]
    assert second["c/d"] == first["c/d"]
    assert location.read_stamped("a/b") == (b"more", second["b"])
    assert location.stamps("elsewhere") == {}


@pytest.mark.parametrize("cuts", [["b"], ["a", "aa", "é"], ["0", "zz"], ["c", "c"]])
def test_a_listing_in_parts_is_that_of_the_whole(location: Location, cuts: list[str]) -> None:
    for name in ("a", "b", "b-1", "bb", "c", "é", "写"):
        location.write(f"x/{name}", name.encode())
    assert location.stamps("x", cuts) == location.stamps("x")
    assert len(location.stamps("x")) == 7


def test_names_lists_one_level_files_and_folders_sorted(location: Location) -> None:
    for path in ("b/x/1", "b/c", "b/a", "bb", "b/x/2"):
        location.write(path, b"")
    assert location.names() == ["b", "bb"]
    assert location.names("b") == ["a", "c", "x"]
    assert location.names("nothing/here") == []
    assert location.names("bb") == []


def test_walk_lists_all_files_sorted(location: Location) -> None:
    for path in ("b/x/1", "a", "b/c"):
        location.write(path, b"")
    assert location.walk() == ["a", "b/c", "b/x/1"]
    assert location.walk("b") == ["b/c", "b/x/1"]
    assert location.walk("c") == []


def test_delete_removes_and_takes_a_missing_file_calmly(location: Location) -> None:
    location.write("a", b"")
    location.delete("a")
    location.delete("a")
    assert not location.exists("a")


@pytest.mark.parametrize("call", ["read", "open", "size"])
def test_a_missing_file_is_named(location: Location, call: str) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        getattr(location, call)("no/such.file")
    assert f"{location.url}/no/such.file" in str(caught.value)


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", "a/..", "a\0b"])
def test_a_path_that_leads_out_is_refused(location: Location, path: str) -> None:
    for act in (location.read, location.exists, location.names, location.child, location.delete):
        with pytest.raises(ValueError, match="leads out"):
            act(path)
    with pytest.raises(ValueError, match="leads out"):
        location.write(path, b"")


def test_a_child_and_a_url_lead_to_the_same_files(location: Location) -> None:
    location.child("a/b").write("c", b"text")
    assert location.read("a/b/c") == b"text"
    assert location.child("a").child("b").url == f"{location.url}/a/b"
    assert locate(location.child("a").url).read("b/c") == b"text"
    assert locate(f"{location.url}/a/b/c").read() == b"text"
    assert locate(f"{location.url}/").walk() == ["a/b/c"]


def test_a_new_folder_is_flushed_into_its_parent_as_a_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(storage.local_files, "_fsync", flushed.append)
    locate(tmp_path / "new").write("a/b/c", b"text")
    assert flushed == [tmp_path, tmp_path / "new", tmp_path / "new/a", tmp_path / "new/a/b"]
    flushed.clear()
    locate(tmp_path / "new").create("a/b/d", b"text")
    assert flushed == [tmp_path / "new/a/b"]


@pytest.mark.parametrize("folder", ["", "a/b"])
def test_access_is_proved_by_a_file_that_does_not_stay(location: Location, folder: str) -> None:
    location.write("a/b/c", b"text")
    location.check_access(folder)
    assert location.walk() == ["a/b/c"]


def test_access_to_a_folder_that_cannot_be_made_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        OSError, match=r"file/books: cannot write, read and delete files there: expected a folder, got a file$"
    ):
        locate(tmp_path / "file").check_access("books")


def test_access_to_files_that_read_back_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = locate(tmp_path)
    monkeypatch.setattr(place, "read", lambda path: b"")
    with pytest.raises(OSError, match=f"^{tmp_path}: a file that was just written read back otherwise$"):
        place.check_access()


def test_a_creation_that_nfs_asks_for_twice_since_the_first_answer_was_lost_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def answer_lost(source: str, target: Path) -> None:
        link(source, target)
        link(source, target)

    monkeypatch.setattr(os, "link", answer_lost)
    place = locate(tmp_path)
    assert place.create("lock", b"mine")
    assert place.create("lock", b"another's") is None
    assert (place.read("lock"), place.walk()) == (b"mine", ["lock"])


KILLED_WRITER = """
import os, signal, sys
from storage.locations import locate
with locate(sys.argv[1]).writer("a") as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_folder_that_cannot_be_listed_is_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="File name too long"):
        locate(tmp_path).walk("x" * 300)


def test_a_killed_writer_leaves_the_old_content_and_a_stray_that_only_walk_shows(tmp_path: Path) -> None:
    location = locate(tmp_path)
    location.write("a", b"before")
    done = subprocess.run([sys.executable, "-c", KILLED_WRITER, str(tmp_path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert location.read("a") == b"before"
    assert location.names() == ["a"]
    strays = [name for name in location.walk() if name != "a"]
    assert len(strays) == 1
    assert is_temporary(strays[0])


@pytest.mark.parametrize(
    "url",
    [
        "pipe:cat /etc/passwd",
        "http://host/x",
        "https://host/x",
        "ftp://host/x",
        "data:text/plain,x",
        "hdfs://a/b",
    ],
)
def test_other_schemes_are_refused_naming_those_that_work(url: str) -> None:
    with pytest.raises(ValueError, match=r"cannot read from .*s3://, gs://"):
        locate(url)


@pytest.mark.parametrize("url", ["s3://", "s3:bucket/x", "s3:///x", "gs:/x", "file://relative/x", "file:x", ""])
def test_an_incomplete_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"expected|empty"):
        locate(url)


def test_a_path_that_no_json_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^'n\\udcff': expected a path in UTF-8"):
        locate(os.fsdecode(b"n\xff"))


@pytest.mark.parametrize("url", ["s3://bucket/../other", "memory://name/a/../../b"])
def test_a_url_that_climbs_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="leads out"):
        locate(url)


def test_a_file_url_is_local(tmp_path: Path) -> None:
    (tmp_path / "a b").mkdir()
    assert locate(f"file://{tmp_path}/a%20b").local_path() == tmp_path / "a b"
    assert locate(tmp_path).local_path("c") == tmp_path / "c"


def test_a_local_name_with_a_colon_can_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"a local name with a colon: \./run:1"):
        locate("run:1")
    assert locate("./run:1").local_path() == tmp_path / "run:1"


def test_without_obstore_the_extra_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import storage.object_store

    monkeypatch.setattr(storage.object_store, "obstore", None)
    with pytest.raises(ValueError, match=r"pip install 'ltrp-pipeline\[s3\]'"):
        locate("s3://bucket/x")
    with pytest.raises(ValueError, match=r"pip install 'ltrp-pipeline\[gcs\]'"):
        locate("gs://bucket/x")
